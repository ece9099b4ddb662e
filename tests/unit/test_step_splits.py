"""Runs of many subtasks: how they are known, and the gather step that follows all of them once."""

from datetime import timedelta

from support.leading import (
    a_job,
    asked,
    beat,
    closed,
    ended,
    events_of,
    found,
    given,
    inventory,
    leading,
    of,
    sent,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, GatherTooLarge
from schedulerd.core.requests import CancelRun, TriggerJob
from schedulerd.core.state import State
from schedulerd.model.job import Argv, Items, ListedItems, PerWorker, Shards
from schedulerd.protocol import messages as msg

RUN = "backup@20261123T020001Z-m2c70e12b"
GATHER = Argv(argv=("collect",))
LISTED = ListedItems(work=Argv(argv=("list",)))


def trigger(state: State, now: str = "02:00:01") -> list[fx.Effect]:
    """A caller wants the job now."""
    return told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], now)


def subtasks(effects: list[fx.Effect]) -> list[tuple[int, str | None, str | None]]:
    return [part for record in of(fx.RecordSubtasks, effects) for part in record.subtasks]


def test_shards_become_subtasks_and_the_last_one_ends_the_run() -> None:
    state = leading(a_job(split=Shards(count=2)))
    assert subtasks(trigger(state)) == [(0, None, None), (1, None, None)]
    assert not closed(told(state, [ended("w1", f"{RUN}~0~1")], "02:00:02"))
    assert closed(told(state, [ended("w2", f"{RUN}~1~1")], "02:00:03")) == [(RUN, "succeeded", "")]


def test_one_failed_subtask_fails_the_run_when_all_have_ended() -> None:
    state = leading(a_job(split=Shards(count=2)))
    trigger(state)
    assert not closed(told(state, [ended("w1", f"{RUN}~0~1", "failed")], "02:00:02"))
    assert closed(told(state, [ended("w2", f"{RUN}~1~1")], "02:00:03")) == [(RUN, "failed", "exit")]


def test_items_travel_with_their_orders_in_chunks() -> None:
    state = leading(a_job(split=Items(items=('"a"', '"b"', '"c"'), chunk=2)))
    effects = trigger(state)
    assert subtasks(effects) == [(0, '["a","b"]', None), (1, '["c"]', None)]
    assert [order.item for _, dispatch in sent(msg.Dispatch, effects) for order in dispatch.orders] == [
        '["a","b"]',
        '["c"]',
    ]


def test_zero_items_are_a_success() -> None:
    effects = trigger(leading(a_job(split=Items(items=()))))
    assert closed(effects) == [(RUN, "succeeded", "")]


def test_gather_follows_zero_items_too() -> None:
    state = leading(a_job(split=Items(items=()), gather=GATHER))
    effects = trigger(state)
    assert given(effects) == [("w1", f"{RUN}~-1~1")]
    assert closed(told(state, [ended("w1", f"{RUN}~-1~1")], "02:00:02")) == [(RUN, "succeeded", "")]


def test_a_split_commands_lines_become_the_items() -> None:
    state = leading(a_job(split=LISTED))
    assert given(trigger(state)) == [("w1", f"{RUN}~-4~1")]
    effects = told(state, [ended("w1", f"{RUN}~-4~1", output=b"one\n\ntwo\n")], "02:00:02")
    assert subtasks(effects) == [(0, '"one"', None), (1, '"two"', None)]
    assert sorted(attempt for _, attempt in given(effects)) == [f"{RUN}~0~1", f"{RUN}~1~1"]


def test_a_split_command_that_prints_nothing_is_a_success() -> None:
    state = leading(a_job(split=LISTED))
    trigger(state)
    assert closed(told(state, [ended("w1", f"{RUN}~-4~1")], "02:00:02")) == [(RUN, "succeeded", "")]


def test_a_split_command_that_fails_or_prints_nonsense_fails_the_run() -> None:
    state = leading(a_job(split=LISTED))
    trigger(state)
    assert closed(told(state, [ended("w1", f"{RUN}~-4~1", "failed")], "02:00:02")) == [
        (RUN, "failed", "split")
    ]
    for output in (b'["broken', b"\xff\xfe"):
        state = leading(a_job(split=LISTED))
        trigger(state)
        effects = told(state, [ended("w1", f"{RUN}~-4~1", output=output)], "02:00:02")
        assert closed(effects) == [(RUN, "failed", "split")]
        assert "split_failed" in events_of(effects)


def test_a_split_command_is_retried_like_any_other_work() -> None:
    state = leading(a_job(split=LISTED, retry_max=1))
    trigger(state)
    assert given(told(state, [ended("w1", f"{RUN}~-4~1", "failed")], "02:00:02")) == [("w2", f"{RUN}~-4~2")]


# ---- gather


def test_gather_runs_once_when_all_subtasks_are_final_and_its_output_is_the_result() -> None:
    state = leading(a_job(split=Shards(count=2), gather=GATHER))
    trigger(state)
    assert not given(told(state, [ended("w1", f"{RUN}~0~1")], "02:00:01.5"))
    effects = told(state, [ended("w2", f"{RUN}~1~1")], "02:00:01.6")
    assert given(effects) == [("w1", f"{RUN}~-1~1")]
    told(state, [ended("w2", f"{RUN}~1~1")], "02:00:01.7")  # repeated: gather is not begun again
    assert list(state.attempts) == [f"{RUN}~-1~1"]
    effects = told(state, [ended("w1", f"{RUN}~-1~1", output=b"all")], "02:00:01.8")
    assert of(fx.RecordResult, effects) == [fx.RecordResult(RUN, b"all")]
    assert closed(effects) == [(RUN, "succeeded", "")]


