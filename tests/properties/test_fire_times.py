"""Fire times agree with a brute-force walk through real time, over random expressions, zones and instants.

`FIRE_TIMES_EXAMPLES=N` sets how many random windows are compared (about six comparisons each).
"""

import os
import random
import zoneinfo
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from properties.oracle import day_matches, enumerate_fires

from schedulerd.core.cron import CronError, CronTimes, fire_times, parse
from schedulerd.core.search import Fold, instants_between, next_instant
from schedulerd.core.trigger import fires_between, next_fire
from schedulerd.core.zones import to_seconds, zone
from schedulerd.model.job import Argv, Cron, Job

EXAMPLES = int(os.environ.get("FIRE_TIMES_EXAMPLES", "500"))
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory", "posixrules"})
JUMPY = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Norfolk",
]
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def numeric(low: int, high: int) -> st.SearchStrategy[str]:
    """A plain element: number, range, step."""
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted)
    step = st.integers(1, high)
    return st.one_of(
        value.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        st.tuples(pair, step).map(lambda p: f"{p[0][0]}-{p[0][1]}/{p[1]}"),
        st.tuples(value, step).map(lambda p: f"{p[0]}/{p[1]}"),
        step.map(lambda n: f"*/{n}"),
    )


def field(low: int, high: int, *more: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    elements = st.lists(st.one_of(numeric(low, high), *more), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), elements)


DAY_NUMBER = st.integers(1, 31)
DAYS = field(
    1,
    31,
    st.sampled_from(["L", "LW", "L-1", "L-3", "L-30", "L-2W", "l-5w", "?"]),
    DAY_NUMBER.map(lambda n: f"{n}W"),
)
WEEKDAY = st.one_of(
    st.integers(0, 7).map(str), st.sampled_from(["sun", "MON", "Tue", "wed", "THU", "FRI", "sat"])
)
WEEKDAYS = field(
    0,
    7,
    WEEKDAY,
    st.tuples(WEEKDAY, st.integers(1, 5)).map(lambda p: f"{p[0]}#{p[1]}"),
    WEEKDAY.map(lambda d: f"{d}L"),
    WEEKDAY.map(lambda d: f"{d}#L"),
    st.integers(0, 7).map(lambda d: f"L{d}"),
)
MONTHS = field(1, 12, st.sampled_from(["jan", "FEB", "Mar", "apr-oct", "Nov"]))
# Hours near the jumps are tried more often than others; days are mostly left open, so that something fires.
HOURS = st.one_of(
    field(0, 23),
    st.lists(st.sampled_from(["0", "1", "2", "3", "23", "0-3", "1-2"]), min_size=1).map(",".join),
)
EXPRESSIONS = st.builds(
    lambda *fields: " ".join(filter(None, fields)),
    st.one_of(st.just(""), st.just(""), st.just(""), field(0, 59)),
    field(0, 59),
    HOURS,
    st.one_of(st.just("*"), st.just("*"), DAYS),
    st.one_of(st.just("*"), st.just("*"), MONTHS),
    st.one_of(st.just("*"), st.just("*"), WEEKDAYS),
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime, int]:
    """(zone, start, hours): a stretch of real time, most often with a jump of the zone's clock in it."""
    name = draw(st.one_of(st.sampled_from(JUMPY), st.sampled_from(ZONES)))
    info = zoneinfo.ZoneInfo(name)
    first = datetime(draw(st.integers(1970, 2040)), 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=n) for n in range(366)]
    offsets = [day.astimezone(info).utcoffset() for day in days]
    jumps = [day for day, here, there in zip(days, offsets, offsets[1:], strict=False) if here != there]
    day = draw(st.sampled_from(jumps)) if jumps and draw(st.integers(0, 3)) else draw(st.sampled_from(days))
    start = day - timedelta(minutes=draw(st.integers(0, 900)))
    return name, start, draw(st.integers(1, 40))


