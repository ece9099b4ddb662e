"""How wide a run may be, how many of its subtasks have to succeed, and what the first failure does to the others."""

from datetime import timedelta

import pytest
from support.leading import a_job, asked, closed, ended, events_of, given, leading, of, sent, told

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang
from schedulerd.core.requests import TriggerJob
from schedulerd.core.state import State
from schedulerd.model.job import Argv, AtLeast, Items, Need, OnLost, PerWorker, Shards, Share
from schedulerd.model.run import SubtaskState
from schedulerd.protocol import messages as msg

RUN = "backup@20261123T020001Z-m2c70e12b"
GATHER = Argv(argv=("collect",))


def trigger(state: State, now: str = "02:00:01") -> list[fx.Effect]:
    """A caller wants the job now."""
    return told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], now)


def end(state: State, subtask: int, how: msg.OutcomeState, now: str, number: int = 1) -> list[fx.Effect]:
    """The attempt ends, at whoever has it."""
    name = f"{RUN}~{subtask}~{number}"
    return told(state, [ended(state.attempts[name].worker, name, how)], now)


def new(effects: list[fx.Effect]) -> list[str]:
    """Attempts that are given out for the first time."""
    return [attempt.id for record in of(fx.RecordAttempts, effects) for attempt in record.attempts]


# ---- max_parallel


def test_never_more_attempts_of_a_run_at_once_than_max_parallel_whatever_is_free() -> None:
    state = leading(a_job(split=Shards(count=7), max_parallel=3), workers=["w1", "w2"], slots=10)
    assert len(new(trigger(state))) == 3
    for subtask in range(4):
        assert len(new(end(state, subtask, "succeeded", "02:00:02"))) == 1
        assert len(state.attempts) == 3
    for subtask in range(4, 7):
        assert not new(end(state, subtask, "succeeded", "02:00:03"))
    assert not state.runs


def test_max_parallel_holds_for_one_subtask_a_worker_too() -> None:
    state = leading(a_job(split=PerWorker(), max_parallel=1), workers=["w1", "w2", "w3"])
    assert [worker for worker, _ in given(trigger(state))] == ["w1"]
    assert [worker for worker, _ in given(end(state, 0, "succeeded", "02:00:02"))] == ["w2"]


def test_a_run_at_its_width_holds_nobody_else_up() -> None:
    state = leading(a_job(split=Shards(count=5), max_parallel=1), a_job("other"), workers=["w1"], slots=2)
    trigger(state)
    effects = told(state, [asked(TriggerJob(job="other", key="key", by="ann"))], "02:00:02")
    assert [attempt.partition("@")[0] for attempt in new(effects)] == ["other"]


def test_a_run_that_is_to_be_retried_keeps_to_its_width() -> None:
    state = leading(a_job(split=Shards(count=3), max_parallel=1, retry_max=1), slots=5)
    trigger(state)
    assert new(end(state, 0, "failed", "02:00:02")) == [f"{RUN}~1~1"]
    assert len(state.attempts) == 1


# ---- fail_fast


def test_a_failure_that_is_retried_ends_nobody() -> None:
    state = leading(a_job(split=Shards(count=2), fail_fast=True, retry_max=1))
    trigger(state)
    effects = end(state, 0, "failed", "02:00:02")
    assert new(effects) == [f"{RUN}~0~2"]
    assert not sent(msg.Cancel, effects)
    assert "fail_fast" in events_of(end(state, 0, "failed", "02:00:03", 2))


