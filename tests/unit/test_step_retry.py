"""A run that has ended is retried: it is open again, and what is to run again gets new attempts, its steps as well."""

from datetime import timedelta

import pytest
from msgspec import structs
from support.leading import (
    a_job,
    answer,
    asked,
    closed,
    defined,
    ended,
    events_of,
    instant,
    inventory,
    leading,
    of,
    rebuilt,
    row,
    told,
)
from support.leading import found as listed

from schedulerd.core import effects as fx
from schedulerd.core.events import LeadershipGained
from schedulerd.core.requests import CancelRun, Retried, RetryRun, TriggerJob
from schedulerd.core.state import State
from schedulerd.errors import CommandError
from schedulerd.model.job import Argv, Job, ListedItems, Overlap, Shards
from schedulerd.model.run import Again, Cause, NewRun, OpenRun, OpenSubtask, RunState, SubtaskState
from schedulerd.protocol import messages as msg

RUN = "backup@20261123T013000Z"
WORK = Argv(argv=("x",))
STAGED = a_job(split=Shards(count=3), setup=WORK, gather=WORK, teardown=WORK)
DONE, FAILED = SubtaskState.SUCCEEDED, SubtaskState.FAILED


def recorded(
    job: Job,
    states: dict[int, SubtaskState],
    *,
    state: RunState = RunState.FAILED,
    cause: Cause = Cause.SCHEDULE,
    again: Again | None = None,
    is_split: bool = True,
    rounds: int = 1,
) -> OpenRun:
    """A run as the ledger has it, each subtask after one attempt."""
    definition = defined(job)
    new = NewRun(
        id=RUN,
        job=job.name,
        version=definition.version,
        cause=cause,
        fire_time=instant("01:30:00"),
        has_slot=cause is not Cause.MANUAL,
        created_at=instant("01:30:00"),
    )
    subtasks = tuple(
        OpenSubtask(
            index=index,
            item=None,
            state=one,
            attempts=1,
            counted_failures=int(one is FAILED),
            losses=0,
            previous="failed" if one is FAILED else "none",
        )
        for index, one in states.items()
    )
    return OpenRun(
        run=new,
        definition=definition,
        state=state,
        started_at=instant("01:30:01"),
        is_split=is_split,
        is_cancelled=False,
        subtasks=subtasks,
        attempts=(),
        rounds=rounds,
        again=again,
    )


ENDED = {-3: DONE, -2: DONE, -1: DONE, 0: DONE, 1: FAILED, 2: DONE}


def retry(
    state: State, found: OpenRun, *, failed_only: bool = True, now: str = "02:00:01"
) -> list[fx.Effect]:
    """Somebody asks for it."""
    return told(state, [asked(RetryRun(found=found, by="ann", failed_only=failed_only))], now)


def new(effects: list[fx.Effect]) -> list[str]:
    """Attempts that are given out for the first time, without the run."""
    return [
        attempt.id.partition("~")[2]
        for record in of(fx.RecordAttempts, effects)
        for attempt in record.attempts
    ]


def end(state: State, attempt: str, now: str, how: msg.OutcomeState = "succeeded") -> list[fx.Effect]:
    """The attempt ends, at whoever has it."""
    name = f"{RUN}~{attempt}"
    return told(state, [ended(state.attempts[name].worker, name, how)], now)


def test_failed_subtasks_get_new_attempts_between_a_new_setup_and_a_new_gather() -> None:
    state = leading(STAGED)
    effects = retry(state, recorded(STAGED, ENDED))
    assert answer(effects) == Retried(run=RUN, outcome="started")
    assert of(fx.RecordReopening, effects) == [fx.RecordReopening(RUN, 2, Again.FAILED)]
    assert of(fx.RecordRound, effects) == [fx.RecordRound(RUN, 1, (-3, -2, -1, 1))]
    assert "reopened" in events_of(effects)
    assert new(effects) == ["-2~2"]
    assert new(end(state, "-2~2", "02:00:01.2")) == ["1~2"]
    effects = end(state, "1~2", "02:00:01.4")
    assert new(effects) == ["-1~2"]
    assert of(fx.SendGather, effects)[0].order.env == {"SCHEDULERD_NEED_MET": "1"}
    assert new(end(state, "-1~2", "02:00:01.6")) == ["-3~2"]
    assert closed(end(state, "-3~2", "02:00:01.8")) == [(RUN, "succeeded", "")]


