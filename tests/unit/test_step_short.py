"""Steps stay short whatever is due at once, so that nothing waits long; waiting for its part makes nothing missed."""

from support.leading import (
    a_job,
    at,
    closed,
    fired,
    given,
    instant,
    leading,
    of,
    skipped,
    told,
    took,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang
from schedulerd.core.firing import FIRES_A_STEP
from schedulerd.core.placement import PLACES_A_STEP, PLACES_BEHIND
from schedulerd.core.state import State
from schedulerd.core.step import EXPIRED_A_STEP
from schedulerd.model.job import At, Cron, Shards

MINUTELY = Cron(expressions=("* * * * *",))


def crowd(count: int, **changes: object) -> State:
    """A leader with so many minutely jobs and nobody who could run them."""
    return leading(
        *(a_job(f"j{number}", trigger=MINUTELY, **changes) for number in range(count)),
        workers=[],
        now="02:00:30",
    )


def test_fire_times_of_one_instant_are_settled_in_parts_and_the_next_step_comes_at_once() -> None:
    state = crowd(2 * FIRES_A_STEP + 1)
    parts = []
    for _ in range(3):
        effects = told(state, [AlarmRang()], "02:01:00")
        parts.append(len(fired(effects)))
        (alarm,) = of(fx.SetAlarm, effects)
        assert alarm.utc is not None
        assert (alarm.utc <= instant("02:01:00")) == (len(parts) < 3)
    assert parts == [FIRES_A_STEP, FIRES_A_STEP, 1]


def test_what_waits_behind_others_of_its_instant_is_not_missed_by_that() -> None:
    state = crowd(FIRES_A_STEP + 1)
    told(state, [AlarmRang()], "02:01:05")
    effects = told(state, [AlarmRang()], "02:01:14")  # 14 s after it was due, found 9 s ago
    assert [run.cause.value for record in of(fx.RecordRuns, effects) for run in record.runs] == ["schedule"]
    assert not skipped(effects)


def test_what_nobody_saw_in_time_is_missed_whatever_stands_before_it() -> None:
    state = crowd(FIRES_A_STEP + 1)
    told(state, [AlarmRang()], "02:01:11")
    effects = told(state, [AlarmRang()], "02:01:13")
    assert [run.cause.value for record in of(fx.RecordRuns, effects) for run in record.runs] == ["catchup"]


def test_the_longest_due_is_settled_first() -> None:
    late = a_job("late", trigger=At(instants=(instant("02:01:01"),)))
    jobs = [
        a_job(f"z{number}", trigger=At(instants=(instant("02:01:00"),))) for number in range(FIRES_A_STEP)
    ]
    state = leading(late, *jobs, workers=[], now="02:00:30")
    assert "late@20261123T020101Z" not in fired(told(state, [AlarmRang()], "02:01:02"))
    assert fired(told(state, [AlarmRang()], "02:01:02")) == ["late@20261123T020101Z"]


def test_work_is_given_out_in_parts_and_the_next_step_comes_at_once() -> None:
    wide = a_job("wide", trigger=MINUTELY, split=Shards(count=PLACES_A_STEP + 7))
    state = leading(wide, slots=PLACES_A_STEP)
    effects = told(state, [AlarmRang()], "02:01:00")
    assert len(given(effects)) == PLACES_A_STEP
    assert of(fx.SetAlarm, effects)[0].mono == at("02:01:00").mono
    effects = told(state, [AlarmRang()], "02:01:00")
    assert len(given(effects)) == 7
    assert of(fx.SetAlarm, effects)[0].mono != at("02:01:00").mono


def test_full_workers_are_no_reason_to_step_again() -> None:
    state = leading(a_job("wide", trigger=MINUTELY, split=Shards(count=PLACES_A_STEP + 7)), slots=1)
    effects = told(state, [AlarmRang()], "02:01:00")
    assert [attempt for _, attempt in given(effects)] == [f"wide@20261123T020100Z~{n}~1" for n in range(2)]
    assert of(fx.SetAlarm, effects)[0].mono != at("02:01:00").mono


def test_less_is_given_out_while_fire_times_wait() -> None:
    jobs = [a_job(f"j{number}", trigger=MINUTELY) for number in range(FIRES_A_STEP + 1)]
    state = leading(*jobs, slots=PLACES_A_STEP, now="02:00:30")
    assert len(given(told(state, [AlarmRang()], "02:01:00"))) == PLACES_BEHIND
    state = told_until_calm(state)
    assert not state.is_unfinished


def told_until_calm(state: State) -> State:
    """Step and accept until nothing more can be given out."""
    for _ in range(20):
        effects = told(state, [AlarmRang()], "02:01:01")
        told(state, [took(worker, attempt) for worker, attempt in given(effects)], "02:01:01")
        if not given(effects):
            return state
    raise AssertionError("there is always more to give out")


def test_runs_without_a_worker_fail_in_parts() -> None:
    state = crowd(EXPIRED_A_STEP + 1)
    told(state, [AlarmRang()], "02:01:00")
    effects = told(state, [AlarmRang()], "02:06:00.5")
    ends = [end for end in closed(effects) if end[2] == "no_worker"]
    assert len(ends) == EXPIRED_A_STEP
    assert of(fx.SetAlarm, effects)[0].mono <= at("02:06:00.5").mono  # type: ignore[operator]
    assert (
        len([end for end in closed(told(state, [AlarmRang()], "02:06:00.6")) if end[2] == "no_worker"]) == 1
    )
