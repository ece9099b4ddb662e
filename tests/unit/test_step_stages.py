"""A run goes through its stages: setup, the split, subtasks, gather, teardown; teardown comes whatever went wrong."""

from datetime import timedelta

import pytest
from support.leading import (
    a_job,
    asked,
    began,
    closed,
    ended,
    events_of,
    given,
    leading,
    of,
    sent,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang
from schedulerd.core.requests import CancelRun, TriggerJob
from schedulerd.core.state import State
from schedulerd.model.job import Argv, Items, Job, ListedItems, Overlap, PerWorker, Shards
from schedulerd.protocol import messages as msg

RUN = "backup@20261123T020001Z-m2c70e12b"
SETUP, TEARDOWN = Argv(argv=("prepare",)), Argv(argv=("clear",))
GATHER = Argv(argv=("collect",))
LISTED = ListedItems(work=Argv(argv=("list",)))


def staged(**changes: object) -> Job:
    """A job with every step."""
    known = {"setup": SETUP, "teardown": TEARDOWN, "gather": GATHER, "split": Shards(count=2)}
    return a_job(**{**known, **changes})


def trigger(state: State, now: str = "02:00:01") -> list[fx.Effect]:
    """A caller wants the job now."""
    return told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], now)


def parts(effects: list[fx.Effect]) -> list[int]:
    """Indexes of the subtasks of which an attempt is new."""
    return [int(name.split("~")[1]) for name in new(effects)]


def new(effects: list[fx.Effect]) -> list[str]:
    """Attempts that are given out for the first time."""
    return [attempt.id for record in of(fx.RecordAttempts, effects) for attempt in record.attempts]


def end(state: State, subtask: int, how: msg.OutcomeState, now: str, number: int = 1) -> list[fx.Effect]:
    """The attempt ends, at whoever has it."""
    name = f"{RUN}~{subtask}~{number}"
    return told(state, [ended(state.attempts[name].worker, name, how)], now)


def works(effects: list[fx.Effect]) -> list[list[str]]:
    """What workers are told to run."""
    return [
        dispatch.specs[order.spec].argv
        for _, dispatch in sent(msg.Dispatch, effects)
        for order in dispatch.orders
    ]


def test_a_run_goes_through_its_stages_one_after_another() -> None:
    state = leading(staged())
    effects = trigger(state)
    assert (parts(effects), works(effects)) == ([-2], [["prepare"]])
    assert sorted(parts(end(state, -2, "succeeded", "02:00:02"))) == [0, 1]
    assert not new(end(state, 0, "succeeded", "02:00:02.2"))
    assert parts(end(state, 1, "succeeded", "02:00:02.4")) == [-1]
    effects = end(state, -1, "succeeded", "02:00:02.6")
    assert (parts(effects), works(effects), closed(effects)) == ([-3], [["clear"]], [])
    assert closed(end(state, -3, "succeeded", "02:00:02.8")) == [(RUN, "succeeded", "")]


def test_the_result_is_recorded_with_gather_though_teardown_has_yet_to_come() -> None:
    state = leading(staged(setup=None, split=Items(items=())))
    assert parts(trigger(state)) == [-1]
    effects = told(state, [ended("w1", f"{RUN}~-1~1", output=b"all")], "02:00:02")
    assert of(fx.RecordResult, effects) == [fx.RecordResult(RUN, b"all")]
    assert parts(effects) == [-3]


def test_a_split_command_comes_after_setup() -> None:
    state = leading(staged(split=LISTED))
    assert parts(trigger(state)) == [-2]
    assert parts(end(state, -2, "succeeded", "02:00:02")) == [-4]


def test_workers_of_a_broadcast_are_counted_after_setup() -> None:
    state = leading(staged(split=PerWorker()), workers=["w1", "w2", "w3"])
    assert parts(trigger(state)) == [-2]
    effects = end(state, -2, "succeeded", "02:00:02")
    assert sorted(given(effects)) == [(f"w{n}", f"{RUN}~{n - 1}~1") for n in (1, 2, 3)]


def test_setup_that_fails_ends_the_run_and_teardown_still_comes() -> None:
    state = leading(staged())
    trigger(state)
    effects = end(state, -2, "failed", "02:00:02")
    assert parts(effects) == [-3]
    assert not [part for part in of(fx.RecordSubtasks, effects) if part.subtasks[0][0] >= 0]
    assert closed(end(state, -3, "succeeded", "02:00:03")) == [(RUN, "failed", "setup")]


def test_setup_and_teardown_are_retried_like_any_other_work() -> None:
    state = leading(staged(retry_max=1))
    trigger(state)
    assert new(end(state, -2, "failed", "02:00:02")) == [f"{RUN}~-2~2"]
    end(state, -2, "failed", "02:00:03", 2)
    assert new(end(state, -3, "failed", "02:00:04")) == [f"{RUN}~-3~2"]
    assert closed(end(state, -3, "succeeded", "02:00:05", 2)) == [(RUN, "failed", "setup")]


def test_teardown_that_fails_fails_the_run() -> None:
    state = leading(staged(setup=None, gather=None, split=None))
    trigger(state)
    end(state, 0, "succeeded", "02:00:02")
    assert closed(end(state, -3, "failed", "02:00:03")) == [(RUN, "failed", "teardown")]