def test_a_retry_of_the_whole_run_gives_every_subtask_a_new_attempt() -> None:
    job = a_job(split=Shards(count=3), gather=WORK)
    state = leading(job)
    effects = retry(state, recorded(job, {-1: DONE, 0: DONE, 1: FAILED, 2: DONE}), failed_only=False)
    assert sorted(new(effects)) == ["0~2", "1~2", "2~2"]
    for attempt in ("0~2", "1~2"):
        assert not new(end(state, attempt, "02:00:02"))
    assert new(end(state, "2~2", "02:00:02")) == ["-1~2"]


def test_a_subtask_that_fails_again_fails_the_run_again() -> None:
    state = leading(a_job(retry_max=1))
    retry(state, recorded(a_job(retry_max=1), {0: FAILED}))
    assert new(end(state, "0~2", "02:00:02", "failed")) == ["0~3"]  # its retries are counted anew
    assert closed(end(state, "0~3", "02:00:03", "failed")) == [(RUN, "failed", "exit")]


def test_attempts_know_that_the_one_before_had_failed() -> None:
    state = leading(a_job())
    retry(state, recorded(a_job(), {0: FAILED}))
    order = state.attempts[f"{RUN}~0~2"].order
    assert order is not None
    assert order.previous == "failed"


def test_a_split_command_that_failed_is_run_again_and_one_that_succeeded_is_not() -> None:
    job = a_job(split=ListedItems(work=WORK))
    state = leading(job)
    assert new(retry(state, recorded(job, {-4: FAILED}, is_split=False))) == ["-4~2"]
    state = leading(job)
    assert new(retry(state, recorded(job, {-4: DONE, 0: FAILED}), failed_only=False)) == ["0~2"]


def test_a_run_that_was_never_begun_begins_anew() -> None:
    state = leading(STAGED)
    effects = retry(state, recorded(STAGED, {}, state=RunState.CANCELLED, is_split=False))
    assert new(effects) == ["-2~1"]


def test_only_a_run_that_has_ended_is_retried() -> None:
    state = leading(a_job())
    found = recorded(a_job(), {0: FAILED})
    retry(state, found)
    refusal = answer(retry(state, found))
    assert isinstance(refusal, CommandError)
    assert "is not final" in refusal.text
    assert new(told(state, [ended("w1", f"{RUN}~0~2")], "02:00:02")) == []
    assert not state.runs


def test_nothing_is_retried_where_nothing_failed() -> None:
    found = recorded(a_job(), {0: DONE}, state=RunState.SUCCEEDED)
    refusal = answer(retry(leading(a_job()), found))
    assert isinstance(refusal, CommandError)
    assert "nothing of" in refusal.text
    assert answer(retry(leading(a_job()), found, failed_only=False)) == Retried(run=RUN, outcome="started")


def test_a_run_is_not_opened_by_what_was_read_of_it_before_its_newest_round() -> None:
    state = leading(a_job())
    found = recorded(a_job(), {0: FAILED})
    retry(state, found)
    request = asked(RetryRun(found=found, by="ann"), 2)
    effects = told(state, [ended("w1", f"{RUN}~0~2", "failed"), request], "02:00:02")
    assert closed(effects) == [(RUN, "failed", "exit")]
    assert not of(fx.RecordReopening, effects)
    assert isinstance(answer(retry(state, found, now="02:00:03")), CommandError)
    assert isinstance(answer(retry(state, structs.replace(found, rounds=2), now="02:00:04")), Retried)


