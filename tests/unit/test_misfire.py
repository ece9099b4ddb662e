"""What becomes of passed fire times, and that none is lost or counted twice."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulerd.core.misfire import Due, SkipRange, due
from schedulerd.core.trigger import FireTime, fires_between, first_mark, next_fire
from schedulerd.model.job import Argv, At, Cron, Every, Job, Manual, Misfire, Trigger

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def job(
    trigger: Trigger | str = "* * * * *",
    *,
    misfire: Misfire = Misfire.ONCE,
    catchup: timedelta = HOUR,
    catchup_max: int = 100,
) -> Job:
    return Job(
        name="backup",
        trigger=Cron(expressions=(trigger,)) if isinstance(trigger, str) else trigger,
        work=Argv(argv=("true",)),
        misfire=misfire,
        catchup=catchup,
        catchup_max=catchup_max,
    )


def settle(of: Job, *, mark: datetime, now: datetime, is_paused: bool = False) -> Due:
    return due(of, NOON, mark, now, is_paused=is_paused)


def skip(first: datetime, last: datetime, count: int, reason: str) -> SkipRange:
    return SkipRange(first=first, last=last, count=count, reason=reason)


def instants(fires: tuple[FireTime, ...]) -> list[datetime]:
    return [fire.instant for fire in fires]


def test_a_fire_time_found_within_ten_seconds_is_on_time() -> None:
    answer = settle(job(), mark=NOON - timedelta(seconds=30), now=NOON + timedelta(seconds=10))
    assert answer == Due(
        on_time=(FireTime(NOON),),
        catchup=(),
        skips=(),
        mark=NOON + timedelta(seconds=10),
        next=FireTime(NOON + MINUTE),
    )


def test_one_found_later_was_missed_and_runs_once() -> None:
    answer = settle(
        job(), mark=NOON - timedelta(seconds=30), now=NOON + timedelta(seconds=10, microseconds=1)
    )
    assert (answer.on_time, instants(answer.catchup), answer.skips) == ((), [NOON], ())


def test_nothing_due_moves_the_mark_and_names_the_next() -> None:
    answer = settle(job(), mark=NOON, now=NOON + timedelta(seconds=59))
    assert (answer.on_time, answer.catchup, answer.skips) == ((), (), ())
    assert answer.mark == NOON + timedelta(seconds=59)
    assert answer.next == FireTime(NOON + MINUTE)


def test_once_runs_the_newest_missed_and_says_why_the_others_did_not() -> None:
    answer = settle(job("0 * * * *", catchup=3 * HOUR), mark=NOON, now=NOON + 5.5 * HOUR)
    assert instants(answer.catchup) == [NOON + 5 * HOUR]
    assert answer.skips == (
        skip(NOON + 1 * HOUR, NOON + 2 * HOUR, 2, "too_old"),
        skip(NOON + 3 * HOUR, NOON + 4 * HOUR, 2, "misfire"),
    )


def test_once_runs_the_newest_missed_beside_one_that_is_on_time() -> None:
    answer = settle(job(), mark=NOON - 3 * MINUTE, now=NOON + timedelta(seconds=5))
    assert (instants(answer.on_time), instants(answer.catchup)) == ([NOON], [NOON - MINUTE])
    assert answer.skips == (skip(NOON - 2 * MINUTE, NOON - 2 * MINUTE, 1, "misfire"),)


def test_once_runs_nothing_when_the_newest_is_as_old_as_catchup() -> None:
    answer = settle(job("0 0 * * *"), mark=NOON - 24 * HOUR, now=NOON)
    assert answer.catchup == ()
    assert answer.skips == (skip(NOON - 12 * HOUR, NOON - 12 * HOUR, 1, "too_old"),)
    exactly = settle(job("0 0 * * *", catchup=12 * HOUR), mark=NOON - 24 * HOUR, now=NOON)
    assert exactly.catchup == ()
    younger = settle(job("0 0 * * *", catchup=12 * HOUR + MINUTE), mark=NOON - 24 * HOUR, now=NOON)
    assert instants(younger.catchup) == [NOON - 12 * HOUR]


def test_all_runs_the_young_ones_oldest_first() -> None:
    answer = settle(
        job(misfire=Misfire.ALL, catchup=4 * MINUTE), mark=NOON - 6 * MINUTE, now=NOON + 30 * MINUTE / 60
    )
    assert instants(answer.catchup) == [NOON - 3 * MINUTE, NOON - 2 * MINUTE, NOON - MINUTE, NOON]
    assert answer.skips == (skip(NOON - 5 * MINUTE, NOON - 4 * MINUTE, 2, "too_old"),)


def test_all_keeps_the_newest_catchup_max() -> None:
    answer = settle(job(misfire=Misfire.ALL, catchup_max=3), mark=NOON - 6 * MINUTE, now=NOON + MINUTE / 2)
    assert instants(answer.catchup) == [NOON - 2 * MINUTE, NOON - MINUTE, NOON]
    assert answer.skips == (skip(NOON - 5 * MINUTE, NOON - 3 * MINUTE, 3, "misfire"),)
    none = settle(job(misfire=Misfire.ALL, catchup_max=0), mark=NOON - 2 * MINUTE, now=NOON + MINUTE / 2)
    assert none.skips == (skip(NOON - MINUTE, NOON, 2, "misfire"),)


def test_skip_runs_only_what_is_on_time() -> None:
    answer = settle(job(misfire=Misfire.SKIP), mark=NOON - 3 * HOUR, now=NOON + timedelta(seconds=1))
    assert (instants(answer.on_time), answer.catchup) == ([NOON], ())
    assert answer.skips == (skip(NOON - 3 * HOUR + MINUTE, NOON - MINUTE, 179, "misfire"),)


def test_while_paused_everything_is_one_skip_on_time_or_not() -> None:
    answer = settle(job(), mark=NOON - 3 * MINUTE, now=NOON, is_paused=True)
    assert (answer.on_time, answer.catchup) == ((), ())
    assert answer.skips == (skip(NOON - 2 * MINUTE, NOON, 3, "paused"),)
    assert answer.next == FireTime(NOON + MINUTE)


def test_a_clock_that_went_back_fires_nothing_again() -> None:
    answer = settle(job(), mark=NOON, now=NOON - HOUR)
    assert answer == Due(on_time=(), catchup=(), skips=(), mark=NOON, next=FireTime(NOON + MINUTE))


@pytest.mark.parametrize(
    ("misfire", "caught_up", "skipped"),
    [(Misfire.ONCE, [-10], [-50]), (Misfire.ALL, [-50, -10], []), (Misfire.SKIP, [], [-50, -10])],
)
def test_a_new_at_that_is_already_past_meets_the_policy_once(
    misfire: Misfire, caught_up: list[int], skipped: list[int]
) -> None:
    past = job(At(instants=(NOON - 50 * MINUTE, NOON - 10 * MINUTE)), misfire=misfire)
    answer = settle(past, mark=first_mark(past, NOON), now=NOON)
    assert instants(answer.catchup) == [NOON + minutes * MINUTE for minutes in caught_up]
    assert sum(row.count for row in answer.skips) == len(skipped)
    again = settle(past, mark=answer.mark, now=NOON + HOUR)
    assert (again.on_time, again.catchup, again.skips, again.next) == ((), (), (), None)


def test_a_manual_job_owes_nothing() -> None:
    answer = settle(job(Manual()), mark=NOON - HOUR, now=NOON)
    assert answer == Due(on_time=(), catchup=(), skips=(), mark=NOON, next=None)


def test_a_long_outage_of_a_busy_job_is_few_rows() -> None:
    answer = settle(job("*/5 * * * * *"), mark=NOON - timedelta(days=7), now=NOON)
    assert [row.reason for row in answer.skips] == ["too_old", "misfire"]
    total = sum(row.count for row in answer.skips) + len(answer.catchup) + len(answer.on_time)
    assert total == 7 * 86_400 // 5


TRIGGERS = st.one_of(
    st.sampled_from(
        ["* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "*/30 * * * * *", "0 0 29 2 *"]
    ).map(lambda text: Cron(expressions=(text,))),
    st.just(Cron(expressions=("*/20 * * * *", "10 */2 * * *"))),
    st.integers(20, 5000).map(lambda seconds: Every(period=timedelta(seconds=seconds))),
    st.lists(st.integers(-500, 500), unique=True).map(
        lambda minutes: At(instants=tuple(NOON + n * MINUTE for n in sorted(minutes)))
    ),
    st.just(Manual()),
)


@settings(max_examples=300, deadline=None)
@given(
    trigger=TRIGGERS,
    misfire=st.sampled_from(Misfire),
    catchup=st.integers(0, 7200),
    catchup_max=st.integers(0, 30),
    moments=st.lists(st.tuples(st.integers(-600, 6000), st.booleans()), min_size=1, max_size=6),
)
def test_every_passed_fire_time_is_settled_exactly_once(
    trigger: Trigger,
    misfire: Misfire,
    catchup: int,
    catchup_max: int,
    moments: list[tuple[int, bool]],
) -> None:
    of = job(trigger, misfire=misfire, catchup=timedelta(seconds=catchup), catchup_max=catchup_max)
    anchor = NOON - HOUR
    mark = start = now = NOON - 2 * HOUR
    runs: list[datetime] = []
    ranges: list[SkipRange] = []
    for seconds, is_paused in moments:
        now += timedelta(seconds=seconds)
        answer = due(of, anchor, mark, now, is_paused=is_paused)
        assert answer.mark == max(mark, now)
        assert answer.next == next_fire(of, anchor, answer.mark)
        assert all(now - fire.instant <= timedelta(seconds=10) for fire in answer.on_time)
        assert all(timedelta(seconds=10) < now - fire.instant for fire in answer.catchup)
        assert all(now - fire.instant < of.catchup for fire in answer.catchup)
        assert len(answer.catchup) <= max(1 if misfire is Misfire.ONCE else 0, catchup_max)
        assert instants(answer.catchup) == sorted(instants(answer.catchup))
        assert all(
            one.reason != other.reason for one, other in zip(answer.skips, answer.skips[1:], strict=False)
        )
        runs += instants(answer.on_time) + instants(answer.catchup)
        ranges += answer.skips
        mark = answer.mark
    passed = [fire.instant for fire in fires_between(of, anchor, start, mark)]
    assert len(set(runs)) == len(runs)
    skipped = [instant for instant in passed if any(row.first <= instant <= row.last for row in ranges)]
    assert sorted(runs + skipped) == passed
    assert sum(row.count for row in ranges) == len(skipped)
    assert all(row.first in skipped and row.last in skipped for row in ranges)
