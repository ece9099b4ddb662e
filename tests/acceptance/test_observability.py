"""What people can find out afterwards: events, counters and the timeline of runs whose workers and leader went away.

Jobs wait at gates of the test's own, so that each fault lands in the middle of an attempt.
"""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.consul_agent import ConsulAgent
from support.fleet import Fleet, lines
from support.waiting import wait_until

TIMING = """
[timing]
beat_seconds = 0.5
expiry_seconds = 4
margin_seconds = 1
suspect_seconds = 2
fence_seconds = 8
fence_kill_seconds = 9
lost_seconds = 12
"""
TABLE = """
[job.gated]
overlap = "allow"
on_lost = "retry"
command = '''
echo "start $SCHEDULERD_ATTEMPT" >> {place}/$SCHEDULERD_RUN_ID.said
until [ -e {place}/$SCHEDULERD_RUN_ID.gate-$SCHEDULERD_ATTEMPT ]; do sleep 0.05; done
echo "end $SCHEDULERD_ATTEMPT" >> {place}/$SCHEDULERD_RUN_ID.said
'''
"""
LONG = 60.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, None, "observed", TIMING, listed=("w1", "w2")) as fleet:
        fleet.table(TABLE.format(place=tmp_path))
        for name in ("w1", "w2"):
            fleet.start_worker(name, slots=2)
        fleet.start_scheduler()
        fleet.wait_ready("w1", "w2")
        yield fleet