def test_what_waits_is_cancelled_and_what_runs_is_asked_to_end() -> None:
    state = leading(a_job(split=Shards(count=4), fail_fast=True, gather=GATHER), workers=["w1"], slots=2)
    trigger(state)
    effects = end(state, 0, "failed", "02:00:02")
    assert "fail_fast" in events_of(effects)
    assert not new(effects)
    states = {
        index: (state, why) for one in of(fx.RecordSubtaskStates, effects) for index, state, why in one.states
    }
    assert states == {
        0: (SubtaskState.FAILED, "exit"),
        2: (SubtaskState.CANCELLED, "fail_fast"),
        3: (SubtaskState.CANCELLED, "fail_fast"),
    }
    asked_to_end = [one.attempt for _, mail in sent(msg.Cancel, effects) for one in mail.attempts]
    assert asked_to_end == [f"{RUN}~1~1"]
    repeated = told(state, [AlarmRang()], "02:00:04")
    assert [one.attempt for _, mail in sent(msg.Cancel, repeated) for one in mail.attempts] == asked_to_end
    assert given(end(state, 1, "cancelled", "02:00:05")) == [("w1", f"{RUN}~-1~1")]
    assert not sent(msg.Cancel, told(state, [AlarmRang()], "02:00:07"))  # gather is nobody's rest
    assert closed(end(state, -1, "succeeded", "02:00:08")) == [(RUN, "failed", "exit")]
    assert not state.cancelled


def test_a_subtask_that_is_ended_by_a_failure_is_not_retried() -> None:
    state = leading(a_job(split=Shards(count=2), fail_fast=True, on_lost=OnLost.RETRY), workers=["w1"])
    trigger(state)
    end(state, 0, "failed", "02:00:02")
    effects = end(state, 1, "lost", "02:00:03")
    assert closed(effects) == [(RUN, "failed", "exit")]


def test_a_failure_of_the_last_one_ends_nobody() -> None:
    state = leading(a_job(split=Shards(count=1), fail_fast=True))
    trigger(state)
    effects = end(state, 0, "failed", "02:00:02")
    assert "fail_fast" not in events_of(effects)
    assert closed(effects) == [(RUN, "failed", "exit")]


# ---- need


@pytest.mark.parametrize(
    ("need", "failures", "outcome"),
    [
        (None, 0, ("succeeded", "")),
        (None, 1, ("failed", "exit")),
        (AtLeast(count=3), 1, ("succeeded", "")),
        (AtLeast(count=3), 2, ("failed", "need")),
        (Share(millionths=750_000), 1, ("succeeded", "")),
        (Share(millionths=750_001), 1, ("failed", "need")),
        (Share(millionths=1), 3, ("succeeded", "")),
        (Share(millionths=1), 4, ("failed", "need")),
    ],
)
def test_a_run_succeeds_when_as_many_subtasks_have_as_are_needed(
    need: Need | None, failures: int, outcome: tuple[str, str]
) -> None:
    state = leading(a_job(split=Shards(count=4), need=need, gather=GATHER))
    trigger(state)
    for subtask in range(4):
        effects = end(state, subtask, "failed" if subtask < failures else "succeeded", "02:00:02")
    (gather,) = of(fx.SendGather, effects)
    assert gather.order.env == {"SCHEDULERD_NEED_MET": "1" if outcome[0] == "succeeded" else "0"}
    assert closed(end(state, -1, "succeeded", "02:00:03")) == [(RUN, *outcome)]


def test_all_subtasks_are_tried_whether_or_not_the_need_is_met_already() -> None:
    state = leading(a_job(split=Shards(count=3), need=AtLeast(count=1)), workers=["w1"], slots=1)
    trigger(state)
    assert new(end(state, 0, "succeeded", "02:00:02"))
    assert new(end(state, 1, "succeeded", "02:00:03"))
    assert closed(end(state, 2, "succeeded", "02:00:04")) == [(RUN, "succeeded", "")]


def test_without_items_any_need_is_met() -> None:
    assert closed(trigger(leading(a_job(split=Items(items=()), need=AtLeast(count=3))))) == [
        (RUN, "succeeded", "")
    ]


def test_a_need_that_is_not_met_for_want_of_workers_says_so() -> None:
    job = a_job(
        split=Shards(count=2),
        need=Share(millionths=500_000),
        requires=("gpu",),
        dispatch_timeout=timedelta(seconds=5),
    )
    state = leading(job)
    trigger(state)
    assert closed(told(state, [AlarmRang()], "02:00:07")) == [(RUN, "failed", "no_worker")]
