"""Fire times agree with a brute-force walk through real time, over random expressions, zones and instants.

A plain run makes at least 20,000 comparisons; `FIRE_TIMES_EXAMPLES=N` sets how many random windows are compared (about
25 comparisons each), and `make cron` asks for many more.
"""

import os
import random
import zoneinfo
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from properties.cron_material import DAYS, EXPRESSIONS, FIVE, MONTHS, SIX, WEEKDAYS, ZONES, windows
from properties.oracle import day_matches, enumerate_fires, written_out

from schedulerd.core.cron import CronError, CronTimes, fire_times, parse
from schedulerd.core.search import Fold, instants_between, next_instant
from schedulerd.core.trigger import fires_between, next_fire
from schedulerd.core.zones import to_seconds, zone
from schedulerd.model.job import Argv, Cron, Job

EXAMPLES = int(os.environ.get("FIRE_TIMES_EXAMPLES", "900"))
PER_EXAMPLE = 25  # comparisons, less those of expressions that can never fire
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
short = settings(thorough, max_examples=max(40, EXAMPLES // 3))


def test_fire_times_are_those_of_the_brute_force_walk() -> None:
    compared = 0
    several = st.one_of(*[st.lists(FIVE, min_size=4, max_size=4)] * 3, st.lists(SIX, min_size=4, max_size=4))

    @thorough
    @given(several, windows(), st.randoms(use_true_random=False))
    def compare(expressions: list[str], window: tuple[str, datetime, int], chance: random.Random) -> None:
        nonlocal compared
        timezone, start, hours = window
        # a walk by seconds is a short one
        length = hours * 3600 if len(expressions[0].split()) < 6 else hours * 90
        until = start + timedelta(seconds=length)
        asked = [
            start + timedelta(seconds=chance.randrange(length), microseconds=chance.randrange(10**6))
            for _ in range(6)
        ]
        for expression in expressions:
            if not is_possible(expression):
                continue
            expected = enumerate_fires(expression, timezone, start, until)
            for after in asked:
                later = [instant for instant in expected if instant > after][:3]
                found = [fire.astimezone(UTC) for fire in fire_times(expression, timezone, after, 3)]
                assert found[: len(later)] == later
                assert all(fire > until for fire in found[len(later) :])
                compared += 1
        expression = expressions[0]
        if is_possible(expression):
            # as a job, by its own name, in bulk
            expected = enumerate_fires(expression, timezone, start, until, "any")
            job = cron_job(expression, timezone)
            assert [fire.instant for fire in fires_between(job, None, start, until)] == expected
            compared += 1

    compare()
    assert compared >= EXAMPLES * PER_EXAMPLE * 9 // 10


@short
@given(st.lists(EXPRESSIONS, min_size=1, max_size=3), windows())
def test_a_list_of_expressions_is_their_union_and_strictly_increases(
    expressions: list[str], window: tuple[str, datetime, int]
) -> None:
    timezone, after, _ = window
    # each `H` as it is for the job, since fire_times knows no name
    plain = [text if "H" not in text.upper() else " ".join(written_out(text, "any")) for text in expressions]
    for expression in plain:
        assume_legal(expression)
    job = cron_job(plain, timezone)
    # compared in UTC: in a fold, times of two zones are never equal to Python
    each = sorted({fire.astimezone(UTC) for text in plain for fire in fire_times(text, timezone, after, 20)})[
        :20
    ]
    seen = []
    for _ in range(len(each)):
        fire = next_fire(job, None, after)
        assert fire is not None
        assert fire.instant > after
        after = fire.instant
        seen.append(after)
    assert seen == each


@short
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


@settings(thorough, max_examples=max(40, EXAMPLES // 30))
@given(DAYS, MONTHS, WEEKDAYS)
def test_days_are_those_of_the_calendar_and_impossible_ones_are_refused(
    day: str, month: str, weekday: str
) -> None:
    # 28 years hold every shape of every month
    dates = [date(1972, 1, 1) + timedelta(days=n) for n in range(28 * 365 + 7)]
    text = f"0 0 {day} {month} {weekday}"
    fields = written_out(text, "")[3:]
    expected = [day_ for day_ in dates if day_matches(day_, *fields)]
    if not expected:
        with pytest.raises(CronError, match="never comes"):
            parse(text)
        return
    found = fire_times(text, "UTC", datetime(1971, 12, 31, 23, 59, tzinfo=UTC), min(400, len(expected)))
    assert [instant.date() for instant in found] == expected[:400]


@short
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
        for _ in range(max(1, EXAMPLES // 900)):
            segment = where.segment(chance.randrange(0, 2_240_000_000))
            inside = [segment.start, segment.end - 1, chance.randrange(segment.start, segment.end)]
            for instant in inside:
                offset = datetime.fromtimestamp(instant, info).utcoffset()
                assert offset == timedelta(seconds=segment.offset), (name, instant)


def cron_job(expressions: str | list[str], timezone: str) -> Job:
    texts = [expressions] if isinstance(expressions, str) else expressions
    return Job(
        name="any", trigger=Cron(expressions=tuple(texts)), work=Argv(argv=("true",)), timezone=timezone
    )


def is_possible(expression: str) -> bool:
    """Whether it has fire times at all, for no name and for the job's; any other refusal is a fault."""
    try:
        parse(expression)
        parse(expression, "any")
    except CronError as error:
        if "never comes" not in str(error):
            raise
        return False
    return True


def assume_legal(expression: str) -> CronTimes:
    """The parsed expression; an impossible one ends the example."""
    return parse(expression) if is_possible(expression) else reject()