# ---- beside other runs of its job


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("cause", [Cause.SCHEDULE, Cause.CATCHUP, Cause.BACKFILL])
def test_overlap_decides_as_for_a_new_run(overlap: Overlap, cause: Cause) -> None:
    job = a_job(overlap=overlap)
    state = leading(job)
    (other,) = new(told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], "02:00:00.5"))
    found = recorded(job, {0: FAILED}, cause=cause)
    effects = retry(state, found)
    told_first = answer(effects)
    first = next(attempt for attempt in state.attempts.values() if attempt.id.endswith(other))
    match overlap:
        case Overlap.SKIP:
            assert isinstance(told_first, CommandError)
        case Overlap.ALLOW:
            assert told_first == Retried(run=RUN, outcome="started")
            assert new(effects) == ["0~2"]
        case Overlap.QUEUE:
            assert told_first == Retried(run=RUN, outcome="queued")
            assert new(effects) == []
            assert new(told(state, [ended(first.worker, first.id)], "02:00:02")) == ["0~2"]
        case Overlap.REPLACE:
            assert new(effects) == []
            assert first.run.is_cancelled
            assert new(told(state, [ended(first.worker, first.id, "cancelled")], "02:00:02")) == ["0~2"]


@pytest.mark.parametrize("fired_under", [Overlap.SKIP, Overlap.QUEUE])
def test_a_run_that_was_fired_under_a_stricter_rule_keeps_to_it(fired_under: Overlap) -> None:
    state = leading(a_job(overlap=Overlap.ALLOW))
    told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], "02:00:00.5")
    effects = retry(state, recorded(a_job(overlap=fired_under), {0: FAILED}))
    assert new(effects) == (["0~2"] if fired_under is Overlap.QUEUE else [])
    assert isinstance(answer(effects), CommandError) == (fired_under is Overlap.SKIP)


def test_a_retry_that_waits_can_be_cancelled_and_leaves_its_subtasks_as_they_were() -> None:
    job = a_job(overlap=Overlap.QUEUE, teardown=WORK)
    state = leading(job)
    told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], "02:00:00.5")
    retry(state, recorded(job, {0: FAILED, -3: DONE}))
    effects = told(state, [asked(CancelRun(run=RUN, by="ann"))], "02:00:02")
    assert closed(effects) == [(RUN, "cancelled", "operator")]
    assert not of(fx.RecordSubtaskStates, effects)


# ---- takeover


def taken(found: OpenRun) -> tuple[State, list[fx.Effect]]:
    """A new leader and what its first step orders, with two workers."""
    state = rebuilt(row(found.definition.job), runs=[found])
    workers = [listed("w1", "w2"), inventory("w1", "02:00:00"), inventory("w2", "02:00:00")]
    return state, told(state, [LeadershipGained(), *workers], "02:00:00")


PENDING = SubtaskState.PENDING


def test_a_retry_that_waited_for_its_turn_begins_under_the_next_leader() -> None:
    _, effects = taken(recorded(STAGED, ENDED, state=RunState.PENDING, again=Again.FAILED, rounds=2))
    assert of(fx.RecordRound, effects) == [fx.RecordRound(RUN, 1, (-3, -2, -1, 1))]
    assert new(effects) == ["-2~2"]


@pytest.mark.parametrize(
    ("states", "following"),
    [
        ({-3: PENDING, -2: PENDING, -1: PENDING, 0: DONE, 1: PENDING}, ["-2~2"]),
        ({-3: PENDING, -2: DONE, -1: PENDING, 0: DONE, 1: PENDING}, ["1~2"]),
        ({-3: PENDING, -2: DONE, -1: PENDING, 0: DONE, 1: DONE}, ["-1~2"]),
        ({-3: PENDING, -2: DONE, -1: DONE, 0: DONE, 1: DONE}, ["-3~2"]),
    ],
)
def test_each_stage_of_a_retry_goes_on_under_the_next_leader(
    states: dict[int, SubtaskState], following: list[str]
) -> None:
    _, effects = taken(recorded(STAGED, states, state=RunState.RUNNING, rounds=2))
    assert new(effects) == following


def test_the_term_of_a_retry_begins_with_its_own_first_process() -> None:
    job = a_job(run_timeout=timedelta(seconds=30))
    state = leading(job)
    retry(state, recorded(job, {0: FAILED}))
    assert state.runs[RUN].ends_at is None
