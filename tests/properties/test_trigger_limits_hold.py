"""Windows, calendars and jitter over random triggers: nothing is reordered, lost or there twice."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from schedulerd.core.misfire import due
from schedulerd.core.trigger import FireTime, fires_between, next_fire, next_run
from schedulerd.model.job import Argv, At, Calendar, Cron, Every, Fold, Gap, Job, Misfire

EXAMPLES = settings(max_examples=150, deadline=None)
BEGIN = datetime(2026, 3, 27, 7, 7, 7, tzinfo=UTC)  # with the spring change of Europe two days ahead
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
instants = st.integers(0, 6 * 86_400).map(lambda second: BEGIN + timedelta(seconds=second))
triggers = st.one_of(
    st.lists(
        st.sampled_from(
            ["*/7 * * * *", "30 2 * * *", "0 */3 * * *", "15 1-3 * * *", "0 0 * * 1-5", "5 4 28-31 * *"]
        ),
        min_size=1,
        max_size=3,
    ).map(lambda texts: Cron(expressions=tuple(texts))),
    st.integers(300, 90_000).map(lambda seconds: Every(period=timedelta(seconds=seconds))),
    st.lists(instants, min_size=1, max_size=20).map(lambda found: At(instants=tuple(sorted(set(found))))),
)
days = st.integers(0, 5).map(lambda n: date(2026, 3, 27).toordinal() + n)
spans = instants.map(lambda instant: int(instant.timestamp())).flatmap(
    lambda start: st.integers(1, 90_000).map(lambda length: ((start, start + length),))
)
calendars = st.builds(
    Calendar,
    days=st.sets(days, max_size=2).map(lambda found: tuple((day, day) for day in sorted(found))),
    weekdays=st.sets(st.integers(0, 6), max_size=3).map(lambda found: tuple(sorted(found))),
    spans=st.one_of(st.just(()), spans),
)
jobs = st.builds(
    Job,
    name=st.sampled_from(["a", "backup"]),
    trigger=triggers,
    work=st.just(Argv(argv=("true",))),
    timezone=st.sampled_from(ZONES),
    dst_gap=st.sampled_from(Gap),
    dst_fold=st.sampled_from(Fold),
    start=st.one_of(st.none(), instants),
    end=st.one_of(st.none(), instants),
    calendars=st.lists(calendars, max_size=2).map(tuple),
    excluded=st.lists(calendars, max_size=2).map(tuple),
    jitter=st.sampled_from(
        [timedelta(0), timedelta(milliseconds=1), timedelta(minutes=10), timedelta(days=2)]
    ),
    misfire=st.sampled_from(Misfire),
    catchup=st.sampled_from([timedelta(hours=1), timedelta(days=2)]),
    catchup_max=st.integers(0, 5),
)
UNTIL = BEGIN + timedelta(days=6)


def fires(job: Job) -> list[FireTime]:
    return list(fires_between(job, BEGIN, BEGIN, UNTIL))


def is_held(calendar: Calendar, job: Job, instant: datetime) -> bool:
    """Written from the meaning of a calendar, without looking at how the core searches it."""
    day = instant.astimezone(ZoneInfo(job.timezone)).date()
    return (
        day.weekday() in calendar.weekdays
        or any(date.fromordinal(first) <= day <= date.fromordinal(last) for first, last in calendar.days)
        or any(begin <= instant.timestamp() < end for begin, end in calendar.spans)
    )


@EXAMPLES
@given(jobs)
def test_asking_one_by_one_gives_what_walking_gives(job: Job) -> None:
    singly, after = [], BEGIN
    while (fire := next_fire(job, BEGIN, after)) is not None and fire.instant <= UNTIL:
        singly.append(fire)
        after = fire.instant
    assert fires(job) == singly


@EXAMPLES
@given(jobs)
def test_jitter_never_reorders_fire_times(job: Job) -> None:
    found = fires(job)
    plain = fires(structs.replace(job, jitter=timedelta()))
    assert [fire.instant for fire in found] == [fire.instant for fire in plain]
    assert all(fire.due < following.instant for fire, following in pairwise(found))
    assert all(timedelta() <= fire.delay <= job.jitter for fire in found)


@EXAMPLES
@given(jobs)
def test_a_window_cuts_fire_times_off_and_changes_no_other(job: Job) -> None:
    bare = structs.replace(job, start=None, end=None, jitter=timedelta())
    inside = [
        fire
        for fire in fires(bare)
        if (job.start is None or fire.instant >= job.start) and (job.end is None or fire.instant <= job.end)
    ]
    assert fires(structs.replace(job, jitter=timedelta())) == inside


@EXAMPLES
@given(jobs)
def test_calendars_partition_fire_times_into_runs_and_skips(job: Job) -> None:
    job = structs.replace(job, dst_gap=Gap.RUN)
    found = fires(job)
    bare = fires(structs.replace(job, calendars=(), excluded=()))
    assert [fire.instant for fire in found] == [fire.instant for fire in bare]
    for fire in found:
        is_in = not job.calendars or any(is_held(calendar, job, fire.instant) for calendar in job.calendars)
        is_out = any(is_held(calendar, job, fire.instant) for calendar in job.excluded)
        assert (fire.skip is None) == (is_in and not is_out)


@EXAMPLES
@given(jobs, instants)
def test_the_next_run_is_the_first_fire_time_that_is_not_excluded(job: Job, after: datetime) -> None:
    expected = next((fire for fire in fires(job) if fire.instant > after and fire.skip is None), None)
    found = next_run(job, BEGIN, after)
    assert (found if found is not None and found.instant <= UNTIL else None) == expected


@EXAMPLES
@given(jobs, st.lists(instants, min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_settling_whenever_accounts_for_every_fire_time_once(
    job: Job, looks: list[datetime], pauses: list[bool]
) -> None:
    mark, settled = BEGIN, []
    for now, is_paused in zip([*sorted(looks), UNTIL + timedelta(days=5)], [*pauses, False], strict=False):
        result = due(job, BEGIN, mark, now, is_paused=is_paused)
        rows = [(fire.instant, fire.instant, 1) for fire in (*result.catchup, *result.on_time)]
        rows += [(skip.first, skip.last, skip.count) for skip in result.skips]
        settled += sorted(rows)
        assert result.mark >= mark
        assert result.next is None or result.next.instant > result.mark
        mark = result.mark
    expected = [fire.instant for fire in fires_between(job, BEGIN, BEGIN, mark)]
    assert [first for first, _, _ in settled] == sorted(first for first, _, _ in settled)
    covered = [[instant for instant in expected if first <= instant <= last] for first, last, _ in settled]
    assert [len(inside) for inside in covered] == [count for _, _, count in settled]
    assert [instant for inside in covered for instant in inside] == expected