@pytest.mark.parametrize("subtask", [-2, -4, 0, -1])
def test_teardown_comes_after_a_cancel_in_every_stage(subtask: int) -> None:
    state = leading(staged(split=LISTED))
    trigger(state)
    for index, now in ((-2, "02:00:01.2"), (-4, "02:00:01.4"), (0, "02:00:01.6")):
        if index == subtask:
            break
        output = b"one\n" if index == -4 else b""
        name = f"{RUN}~{index}~1"
        told(state, [ended(state.attempts[name].worker, name, output=output)], now)
    effects = told(state, [asked(CancelRun(run=RUN, by="ann"))], "02:00:02")
    assert not new(effects)
    assert [one.attempt for _, mail in sent(msg.Cancel, effects) for one in mail.attempts] == [
        f"{RUN}~{subtask}~1"
    ]
    assert parts(end(state, subtask, "cancelled", "02:00:03")) == [-3]
    assert closed(end(state, -3, "succeeded", "02:00:04")) == [(RUN, "cancelled", "operator")]
    assert not state.cancelled


def test_a_cancel_does_not_end_teardown() -> None:
    state = leading(staged(setup=None, gather=None, split=None, retry_max=1))
    trigger(state)
    end(state, 0, "succeeded", "02:00:02")
    effects = told(state, [asked(CancelRun(run=RUN, by="ann", kill=True))], "02:00:03")
    assert not sent(msg.Cancel, effects)
    assert not sent(msg.Cancel, told(state, [AlarmRang()], "02:00:05"))
    assert new(end(state, -3, "failed", "02:00:06")) == [f"{RUN}~-3~2"]
    assert closed(end(state, -3, "succeeded", "02:00:07", 2)) == [(RUN, "cancelled", "operator")]


def test_a_run_that_never_began_has_nothing_to_clear_away() -> None:
    state = leading(staged(overlap=Overlap.QUEUE))
    trigger(state)
    told(state, [asked(TriggerJob(job="backup", key="other", by="ann"))], "02:00:02")
    waiting = next(run.id for run in state.runs.values() if run.is_held)
    effects = told(state, [asked(CancelRun(run=waiting, by="ann"))], "02:00:03")
    assert closed(effects) == [(waiting, "cancelled", "operator")]


def test_nothing_is_cleared_away_where_no_worker_was_ever_found() -> None:
    state = leading(staged(requires=("gpu",), dispatch_timeout=timedelta(seconds=10)))
    trigger(state)
    assert closed(told(state, [AlarmRang()], "02:00:12")) == [(RUN, "failed", "no_worker")]
    assert not state.runs


def test_teardown_comes_without_items_too() -> None:
    state = leading(staged(setup=None, gather=None, split=Items(items=())))
    effects = trigger(state)
    assert parts(effects) == [-3]
    assert "no_items" in events_of(effects)
    assert closed(end(state, -3, "succeeded", "02:00:02")) == [(RUN, "succeeded", "")]


# ---- run_timeout


def test_a_run_that_takes_too_long_is_ended_and_failed_and_teardown_comes() -> None:
    state = leading(staged(setup=None, run_timeout=timedelta(seconds=30)))
    trigger(state)
    told(state, [began("w1", f"{RUN}~0~1")], "02:00:02")
    assert of(fx.SetAlarm, told(state, [AlarmRang()], "02:00:31.9"))[0].mono == pytest.approx(5032.0)
    effects = told(state, [AlarmRang()], "02:00:32")
    assert len([one for _, mail in sent(msg.Cancel, effects) for one in mail.attempts]) == 2
    assert of(fx.RecordCancel, effects) == [fx.RecordCancel(RUN, "run_timeout", "timeout")]
    assert "run_timeout" in events_of(effects)
    assert not new(end(state, 0, "cancelled", "02:00:33"))
    assert parts(end(state, 1, "cancelled", "02:00:33.5")) == [-3]  # and no gather
    assert closed(end(state, -3, "succeeded", "02:00:34")) == [(RUN, "failed", "timeout")]


def test_teardown_comes_on_top_of_the_term() -> None:
    state = leading(staged(setup=None, gather=None, split=None, run_timeout=timedelta(seconds=30)))
    trigger(state)
    told(state, [began("w1", f"{RUN}~0~1")], "02:00:02")
    assert parts(end(state, 0, "succeeded", "02:00:30")) == [-3]
    assert not sent(msg.Cancel, told(state, [AlarmRang()], "02:00:33"))
    assert closed(end(state, -3, "succeeded", "02:00:40")) == [(RUN, "succeeded", "")]


def test_terms_of_runs_that_ended_long_before_are_not_kept_for_ever() -> None:
    state = leading(a_job(run_timeout=timedelta(days=1)), slots=10)
    for number in range(3000):
        request = TriggerJob(job="backup", key=f"{number}", by="ann")
        effects = told(state, [asked(request)], "02:00:01")
        ((worker, attempt),) = given(effects)
        told(state, [began(worker, attempt), ended(worker, attempt)], "02:00:01")
    assert len(state.terms) < 2500
