"""The leader's sockets with real peers: their connections are told of, and the options are those of the protocol."""

import logging
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from support.ports import free_ports
from support.waiting import wait_until

from schedulerd.adapters.collector import Collector
from schedulerd.adapters.outbox import Outbox
from schedulerd.hostkit.monitors import LINES
from schedulerd.protocol.codec import LARGEST_TO_LEADER, LARGEST_TO_WORKER, Envelope, encode
from schedulerd.protocol.messages import Captured, Heartbeat, Hello, Outcome, Result
from workerd.adapters.link import Link

# a greeting of ZeroMQ 3 with a mechanism that nobody knows, and more
GARBAGE = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03" + b"\0" * 53 + b"garbage" * 40
ATTEMPT = "job@20261123T020000Z~0~1"
ENVELOPE = Envelope(1, "leader", "boot", "", "")
PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/protocol.md"


class Leader:
    """A collector and an outbox, and what their monitors told."""

    def __init__(self) -> None:
        self.told: Counter[tuple[str, str]] = Counter()
        self.collector = Collector("tcp://127.0.0.1:*", on_connection=self._note)
        self.outbox = Outbox(self.collector.context, self.collector.monitors)

    def _note(self, kind: str, event: str) -> None:
        self.told[kind, event] += 1

    def hears(self, kind: str, event: str, times: int = 1) -> bool:
        def enough() -> bool:
            self.collector.wait(20)
            self.collector.take(100)
            return self.told[kind, event] >= times

        return wait_until(enough)


@pytest.fixture
def leader() -> Iterator[Leader]:
    made = Leader()
    yield made
    made.outbox.close()
    made.collector.close()


def test_connections_with_a_worker_that_comes_goes_and_comes_back_are_told(
    leader: Leader, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with caplog.at_level(logging.INFO, "schedulerd.hostkit.monitors"):
        leader.outbox.connect("w1", address)
        for times in (1, 2):
            link = Link(f"tcp://{address}", insecure=False)
            link.connect(leader.collector.endpoint)
            assert leader.hears("worker", "connected", times)
            assert leader.hears("results", "connected", times)
            link.close()
            assert leader.hears("worker", "disconnected", times)
            assert leader.hears("results", "disconnected", times)
    assert "connection connected  socket=worker at=w1" in caplog.text
    assert "connection disconnected  socket=results at=results" in caplog.text


def test_a_link_that_is_given_up_is_forgotten_and_one_that_is_replaced_is_watched_anew(
    leader: Leader,
) -> None:
    links = [Link("tcp://127.0.0.1:*", insecure=False) for _ in range(2)]
    for times, link in enumerate(links, 1):
        leader.outbox.connect("w1", link.endpoint.removeprefix("tcp://"))
        assert leader.hears("worker", "connected", times)
    leader.outbox.disconnect("w1")
    for link in links:
        link.close()
    assert not leader.outbox.send("w1", b"x")


def test_peers_that_do_not_speak_zeromq_are_counted_and_do_not_fill_the_log(
    leader: Leader, caplog: pytest.LogCaptureFixture
) -> None:
    port = int(leader.collector.endpoint.rpartition(":")[2])
    with caplog.at_level(logging.INFO, "schedulerd.hostkit.monitors"):
        for times in range(1, LINES + 11):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as stranger:
                stranger.sendall(GARBAGE)
                assert leader.hears("results", "handshake_failed", times)
    lines = [record for record in caplog.records if "connection handshake_failed" in record.message]
    assert len(lines) == LINES
    assert {record.levelname for record in lines} == {"WARNING"}


def test_a_frame_that_its_reader_would_refuse_is_not_sent_and_costs_no_connection(leader: Leader) -> None:
    link = Link("tcp://127.0.0.1:*", insecure=False)
    try:
        link.connect(leader.collector.endpoint)
        leader.outbox.connect("w1", link.endpoint.removeprefix("tcp://"))
        assert leader.hears("worker", "connected")
        assert leader.hears("results", "connected")
        hello = encode(ENVELOPE, Hello("tcp://127.0.0.1:1", "", 0))
        assert not leader.outbox.send("w1", hello + b"x" * LARGEST_TO_WORKER)
        assert leader.outbox.send("w1", hello)
        assert wait_until(lambda: bool((link.wait(50), link.receive(10))[1]))

        loud = Result([Outcome(ATTEMPT, "succeeded", stdout=Captured(b"x" * LARGEST_TO_LEADER))])
        assert not link.send(ENVELOPE, loud)
        assert link.counters["sends_too_large"] == 1
        assert link.send(ENVELOPE, Result([Outcome(ATTEMPT, "succeeded")]))
        assert wait_until(lambda: bool((leader.collector.wait(50), leader.collector.take(10))[1]))
        leader.collector.monitors.look()
        assert leader.told["worker", "disconnected"] == leader.told["results", "disconnected"] == 0
    finally:
        link.close()


def test_the_collector_tells_when_it_leaves_frames_for_the_next_time(leader: Leader) -> None:
    link = Link("tcp://127.0.0.1:*", insecure=False)
    try:
        link.connect(leader.collector.endpoint)
        heartbeat = Heartbeat(1, 1, 1, 0, 0, 0)
        assert wait_until(lambda: link.send(ENVELOPE, heartbeat))
        assert link.send(ENVELOPE, heartbeat)
        seen: list[bool] = []

        def both_are_heard() -> bool:
            leader.collector.wait(50)
            if leader.collector.take(1):
                seen.append(leader.collector.has_more)
            return len(seen) == 2

        assert wait_until(both_are_heard)
        assert seen[0]  # it was told to take one, and cannot know that there is no other
        assert not leader.collector.take(1)
        assert not leader.collector.has_more
    finally:
        link.close()


def test_the_options_of_all_four_sockets_are_those_of_the_protocol(leader: Leader) -> None:
    link = Link("tcp://127.0.0.1:*", insecure=False)
    link.connect(leader.collector.endpoint)
    leader.outbox.connect("w1", link.endpoint.removeprefix("tcp://"))
    to_worker, results = leader.outbox._links["w1"], leader.collector._pull
    assert link._push is not None
    columns = (to_worker, link._pull, link._push, results)
    try:
        table = {name: cells for name, *cells in _table()}
        assert [_immediate(one) for one in columns] == table["IMMEDIATE"]
        marks = [to_worker.SNDHWM, link._pull.RCVHWM, link._push.SNDHWM, results.RCVHWM]
        assert [str(mark) for mark in marks] == table["high-water mark"]
        assert [_size(one.MAXMSGSIZE) for one in columns] == table["largest frame accepted"]
        for one in columns:
            assert one.LINGER == 0
            beats = (one.HEARTBEAT_IVL, one.HEARTBEAT_TIMEOUT, one.HEARTBEAT_TTL)
            assert beats == (2_000, 6_000, 10_000)
        for one in (to_worker, link._push):
            assert (one.RECONNECT_IVL, one.RECONNECT_IVL_MAX) == (100, 5_000)
    finally:
        link.close()


def _table() -> list[list[str]]:
    """The rows of the page's table of sockets."""
    section = PAGE.read_text().partition("## Sockets\n")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line
    ]
    return rows[2:]


def _immediate(one: "zmq.Socket[bytes]") -> str:
    return str(one.IMMEDIATE) if one.type == zmq.PUSH else "-"


def _size(number: int) -> str:
    mebi = re.sub(r"\.0$", "", str(number / (1 << 20)))
    return f"{mebi} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"