class GatedRun:
    """One run of the gated job."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.id: str = fleet.json("trigger", "gated")["run_id"]

    def said(self) -> list[str]:
        """What its attempts witness."""
        return lines(self.fleet.place / f"{self.id}.said")

    def wait_said(self, *expected: str) -> None:
        """Return once its attempts have said exactly this."""
        assert wait_until(lambda: self.said() == list(expected), LONG, every=0.05), self.said()

    def open_gate(self, attempt: int) -> None:
        """Let an attempt go on."""
        (self.fleet.place / f"{self.id}.gate-{attempt}").touch()

    def worker_of(self, attempt: int) -> str:
        """The name of the worker that has it."""
        (part,) = self.fleet.json("run", self.id)["subtasks_detail"]
        return str(next(one["worker"] for one in part["attempts"] if one["attempt"] == attempt))

    def events(self) -> list[dict[str, Any]]:
        """What was noted about it, oldest first."""
        return list(self.fleet.json("events", "--run", self.id)["items"])

    def wait_noted(self, *types: str) -> None:
        """Return once events of all these types were noted about it."""

        def is_noted() -> bool:
            return set(types) <= {event["type"] for event in self.events()}

        assert wait_until(is_noted, LONG, every=0.2), self.events()

    def wait_state(self, state: str) -> None:
        """Return once it is in this state."""
        assert wait_until(lambda: self.fleet.json("run", self.id)["state"] == state, LONG, every=0.1)

    def why(self) -> str:
        """Its account, as people read it."""
        return self.fleet.ctl("--utc", "why", self.id)


def metric(fleet: Fleet, name: str) -> float:
    """The value of a series, labels and all; 0 when it is not there."""
    found = re.search(rf"^schedulerd_{re.escape(name)} (\S+)$", fleet.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def in_order(text: str, *expected: str) -> None:
    """The lines stand in `text` one after the other."""
    at = 0
    for words in expected:
        found = text.find(words, at)
        assert found >= 0, f"{words!r} is missing, or too early, in:\n{text}"
        at = found + len(words)


def test_a_stopped_worker_comes_back_with_a_late_result(fleet: Fleet) -> None:
    run = GatedRun(fleet)
    run.wait_said("start 1")
    name = run.worker_of(1)
    other = {"w1": "w2", "w2": "w1"}[name]
    fleet.workers[name].send(signal.SIGSTOP)
    run.open_gate(1)
    run.wait_said("start 1", "end 1")  # it has done its work; nobody can say so
    assert wait_until(lambda: metric(fleet, 'workers{state="suspect"}') == 1, LONG, every=0.2)
    run.wait_noted("attempt_lost", "retried")
    run.wait_said("start 1", "end 1", "start 2")
    assert run.worker_of(2) == other
    assert metric(fleet, 'workers{state="lost"}') == 1
    fleet.workers[name].send(signal.SIGCONT)
    run.wait_noted("late_result")
    run.open_gate(2)
    run.wait_state("succeeded")
    fleet.wait_ready("w1", "w2")

    assert metric(fleet, "attempts_lost_total") == 1
    assert metric(fleet, "late_results_total") == 1
    assert metric(fleet, 'retries_total{after="lost"}') == 1
    assert metric(fleet, 'events_total{type="worker_lost"}') == 1
    assert metric(fleet, 'events_total{type="worker_returned"}') >= 1
    assert metric(fleet, 'attempts_total{state="lost"}') == 1
    assert metric(fleet, 'attempts_total{state="succeeded"}') == 1  # of attempt 2; the other's word came late
    assert metric(fleet, f'duplicate_dispatches_total{{worker="{name}"}}') == 0
    about_workers = [
        event["type"]
        for event in fleet.json("events")["items"]
        if event["worker"] == name and not event["run"]
    ]
    assert about_workers[:4] == ["worker_joined", "worker_suspect", "worker_lost", "worker_returned"]
    # what it told of itself then: its helper process had ended when the lease ran out, its result was sent again
    assert set(about_workers[4:]) <= {"helper_died", "result_resent"}
    leader = r"scheduler [0-9a-f]{8} epoch 1"
    text = run.why()
    assert re.search(rf"{leader} +subtask 0, attempt 1: assigned to {name}", text), text
    assert re.search(rf"worker {name} +subtask 0, attempt 1: accepted and started", text), text
    assert re.search(rf"worker {name} +subtask 0, attempt 1: succeeded \(exit, exit code 0\)", text), text
    in_order(
        text,
        f"subtask 0, attempt 1: assigned to {name}",
        "subtask 0, attempt 1: accepted and started",
        "subtask 0, attempt 1: succeeded",  # by the worker's clock: before anybody heard of it
        f"{name}: worker suspect: no heartbeat",
        "subtask 0, attempt 1: lost: its worker was lost",
        "subtask 0, attempt 1: given out again: after lost, as attempt 2: loss 1, on_lost is retry",
        f"subtask 0, attempt 2: assigned to {other}",
        "subtask 0, attempt 2: accepted and started",
        "subtask 0, attempt 1: late result: succeeded",
        "subtask 0, attempt 2: succeeded",
        "closed: succeeded; its 2 results are recorded and acknowledged",
    )


def test_killed_workers_and_leaders_are_told(fleet: Fleet) -> None:
    run = GatedRun(fleet)
    run.wait_said("start 1")
    name = run.worker_of(1)
    fleet.workers[name].kill()
    fleet.start_worker(name, slots=2)
    run.wait_noted("attempt_lost", "retried")
    run.wait_said("start 1", "start 2")
    assert metric(fleet, "attempts_lost_total") == 1
    assert metric(fleet, "late_results_total") == 0
    assert fleet.scheduler is not None
    fleet.scheduler.kill()
    fleet.start_scheduler()
    fleet.wait_ready("w1", "w2")
    run.open_gate(2)
    run.wait_state("succeeded")

    assert metric(fleet, "takeovers_total") == 1
    assert metric(fleet, "epoch") == 2
    (takeover,) = fleet.json("events", "--type", "takeover", "-n", "1")["items"]
    assert takeover["epoch"] == 2
    assert takeover["detail"].endswith(
        "1 open runs, 0 of them without an attempt; 1 attempts are asked about"
    )
    text = run.why()
    in_order(
        text,
        f"subtask 0, attempt 1: assigned to {name}",
        "subtask 0, attempt 1: lost: ",  # by its word after the restart; on a slow host its silence comes first
        "subtask 0, attempt 1: given out again: after lost, as attempt 2",
        "subtask 0, attempt 2: accepted and started",
        "epoch 2 begins with 1 open runs",
        "subtask 0, attempt 2: succeeded",
        "closed: succeeded",
    )
    assert re.search(r"scheduler [0-9a-f]{8} epoch 2 +closed: succeeded", text), text
    assert {event["type"] for event in run.events()} >= {"triggered", "attempt_lost", "retried"}


def test_the_gauges_follow_the_work(fleet: Fleet) -> None:
    commits = metric(fleet, "ledger_commit_seconds_count")
    runs = [GatedRun(fleet) for _ in range(5)]  # for four slots
    assert wait_until(lambda: metric(fleet, "subtasks_inflight") == 4, LONG, every=0.1)
    assert metric(fleet, "subtasks_pending") == 1
    assert metric(fleet, 'workers{state="ready"}') == 2
    assert metric(fleet, "ledger_commit_seconds_count") > commits
    for run in runs:
        run.open_gate(1)
    for run in runs:
        run.wait_state("succeeded")
    assert (metric(fleet, "subtasks_inflight"), metric(fleet, "subtasks_pending")) == (0, 0)
    assert metric(fleet, "dispatch_seconds_count") == 5
    assert metric(fleet, 'attempts_total{state="succeeded"}') == 5
    waited = [run for run in runs if "waited" in run.why()]
    assert len(waited) <= 1  # the fifth, if it took a second or more until a slot was free
    # one that did as it should is told without a single oddity
    assert not {event["type"] for run in runs for event in run.events()} - {"triggered"}


def test_the_lag_of_the_loop_is_measured_anew_with_each_batch(fleet: Fleet) -> None:
    seen: set[float] = set()

    def is_measured() -> bool:
        seen.add(metric(fleet, "loop_lag_seconds"))
        return len(seen) >= 3

    assert wait_until(is_measured, LONG, every=0.2), seen
    assert all(0.0 <= lag < LONG for lag in seen)


def test_the_age_of_the_watch_grows_while_consul_is_silent(tmp_path: Path, consul: ConsulAgent) -> None:
    with Fleet(tmp_path, consul, "watched") as fleet:
        fleet.start_scheduler()
        young = metric(fleet, "watch_age_seconds")
        assert young < LONG
        assert wait_until(lambda: metric(fleet, "watch_age_seconds") > young, LONG, every=0.1)
        fleet.start_worker("w1")  # Consul answers the watch: it is young again
        fleet.wait_ready("w1")
        assert wait_until(lambda: metric(fleet, "watch_age_seconds") < LONG / 2, LONG, every=0.1)
