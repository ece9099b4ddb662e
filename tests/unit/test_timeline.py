"""The timeline of a run: bounded however large the run is, odd things first, in the order of causes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from support.leading import a_job, defined

from schedulerd.api.views import timeline as shown_by
from schedulerd.api.views.why_run import why_run
from schedulerd.model.job import Job, Overlap, Shards
from schedulerd.protocol.api_accounts import Leadership, RunAccount
from schedulerd.protocol.api_types import Attempt, Event, RunDetail, Subtask, SubtaskCounts
from schedulerd.protocol.ids import rfc3339

BEGIN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
RUN = "big@20261123T020000Z"


def time(seconds: float) -> str:
    """So long after BEGIN."""
    return rfc3339(BEGIN + timedelta(seconds=seconds))


def attempt(index: int, number: int = 1, at: float = 0.0, **changes: Any) -> Attempt:
    """One that succeeded at w1 or w2, a second after it was assigned."""
    usual: dict[str, Any] = {
        "attempt": number,
        "id": f"{RUN}~{index}~{number}",
        "worker": f"w{index % 2 + 1}",
        "worker_id": f"id-{index % 2 + 1}",
        "epoch": 1,
        "state": "succeeded",
        "reason": "",
        "exit_code": 0,
        "assigned_at": time(at),
        "started_at": time(at + 0.1),
        "finished_at": time(at + 1),
        "output_tail": "",
    }
    return Attempt(**(usual | changes))


def account(
    parts: Sequence[Subtask], events: Sequence[Event] = (), job: Job | None = None, **changes: Any
) -> RunAccount:
    """A run that closed after a minute."""
    detail = RunDetail(
        id=RUN,
        job="big",
        fire_time=time(0),
        trigger="schedule",
        state="succeeded",
        late_seconds=0.0,
        started_at=time(0.1),
        finished_at=time(60),
        subtasks=SubtaskCounts(total=len(parts)),
        subtasks_detail=list(parts),
    )
    usual: dict[str, Any] = {
        "detail": detail,
        "created_at": time(0),
        "has_slot": True,
        "asked_by": "",
        "definition_json": msgspec.json.encode(defined(job or a_job("big", split=Shards(count=2)))),
        "events": list(events),
        "leaderships": [Leadership(epoch=1, leader="north", since=time(-600))],
    }
    return RunAccount(**(usual | changes))


def told(account: RunAccount) -> list[tuple[str, str, str]]:
    """(time, source, text), without the head."""
    why = why_run(account, BEGIN + timedelta(seconds=90))
    times = [datetime.fromisoformat(entry.time) for entry in why.timeline]
    assert times == sorted(times)
    return [(entry.time, entry.source, entry.text) for entry in why.timeline[2:]]


def test_of_ten_thousand_subtasks_the_odd_ones_are_told_and_the_rest_summed_up() -> None:
    parts = [
        Subtask(index=i, item=None, state="succeeded", attempts=[attempt(i, at=i / 1000)])
        for i in range(10_000)
    ]
    failed = attempt(7_000, state="failed", reason="exit", exit_code=3, at=7)
    parts[7_000] = Subtask(index=7_000, item=None, state="failed", attempts=[failed])
    first = attempt(5_001, state="lost", reason="lost", at=5, finished_at=None)
    parts[5_001] = Subtask(
        index=5_001, item=None, state="succeeded", attempts=[first, attempt(5_001, 2, at=20, worker="w1")]
    )
    lines = told(account(parts))
    texts = [text for _, _, text in lines]
    assert len(lines) < 20
    assert "subtask 7000, attempt 1: failed (exit, exit code 3)" in texts
    assert "subtask 5001, attempt 2: assigned to w1" in texts
    assert [(source, text) for _, source, text in lines if "more subtasks" in text] == [
        ("worker w1", "the first of 4,999 more subtasks starts"),
        ("worker w2", "the first of 4,999 more subtasks starts"),
        ("worker w1", "the last of 4,999 more subtasks: 4,999 succeeded"),
        ("worker w2", "the last of 4,999 more subtasks: 4,999 succeeded"),
    ]


def test_ten_thousand_failures_are_told_in_a_bounded_timeline() -> None:
    parts = [
        Subtask(
            index=i,
            item=None,
            state="failed",
            attempts=[attempt(i, n, at=n, state="failed") for n in range(1, 4)],
        )
        for i in range(10_000)
    ]
    events = [
        Event(seq=i, time=time(2), type="retried", run=RUN, subtask=i, attempt=f"{RUN}~{i}~1", epoch=1)
        for i in range(1_000)
    ]
    lines = told(account(parts, events, is_more=True))
    assert len(lines) < 150
    texts = [text for _, _, text in lines]
    assert texts.count("subtask 0, attempt 1: assigned to w1") == 1
    more = [text for text in texts if "or more more like this" in text]
    assert len(more) == 1
    assert any(text.startswith("the last of") and text.endswith("failed") for text in texts)


def test_an_attempt_given_out_a_hundred_times_shows_its_first_and_its_last() -> None:
    attempts = [
        attempt(0, n, at=n / 10, state="unstarted", started_at=None, finished_at=None) for n in range(1, 101)
    ]
    texts = [
        text for _, _, text in told(account([Subtask(index=0, item=None, state="failed", attempts=attempts)]))
    ]
    assigned = [text for text in texts if "assigned" in text]
    assert len(assigned) == shown_by.SHOWN_OF_ONE
    assert assigned[0].startswith("subtask 0, attempt 1:")
    assert assigned[-1].startswith("subtask 0, attempt 100:")
    assert texts.index("subtask 0: 92 more attempts") == 4


def test_a_clock_that_is_behind_is_put_in_the_order_of_causes_and_named() -> None:
    behind = attempt(0, at=10, started_at=time(7.6), finished_at=time(8.5))
    lines = told(account([Subtask(index=0, item=None, state="succeeded", attempts=[behind])]))
    how = "by its own clock, 2.4 s behind: ordered by cause"
    assert lines[1:4] == [
        (time(10), "scheduler north epoch 1", "subtask 0, attempt 1: assigned to w1"),
        (time(10), "worker w1", f"subtask 0, attempt 1: accepted and started [02:00:07.600 UTC {how}]"),
        (time(10.9), "worker w1", f"subtask 0, attempt 1: succeeded (exit code 0) [02:00:08.500 UTC {how}]"),
    ]


def test_a_clock_that_contradicts_both_ways_is_only_put_in_order() -> None:
    early = attempt(0, at=10, started_at=time(7), finished_at=time(75))
    lines = told(account([Subtask(index=0, item=None, state="succeeded", attempts=[early])]))
    ends = [(at, text) for at, _, text in lines if "its own clock" in text]
    assert [at for at, _ in ends] == [time(10), time(60)]
    assert all(text.endswith("by its own clock, which differs: ordered by cause]") for _, text in ends)


def test_clocks_that_differ_by_nothing_worth_telling_are_left_alone() -> None:
    near = attempt(0, at=10, started_at=time(9.99), finished_at=time(11))
    texts = [
        text
        for _, _, text in told(account([Subtask(index=0, item=None, state="succeeded", attempts=[near])]))
    ]
    assert not any("clock" in text for text in texts)


def test_what_a_run_waited_for_is_told() -> None:
    late = [Subtask(index=0, item=None, state="succeeded", attempts=[attempt(0, at=12)])]
    for changes, text in (
        ({}, "waited 12s for an able worker with a free slot"),
        (
            {"job": a_job("big", requires=("role=db",), pools=("disk",))},
            "waited 12s for an able worker with a free slot (requires role=db) and a place in disk",
        ),
        (
            {"job": a_job("big", overlap=Overlap.QUEUE), "ahead": ["big@0", "big@1"]},
            "waited 12s for its turn behind big@1: overlap is queue",
        ),
    ):
        assert told(account(late, **changes))[0] == (time(12), "scheduler north epoch 1", text)


def test_a_takeover_in_between_and_what_its_workers_went_through_stand_in_the_timeline() -> None:
    leaderships = [
        Leadership(epoch=1, leader="north", since=time(-600)),
        Leadership(epoch=2, leader="3f0c2b1e-8f53-4a57-9d0b-0d9d5a6f1c77", since=time(30)),
    ]
    beside = [
        Event(
            seq=1, time=time(5), type="worker_suspect", worker="w1", epoch=1, detail="no heartbeat for 6.0 s"
        ),
        Event(seq=3, time=time(30), type="leader_gained", epoch=2, detail="host-b leads in epoch 2"),
        Event(seq=2, time=time(30), type="takeover", epoch=2, detail="epoch 2 begins with 1 open runs"),
    ]
    parts = [Subtask(index=0, item=None, state="succeeded", attempts=[attempt(0)])]
    lines = told(account(parts, leaderships=leaderships, beside=beside))
    assert (time(5), "scheduler north epoch 1", "w1: worker suspect: no heartbeat for 6.0 s") in lines
    assert lines[-2:] == [
        (
            time(30),
            "scheduler 3f0c2b1e epoch 2",
            "takeover: host-b leads in epoch 2; epoch 2 begins with 1 open runs",
        ),
        (
            time(60),
            "scheduler 3f0c2b1e epoch 2",
            "closed: succeeded; its result is recorded and acknowledged",
        ),
    ]
