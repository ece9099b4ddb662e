"""Counted fire times are those of the walk: how many, which are the newest, and what becomes of them after downtime."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from properties.cron_material import EXPRESSIONS, JUMPY, ZONES, windows
from properties.test_fire_times import EXAMPLES, cron_job

from schedulerd.core import counting
from schedulerd.core.misfire import MISSED_AFTER, SkipRange, due
from schedulerd.core.trigger import FireTime, fires_between, next_fire
from schedulerd.model.job import Argv, Every, Job, Misfire

often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
ANCHOR = datetime(2026, 11, 1, 0, 0, 7, 250_000, tzinfo=UTC)
DENSE = st.sampled_from(
    [
        "* * * * *",
        "*/5 * * * *",
        "* * * * * *",
        "*/7 1-3 * * *",
        "30 2 * * *",
        "0 0-23 * * MON-FRI",
        "15 */2 * * *",
    ]
)
PERIODS = st.timedeltas(timedelta(milliseconds=900), timedelta(hours=2))


@often
@given(EXPRESSIONS, windows(), st.integers(0, 20))
def test_a_count_is_the_length_of_the_walk(
    expression: str, window: tuple[str, datetime, int], limit: int
) -> None:
    timezone, start, hours = window
    if len(expression.split()) == 6:
        hours = min(hours, 4)
    check(cron_job(expression, timezone), start, start + timedelta(hours=hours), limit)


@often
@given(
    DENSE, st.sampled_from(JUMPY + ZONES), st.integers(0, 22_000), st.integers(0, 90_000), st.integers(0, 9)
)
def test_a_count_of_weeks_is_the_length_of_the_walk(
    expression: str, timezone: str, day: int, minutes: int, limit: int
) -> None:
    if len(expression.split()) == 6:
        minutes //= 50
    start = datetime(1975, 1, 1, tzinfo=UTC) + timedelta(days=day, minutes=minutes // 7, seconds=minutes % 60)
    check(cron_job(expression, timezone), start, start + timedelta(minutes=minutes), limit)


@often
@given(PERIODS, st.timedeltas(timedelta(-3), timedelta(3)), st.timedeltas(timedelta(0), timedelta(hours=9)))
def test_a_count_of_periods_is_the_length_of_the_walk(
    period: timedelta, begin: timedelta, length: timedelta
) -> None:
    check(every_job(period), ANCHOR + begin, ANCHOR + begin + length, 3)


@often
@given(
    st.one_of(DENSE.map(lambda text: cron_job(text, "Europe/Berlin")), PERIODS.map(lambda p: every_job(p))),
    st.sampled_from(Misfire),
    st.timedeltas(timedelta(0), timedelta(hours=30)),
    st.integers(0, 150),
    st.timedeltas(timedelta(-1), timedelta(days=2)),
    st.sampled_from([timedelta(0), timedelta(seconds=25)]),
    st.booleans(),
)
def test_downtime_ends_as_if_every_fire_time_had_been_looked_at(
    job: Job,
    misfire: Misfire,
    catchup: timedelta,
    catchup_max: int,
    downtime: timedelta,
    waited: timedelta,
    is_paused: bool,
) -> None:
    fields = {key: getattr(job, key) for key in job.__struct_fields__}
    job = Job(**{**fields, "misfire": misfire, "catchup": catchup, "catchup_max": catchup_max})
    mark = datetime(2026, 10, 24, 12, 0, 3, 500_001, tzinfo=UTC)
    now = mark + downtime
    assume(counting.count(job, ANCHOR - timedelta(30), mark, now) < 60_000)
    found = due(job, ANCHOR - timedelta(30), mark, now, is_paused=is_paused, waited=waited)
    on_time, caught_up, skips = walked(job, mark, now, is_paused, waited)
    assert list(found.on_time) == on_time
    assert list(found.catchup) == caught_up
    assert list(found.skips) == skips
    assert found.mark == max(mark, now)


def check(job: Job, after: datetime, until: datetime, limit: int) -> None:
    """Against the walk: the number, and the newest `limit`."""
    walk = list(fires_between(job, ANCHOR, after, until))
    assert counting.count(job, ANCHOR, after, until) == len(walk)
    begin = counting.newest_after(job, ANCHOR, after, until, limit)
    assert after <= begin <= max(after, until)
    newest = walk[-limit:] if limit else []
    assert list(fires_between(job, ANCHOR, begin, until)) == newest
    if newest:
        assert next_fire(job, ANCHOR, begin) == newest[0]


def every_job(period: timedelta) -> Job:
    return Job(name="any", trigger=Every(period=period), work=Argv(argv=("true",)))


def walked(
    job: Job, mark: datetime, now: datetime, is_paused: bool, waited: timedelta
) -> tuple[list[FireTime], list[FireTime], list[SkipRange]]:
    """What the misfire policy says of each fire time, one by one."""
    fires = list(fires_between(job, ANCHOR - timedelta(30), mark, now))
    reasons: dict[datetime, str] = {}
    young: list[FireTime] = []
    for fire in fires:
        age = now - fire.instant
        if is_paused:
            reasons[fire.instant] = "paused"
        elif age <= MISSED_AFTER + waited:
            reasons[fire.instant] = ""
        elif job.misfire is Misfire.SKIP:
            reasons[fire.instant] = "misfire"
        elif age >= job.catchup:
            reasons[fire.instant] = "too_old"
        else:
            young.append(fire)
    limit = 1 if job.misfire is Misfire.ONCE else job.catchup_max
    caught_up = young[max(0, len(young) - limit) :]
    for fire in young[: max(0, len(young) - limit)]:
        reasons[fire.instant] = "misfire"
    skips: list[SkipRange] = []
    for fire in fires:
        reason = reasons.get(fire.instant, "")
        if not reason:
            continue
        if skips and skips[-1].reason == reason:
            old = skips.pop()
            skips.append(SkipRange(first=old.first, last=fire.instant, count=old.count + 1, reason=reason))
        else:
            skips.append(SkipRange(first=fire.instant, last=fire.instant, count=1, reason=reason))
    return [fire for fire in fires if reasons.get(fire.instant) == ""], caught_up, skips
