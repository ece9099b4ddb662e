"""`GET /v1/events` and `schedulerctl events`: what happened, filtered and paged, and what happens, as it comes."""

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from support import ctl
from support.api_server import Answer, call, served
from support.daemons import PROGRAMS, clean_environment
from support.small_scheduler import SmallScheduler
from support.waiting import wait_until

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.api.routes import events as room
from schedulerd.api.server import Server
from schedulerd.errors import LedgerError
from schedulerd.protocol import messages as msg

TABLE = """
[job.flaky]
every = "1m"
command = "false"
retry = { max = 2 }

[job.fine]
command = "true"
"""
WHO = {"Schedulerd-User": "eva@desk"}


def _ends(spec: msg.Spec, order: msg.Order) -> msg.Outcome | None:
    if spec.job == "fine":
        return msg.Outcome(order.attempt, "succeeded", exit_code=0)
    return msg.Outcome(order.attempt, "failed", "exit", exit_code=1)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[SmallScheduler]:
    with SmallScheduler(tmp_path) as scheduler:
        scheduler.ending = _ends
        scheduler.table(TABLE)
        scheduler.advance(125)
        yield scheduler


@pytest.fixture
def server(scheduler: SmallScheduler) -> Iterator[Server]:
    with served(scheduler) as server:
        yield server


def pause(server: Server, reason: str) -> None:
    assert call(server, "POST", "/v1/jobs/fine/pause", {"reason": reason}, WHO).status == 200


def listed(server: Server, query: str = "") -> list[dict[str, Any]]:
    answer = call(server, "GET", f"/v1/events{query}")
    assert answer.status == 200, answer.body
    return list(answer.json["items"])


class Follower:
    """One caller that follows; its frames as (id, event, data)."""

    def __init__(self, server: Server, query: str = "", last: int | None = None) -> None:
        host, _, port = server.address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=30)
        headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
        self._connection.request("GET", f"/v1/events{query}", headers=headers)
        self.answer = self._connection.getresponse()

    def frame(self) -> tuple[int, str, dict[str, Any]]:
        """The next one."""
        fields: dict[str, str] = {}
        while line := self.answer.readline().decode():
            if line == "\n" and "data" in fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
        raise AssertionError("the stream ended")

    def close(self) -> None:
        """Go away."""
        self._connection.close()


def test_events_are_found_by_job_run_and_type(server: Server) -> None:
    retries = listed(server, "?type=retried")
    assert {event["type"] for event in retries} == {"retried"}
    assert [event["seq"] for event in retries] == sorted((event["seq"] for event in retries), reverse=True)
    run = retries[0]["run"]
    assert [event["attempt"] for event in listed(server, f"?run={run}")] == [f"{run}~0~2", f"{run}~0~1"]
    assert {event["run"] for event in listed(server, f"?run={run}")} == {run}
    assert listed(server, f"?job=flaky&run={run}") == listed(server, f"?run={run}")
    assert listed(server, f"?job=fine&run={run}") == []
    assert {event["type"] for event in listed(server, "?type=retried&type=worker_joined")} == {
        "retried",
        "worker_joined",
    }
    pause(server, "tired")
    assert [event["type"] for event in listed(server, "?job=fine")] == ["paused"]


def test_events_come_in_pages_or_onward_from_one(server: Server) -> None:
    everything = listed(server)
    assert len(everything) > 3
    answer = call(server, "GET", "/v1/events?limit=2").json
    assert answer["items"] == everything[:2]
    assert listed(server, f"?limit=2&cursor={answer['next_cursor']}") == everything[2:4]
    oldest = everything[-1]["seq"]
    assert listed(server, f"?after={oldest}&limit=2") == everything[::-1][1:3]
    assert call(server, "GET", f"/v1/events?after={oldest}&cursor=5").status == 422
    assert call(server, "GET", "/v1/events?cursor=abc").status == 422


def test_a_follower_gets_what_comes_and_goes_on_where_it_stopped(server: Server) -> None:
    with closing(Follower(server)) as first:
        assert first.answer.getheader("Content-Type", "").startswith("text/event-stream")
        pause(server, "one")
        seq, kind, event = first.frame()
    assert (kind, event["job"], event["detail"]) == ("paused", "fine", "by eva@desk: one")
    assert event["seq"] == seq
    pause(server, "two")
    pause(server, "three")
    with closing(Follower(server, last=seq)) as second:
        assert [second.frame()[2]["detail"] for _ in range(2)] == [
            "by eva@desk: two",
            "by eva@desk: three",
        ]
    with closing(Follower(server, "?after=0&type=retried")) as third:
        assert third.frame()[1] == "retried"
    with closing(Follower(server, last=None, query="?job=flaky")) as other:
        pause(server, "four")
        assert call(server, "POST", "/v1/jobs/flaky/pause", {"reason": "five"}, WHO).status == 200
        assert other.frame()[2]["detail"] == "by eva@desk: five"