@thorough
@given(EXPRESSIONS, windows(), st.randoms(use_true_random=False))
def test_fire_times_are_those_of_the_brute_force_walk(
    expression: str, window: tuple[str, datetime, int], chance: random.Random
) -> None:
    timezone, start, hours = window
    if len(expression.split()) == 6:
        hours = min(hours, 2)  # a walk by seconds
    until = start + timedelta(hours=hours)
    job = cron_job(expression, timezone)
    expected = enumerate_fires(expression, timezone, start, until)
    assert [fire.instant for fire in fires_between(job, None, start, until)] == expected
    for _ in range(5):
        after = start + timedelta(
            seconds=chance.randrange(hours * 3600), microseconds=chance.randrange(10**6)
        )
        following = next_fire(job, None, after)
        inside = following.instant if following is not None and following.instant <= until else None
        assert inside == next((instant for instant in expected if instant > after), None)
        assert following is None or following.instant > after


@thorough
@given(st.lists(EXPRESSIONS, min_size=1, max_size=3), windows())
def test_a_list_of_expressions_is_their_union_and_strictly_increases(
    expressions: list[str], window: tuple[str, datetime, int]
) -> None:
    timezone, after, _ = window
    for expression in expressions:
        assume_legal(expression)
    job = cron_job(expressions, timezone)
    # compared in UTC: in a fold, times of two zones are never equal to Python
    each = sorted(
        {fire.astimezone(UTC) for text in expressions for fire in fire_times(text, timezone, after, 20)}
    )[:20]
    seen = []
    for _ in range(len(each)):
        fire = next_fire(job, None, after)
        assert fire is not None
        assert fire.instant > after
        after = fire.instant
        seen.append(after)
    assert seen == each


@thorough
@given(EXPRESSIONS, windows(), st.sampled_from(Fold))
def test_bulk_and_single_search_agree_in_every_fold_policy(
    expression: str, window: tuple[str, datetime, int], fold: Fold
) -> None:
    timezone, start, hours = window
    times, where = assume_legal(expression), zone(timezone)
    at, until = to_seconds(start), to_seconds(start) + hours * 3600
    if len(expression.split()) == 6:
        until = at + 600
    singly = []
    while (following := next_instant(times, where, at, fold)) is not None and following[0] <= until:
        assert following[0] > at
        singly.append(following)
        at = following[0]
    assert list(instants_between(times, where, to_seconds(start), until, fold)) == singly


@settings(thorough, max_examples=max(40, EXAMPLES // 15))
@given(DAYS, MONTHS, WEEKDAYS)
def test_days_are_those_of_the_calendar_and_impossible_ones_are_refused(
    day: str, month: str, weekday: str
) -> None:
    # 28 years hold every shape of every month
    dates = [date(1972, 1, 1) + timedelta(days=n) for n in range(28 * 365 + 7)]
    expected = [day_ for day_ in dates if day_matches(day_, day, month, weekday)]
    text = f"0 0 {day} {month} {weekday}"
    if not expected:
        with pytest.raises(CronError, match="never comes"):
            parse(text)
        return
    found = fire_times(text, "UTC", datetime(1971, 12, 31, 23, 59, tzinfo=UTC), min(400, len(expected)))
    assert [instant.date() for instant in found] == expected[:400]


@thorough
@given(st.text(alphabet="0123456789*/-,?LWH#()@ABCMONFRI SUN\t\né", max_size=30))
def test_any_text_is_read_or_refused_with_a_place_inside_it(text: str) -> None:
    try:
        parse(text)
    except CronError as error:
        refusal = error
    else:
        return
    assert 0 <= refusal.offset <= len(text)
    assert refusal.problem in str(refusal)


def test_offsets_of_every_zone_are_those_of_the_database() -> None:
    chance = random.Random(20261123)
    for name in ZONES:
        where, info = zone(name), zoneinfo.ZoneInfo(name)
        for _ in range(max(1, EXAMPLES // 600)):
            segment = where.segment(chance.randrange(0, 2_240_000_000))
            inside = [segment.start, segment.end - 1, chance.randrange(segment.start, segment.end)]
            for instant in inside:
                offset = datetime.fromtimestamp(instant, info).utcoffset()
                assert offset == timedelta(seconds=segment.offset), (name, instant)


def cron_job(expressions: str | list[str], timezone: str) -> Job:
    texts = [expressions] if isinstance(expressions, str) else expressions
    for text in texts:
        assume_legal(text)
    return Job(
        name="any", trigger=Cron(expressions=tuple(texts)), work=Argv(argv=("true",)), timezone=timezone
    )


def assume_legal(expression: str) -> CronTimes:
    """The parsed expression; an impossible one ends the example."""
    try:
        return parse(expression)
    except CronError:
        return reject()