def test_gather_runs_after_a_failure_too_and_is_told_so() -> None:
    state = leading(a_job(split=Shards(count=1), gather=GATHER))
    trigger(state)
    effects = told(state, [ended("w1", f"{RUN}~0~1", "failed")], "02:00:02")
    (gather,) = of(fx.SendGather, effects)
    assert gather.order.env == {"SCHEDULERD_NEED_MET": "0"}
    assert closed(told(state, [ended("w2", f"{RUN}~-1~1")], "02:00:03")) == [(RUN, "failed", "exit")]


def test_a_failed_gather_fails_the_run() -> None:
    state = leading(a_job(split=Shards(count=1), gather=GATHER))
    trigger(state)
    told(state, [ended("w1", f"{RUN}~0~1")], "02:00:02")
    assert closed(told(state, [ended("w2", f"{RUN}~-1~1", "failed")], "02:00:03")) == [
        (RUN, "failed", "gather")
    ]


def test_gather_waits_for_a_worker_when_its_subtasks_got_none() -> None:
    job = a_job(
        split=Shards(count=1), gather=GATHER, requires=("gpu",), dispatch_timeout=timedelta(seconds=10)
    )
    state = leading(job, workers=["w1"])
    trigger(state)
    effects = told(state, [AlarmRang(), beat("w1", 1, "02:00:11")], "02:00:11")
    assert not closed(effects)
    assert subtasks(effects) == [(-1, None, None)]
    effects = told(state, [inventory("w1", "02:00:12", labels=["gpu"])], "02:00:12")
    assert given(effects) == [("w1", f"{RUN}~-1~1")]
    assert closed(told(state, [ended("w1", f"{RUN}~-1~1")], "02:00:13")) == [(RUN, "failed", "no_worker")]


def test_gather_itself_may_find_no_worker() -> None:
    job = a_job(
        split=Shards(count=1), gather=GATHER, requires=("gpu",), dispatch_timeout=timedelta(seconds=10)
    )
    state = leading(job, workers=["w1"])
    trigger(state)
    told(state, [AlarmRang()], "02:00:11")
    effects = told(state, [AlarmRang()], "02:00:21")
    assert closed(effects) == [(RUN, "failed", "no_worker")]
    assert not state.runs


def test_gather_input_that_is_too_large_fails_the_run() -> None:
    state = leading(a_job(split=Shards(count=1), gather=GATHER))
    trigger(state)
    told(state, [ended("w1", f"{RUN}~0~1")], "02:00:02")
    effects = told(state, [GatherTooLarge(f"{RUN}~-1~1", 9_000_000, 3_500_000)], "02:00:02")
    assert closed(effects) == [(RUN, "failed", "gather")]


def test_there_is_no_gather_after_a_cancel() -> None:
    state = leading(a_job(split=Shards(count=1), gather=GATHER))
    trigger(state)
    told(state, [asked(CancelRun(run=RUN, by="ann"))], "02:00:02")
    effects = told(state, [ended("w1", f"{RUN}~0~1", "cancelled")], "02:00:03")
    assert closed(effects) == [(RUN, "cancelled", "operator")]


# ---- on every worker


def test_per_worker_gives_one_subtask_to_each_able_worker_and_retries_it_there() -> None:
    state = leading(a_job(split=PerWorker(), retry_max=1), workers=["w1", "w2", "w3"])
    effects = trigger(state)
    assert subtasks(effects) == [(0, None, "w1"), (1, None, "w2"), (2, None, "w3")]
    assert given(effects) == [("w1", f"{RUN}~0~1"), ("w2", f"{RUN}~1~1"), ("w3", f"{RUN}~2~1")]
    assert given(told(state, [ended("w2", f"{RUN}~1~1", "failed")], "02:00:01.5")) == [("w2", f"{RUN}~1~2")]


def test_per_worker_waits_a_moment_for_workers_that_were_found_and_have_not_answered() -> None:
    state = leading(a_job(split=PerWorker()), workers=["w1"])
    told(state, [found("w1", "w2")], "02:00:00.5")
    assert not given(trigger(state))
    effects = told(state, [inventory("w2", "02:00:01.2")], "02:00:01.2")
    assert len(given(effects)) == 2


def test_per_worker_fails_for_the_worker_that_does_not_come_back() -> None:
    state = leading(a_job(split=PerWorker(), dispatch_timeout=timedelta(seconds=10)))
    told(state, [beat("w2", 1, "02:00:00.5")], "02:00:00.5")
    trigger(state)
    told(state, [ended("w2", f"{RUN}~1~1")], "02:00:02")
    told(state, [beat("w1", 1, "02:00:03", state="draining")], "02:00:03")
    told(state, [ended("w1", f"{RUN}~0~1", "unstarted")], "02:00:03")
    effects = told(state, [AlarmRang()], "02:00:13")
    assert closed(effects) == [(RUN, "failed", "no_worker")]


def test_per_worker_without_any_able_worker_is_no_worker() -> None:
    job = a_job(split=PerWorker(), requires=("gpu",), dispatch_timeout=timedelta(seconds=10))
    state = leading(job)
    trigger(state)
    assert closed(told(state, [AlarmRang()], "02:00:11")) == [(RUN, "failed", "no_worker")]