def test_a_faulty_last_event_id_is_refused(server: Server) -> None:
    answer = call(server, "GET", "/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "x"})
    assert answer.status == 422
    assert "Last-Event-ID" in answer.json["detail"]


def test_followers_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FOLLOWERS", 2)
    followers = [Follower(server), Follower(server)]
    for follower in followers:
        assert follower.answer.readline() == b": follow\n"
    assert Follower(server).answer.status == 503
    followers.pop().close()

    def is_let_in() -> bool:
        pause(server, "so that the one that went is noticed")
        with closing(Follower(server)) as another:
            return another.answer.status == 200

    assert wait_until(is_let_in, 30.0, every=0.2)
    followers.pop().close()


def followed(server: Server) -> Answer:
    """Status and detail of a caller that would follow, and goes at once when it may."""
    with closing(Follower(server)) as follower:
        body = b"" if follower.answer.status == 200 else follower.answer.read()
        return Answer(follower.answer.status, follower.answer.headers, body)


def test_followers_that_come_at_once_are_counted_one_by_one(
    scheduler: SmallScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger answers none of them before all have asked: whoever is over the bound need not wait for it."""
    bound, callers = 3, 12
    monkeypatch.setattr(room, "FOLLOWERS", bound)
    may_read = threading.Event()
    real = scheduler.reader

    def slow() -> LedgerReader:
        assert may_read.wait(60)
        return real()

    monkeypatch.setattr(scheduler, "reader", slow)
    with served(scheduler) as server, ThreadPoolExecutor(callers) as threads, ExitStack() as open_ones:
        asked = [threads.submit(Follower, server) for _ in range(callers)]
        assert wait_until(lambda: sum(one.done() for one in asked) >= callers - bound, 60.0)
        may_read.set()
        followers = [open_ones.enter_context(closing(one.result(60))) for one in asked]
        statuses = sorted(follower.answer.status for follower in followers)
        assert statuses == [200] * bound + [503] * (callers - bound)
        assert followed(server).status == 503


def test_a_follower_that_was_refused_or_failed_leaves_its_place(
    scheduler: SmallScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FOLLOWERS", 1)
    real = scheduler.reader
    faults = [LedgerError("I/O error")]

    def faulty() -> LedgerReader:
        if faults:
            raise faults.pop()
        return real()

    monkeypatch.setattr(scheduler, "reader", faulty)
    with served(scheduler) as server:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": "x"}
        assert call(server, "GET", "/v1/events", headers=headers).status == 422
        assert followed(server).status == 503  # the ledger failed
        assert not faults
        assert followed(server).status == 200


def test_a_caller_that_goes_before_it_is_answered_leaves_its_place(
    scheduler: SmallScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FOLLOWERS", 1)
    may_read, reads = threading.Event(), threading.Event()
    real = scheduler.reader

    def slow() -> LedgerReader:
        reads.set()
        assert may_read.wait(60)
        return real()

    monkeypatch.setattr(scheduler, "reader", slow)
    with served(scheduler) as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), 30) as caller:
            caller.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            assert reads.wait(60)
        assert followed(server).status == 503
        may_read.set()
        assert wait_until(lambda: followed(server).status == 200, 60.0, every=0.1)


def test_a_follower_does_not_hold_up_the_end_of_the_server(scheduler: SmallScheduler) -> None:
    with served(scheduler) as server:
        follower = Follower(server)
        assert follower.answer.readline() == b": follow\n"
        begun = time.monotonic()
    assert time.monotonic() - begun < 4.0  # of 5 s that an answer under way is given
    assert follower.answer.read() in (b"", b"\n")
    follower.close()


def test_schedulerctl_lists_events(scheduler: SmallScheduler, server: Server) -> None:
    def asked(*words: str) -> list[dict[str, Any]]:
        result = ctl.run("-o", "json", "events", *words, address=server.address, now=lambda: scheduler.now)
        assert result.exit_code == 0, result.stderr
        return list(json.loads(result.stdout)["items"])

    assert asked() == listed(server)[::-1]
    assert asked("-n", "2") == listed(server, "?limit=2")[::-1]
    assert asked("--type", "retried", "--job", "flaky") == listed(server, "?type=retried")[::-1]
    assert {event["run"] for event in asked("--run", "flaky/last")} == {
        listed(server, "?job=flaky")[0]["run"]
    }
    shown = ctl.run("events", "--type", "retried", "-n", "1", address=server.address).stdout
    assert "after failed, as attempt 3: retry 2 of 2" in shown
    assert ctl.run("events", "--run", "nothing@", address=server.address).exit_code == 3


def test_schedulerctl_follows_events_over_a_restart_of_the_server(scheduler: SmallScheduler) -> None:
    lines: list[str] = []
    with served(scheduler) as server:
        address = server.address
        process = subprocess.Popen(
            [PROGRAMS / "schedulerctl", "-H", address, "-o", "jsonl", "events", "-f", "-n", "0"],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        try:

            def is_seen(reason: str) -> bool:
                return any(json.loads(line)["detail"].endswith(reason) for line in lines)

            def is_told() -> bool:
                pause(server, "before")
                return is_seen("before")

            assert wait_until(is_told, 60.0, every=0.5)
            server.stop()
            with served(scheduler, listen=address) as again:
                pause(again, "after")
                assert wait_until(lambda: is_seen("after"), 60.0, every=0.1)
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
    seqs = [json.loads(line)["seq"] for line in lines]
    assert seqs == sorted(set(seqs))
