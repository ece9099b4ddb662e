"""The worker's sockets with real peers on loopback, good and bad; and its loop with a runner that ends at once."""

import logging
import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from support.scripted_leader import ScriptedLeader, spec
from support.waiting import wait_until

from schedulerd.errors import SettingsError
from schedulerd.hostkit.clock import utc_ms
from schedulerd.hostkit.settings import WorkerdSettings, load_workerd
from schedulerd.protocol.codec import MAGIC, VERSION, Envelope, decode, encode
from schedulerd.protocol.messages import (
    Accepted,
    Dispatch,
    Heartbeat,
    Hello,
    Order,
    Outcome,
    Reconcile,
    Refused,
    Spec,
)
from workerd.adapters.link import Link
from workerd.events import ChildEnded, ChildStarted
from workerd.loop import Loop

ENVELOPE = Envelope(1, "leader", "boot", "", "")
HELLO = Hello("tcp://127.0.0.1:1", "", 0)


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link("tcp://127.0.0.1:*", insecure=False)
    yield made
    made.close()


@contextmanager
def pushing_to(endpoint: str, *, ipv6: bool = False) -> Iterator["zmq.Socket[bytes]"]:
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.setsockopt(zmq.IPV6, ipv6)
    push.setsockopt(zmq.SNDTIMEO, 30_000)
    push.connect(endpoint)
    try:
        yield push
    finally:
        push.close(linger=0)
        context.term()


@contextmanager
def pulling(endpoint: str = "tcp://127.0.0.1:*") -> Iterator["zmq.Socket[bytes]"]:
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.setsockopt(zmq.RCVTIMEO, 30_000)
    pull.bind(endpoint)
    try:
        yield pull
    finally:
        pull.close(linger=0)
        context.term()


def bound_to(pull: "zmq.Socket[bytes]") -> str:
    return pull.getsockopt_string(zmq.LAST_ENDPOINT)


def come_up(link: Link) -> bool:
    """True once the connection to the leader stands."""
    return wait_until(lambda: (link.wait(50), link.look_after())[1])


def received(link: Link, number: int) -> list[object]:
    messages: list[object] = []

    def enough() -> bool:
        link.wait(50)
        messages.extend(frame.message for frame in link.receive(1000))
        return len(messages) >= number

    assert wait_until(enough), f"{len(messages)} of {number} frames came"
    return messages


def counted(link: Link, name: str, number: int = 1) -> bool:
    def enough() -> bool:
        link.wait(20)
        link.receive(1000)
        link.look_after()
        return link.counters.get(name, 0) >= number

    return wait_until(enough)


# ---- what comes in


def test_well_formed_frames_come_in_order_and_no_more_than_asked_for(link: Link) -> None:
    with pushing_to(link.endpoint) as push:
        for heard in range(10):
            push.send(encode(ENVELOPE, Hello("", "", heard)))
        first: list[object] = []
        assert wait_until(lambda: bool(first.extend(f.message for f in link.receive(3)) or first))
        assert len(first) <= 3
        messages = first + received(link, 10 - len(first))
    assert messages == [Hello("", "", heard) for heard in range(10)]


def test_bad_frames_are_counted_dropped_and_logged_once_a_minute_for_each_peer(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    good = encode(ENVELOPE, HELLO)
    bad = {
        "magic": b"GET / HTTP/1.1\r\n",
        "version": MAGIC + bytes((VERSION + 1, 1)) + good[6:],
        "type": MAGIC + bytes((VERSION, 200)) + good[6:],
        "body": good[:-3],
    }
    with caplog.at_level(logging.WARNING, "workerd.link"), pushing_to(link.endpoint) as push:
        for data in bad.values():
            push.send(data)
        push.send_multipart([good, good])
        push.send(good)
        assert received(link, 1) == [HELLO]
    for kind in (*bad, "parts"):
        assert link.counters[f"frames_bad_{kind}"] == 1
    assert len([record for record in caplog.records if "frame refused" in record.message]) == 1


def test_ten_thousand_random_frames_change_nothing(link: Link) -> None:
    dice = random.Random(7)
    good = encode(ENVELOPE, HELLO)
    with pushing_to(link.endpoint) as push:
        for number in range(10_000):
            data = bytearray(dice.randbytes(dice.randrange(64)))
            if number % 3 == 0:  # as near to ours as it gets
                data = bytearray(good[:6]) + data
            elif number % 3 == 1:
                data = bytearray(good)
                data[dice.randrange(6)] ^= 0x80
            push.send(bytes(data))
            if number % 500 == 0:
                link.receive(1000)
        push.send(good)

        def is_through() -> bool:
            link.wait(50)
            return any(frame.message == HELLO for frame in link.receive(1000))

        assert wait_until(is_through)
    refused = sum(number for name, number in link.counters.items() if name.startswith("frames_bad"))
    assert refused > 9_900


def test_a_huge_frame_costs_its_sender_the_connection_and_nothing_else(link: Link) -> None:
    with pushing_to(link.endpoint) as push:
        push.send(encode(ENVELOPE, HELLO))
        assert received(link, 1) == [HELLO]
        push.send(b"x" * (5 << 20))
        assert counted(link, "connections_closed")
    with pushing_to(link.endpoint) as push:
        push.send(encode(ENVELOPE, HELLO))
        assert received(link, 1) == [HELLO]


def test_a_peer_that_does_not_speak_zeromq_is_counted(link: Link) -> None:
    host, port = link.endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03" + b"\0" * 53 + b"garbage" * 40)
        assert counted(link, "handshakes_failed")


def test_a_port_in_use_is_one_sentence_and_leaves_nothing_open(link: Link) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(
        SettingsError, match=r"tcp://127.0.0.1:\d+: workerd cannot listen there: Address already"
    ):
        Link(link.endpoint, insecure=False)
    assert wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_both_sides_speak_over_ipv6(link: Link) -> None:
    six = Link("tcp://[::1]:*", insecure=False)
    try:
        with pushing_to(six.endpoint, ipv6=True) as push:
            push.send(encode(ENVELOPE, HELLO))
            assert received(six, 1) == [HELLO]
        link.connect(six.endpoint)
        assert come_up(link)
    finally:
        six.close()


def test_listening_beyond_loopback_without_keys_has_to_be_asked_for() -> None:
    with pytest.raises(SettingsError, match="not a loopback address"):
        Link("tcp://0.0.0.0:*", insecure=False)
    Link("tcp://0.0.0.0:*", insecure=True).close()


# ---- what goes out


def test_without_a_connection_frames_are_dropped_not_kept_for_later(link: Link) -> None:
    assert not link.send(ENVELOPE, Reconcile())
    with pulling() as pull:
        endpoint = bound_to(pull)
    link.connect(endpoint)
    assert not link.send(ENVELOPE, Accepted(["old~0~1"]))
    with pulling(endpoint) as pull:
        assert come_up(link)
        assert link.send(ENVELOPE, Accepted(["new~0~1"]))
        assert decode(pull.recv_multipart()).message == Accepted(["new~0~1"])
    assert link.counters["sends_dropped"] == 2


def test_a_new_endpoint_takes_over_and_the_old_one_hears_nothing_more(link: Link) -> None:
    with pulling() as first, pulling() as second:
        link.connect(bound_to(first))
        assert come_up(link)
        link.connect(bound_to(second))
        assert come_up(link)
        assert link.send(ENVELOPE, Accepted(["a~0~1"]))
        assert decode(second.recv_multipart()).message == Accepted(["a~0~1"])
        assert not first.poll(0)


def test_a_connection_that_comes_back_says_so_again(link: Link) -> None:
    with pulling() as pull:
        endpoint = bound_to(pull)
        link.connect(endpoint)
        assert come_up(link)
        assert not link.look_after()
    assert counted(link, "leader_disconnections")
    with pulling(endpoint):
        assert come_up(link)


def test_a_senseless_endpoint_is_counted_and_does_no_harm(link: Link) -> None:
    for endpoint in ("", "nonsense", "tcp://", "tcp://127.0.0.1:notaport", "pgm://x"):
        link.connect(endpoint)
        assert not link.send(ENVELOPE, Reconcile())
        link.send_aside(endpoint, ENVELOPE, Reconcile())
    assert link.counters["endpoints_refused"] >= 4


def test_a_frame_aside_reaches_another_than_the_leader(link: Link) -> None:
    with pulling() as leader, pulling() as deposed:
        link.connect(bound_to(leader))
        assert come_up(link)
        for _ in range(5):  # one a second at most
            link.send_aside(bound_to(deposed), ENVELOPE, Refused([], 9))
        assert decode(deposed.recv_multipart()).message == Refused([], 9)
        assert not deposed.poll(100)
        assert not leader.poll(0)
        assert counted(link, "aside_connections")
        assert wait_until(lambda: (link.look_after(), not link._parting)[1])  # and closed after its time


# ---- the whole loop, with a runner that ends everything at once


class AtOnce:
    """A runner whose attempts succeed as soon as they are spawned."""

    def __init__(self) -> None:
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._events: list[ChildStarted | ChildEnded] = []
        self.spawned: list[str] = []

    def start(self) -> None:
        """Nothing to start."""

    def fileno(self) -> int:
        return self._wake

    def spawn(
        self, attempt: str, what: Spec, order: Order, worker_name: str, epoch: int, expiry_clock_ms: int
    ) -> None:
        self.spawned.append(attempt)
        self._events += [ChildStarted(attempt, utc_ms()), ChildEnded(Outcome(attempt, "succeeded", "exit"))]
        os.eventfd_write(self._wake, 1)

    def kill(self, attempt: str, kill_now: bool, kill_after_ms: int) -> None:
        """They have ended already."""

    def read_events(self) -> list[ChildStarted | ChildEnded]:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        events, self._events = self._events, []
        return events

    def renew_lease(self, seconds: float) -> None:
        """Nobody to lease to."""

    def close(self) -> None:
        os.close(self._wake)


def settings_in(directory: Path, **environ: str) -> WorkerdSettings:
    return load_workerd(
        None,
        {
            "SCHEDULERD_STATE_DIR": str(directory),
            "SCHEDULERD_LISTEN_ADDRESS": "tcp://127.0.0.1:*",
            "SCHEDULERD_DISCOVERY_KIND": "static",
            "SCHEDULERD_SLOTS": "500",
            **environ,
        },
    )


@contextmanager
def working(directory: Path) -> Iterator[tuple[Loop, AtOnce]]:
    """A loop in a thread of its own, which owns everything of it; drained at the end."""
    runner = AtOnce()
    made: list[Loop] = []
    is_made = threading.Event()

    def work() -> None:
        loop = Loop(settings_in(directory), runner=runner)
        made.append(loop)
        is_made.set()
        loop.run()

    thread = threading.Thread(target=work)
    thread.start()
    assert is_made.wait(30)
    try:
        yield made[0], runner
    finally:
        made[0].wishes.ask_stop()
        thread.join(30)
        assert not thread.is_alive()


def test_thousands_of_attempts_run_once_each_though_every_dispatch_comes_twice(tmp_path: Path) -> None:
    with working(tmp_path) as (loop, runner), ScriptedLeader(loop.endpoint) as leader:
        leader.greet()
        attempts = [f"job@20261123T020000Z~{number}~1" for number in range(5_000)]
        for start in range(0, len(attempts), 250):
            some = attempts[start : start + 250]
            orders = [leader.order(attempt) for attempt in some]
            leader.say(Dispatch([spec("true")], orders))
            leader.say(Dispatch([spec("true")], orders))
            for attempt in some:
                assert leader.outcome(attempt).state == "succeeded"
            leader.acknowledge(*some)
        since = len(leader.frames)
        leader.say(Reconcile())
        beat = leader.wait_for(Heartbeat, since=since)
        if beat.digest:  # it left before the last acknowledgement was read
            beat = leader.wait_for(Heartbeat, since=len(leader.frames))
        assert (beat.digest, beat.free, beat.journal_depth) == (0, 500, 0)
        assert beat.counts.duplicate_dispatches == 5_000
        assert sorted(runner.spawned) == sorted(attempts)
        assert (
            loop.state.counters["duplicate_dispatches"] + loop.state.counters.get("refused_tombstone", 0)
            == 5_000
        )


def test_garbage_between_the_frames_does_not_disturb_the_work(tmp_path: Path) -> None:
    with working(tmp_path) as (loop, _), ScriptedLeader(loop.endpoint) as leader:
        leader.greet()
        dice = random.Random(3)
        for number in range(200):
            for _ in range(10):
                leader.push.send(dice.randbytes(dice.randrange(200)))
            leader.dispatch(spec("true"), f"a~{number}~1")
        for number in range(200):
            assert leader.outcome(f"a~{number}~1").state == "succeeded"


def test_a_deposed_leader_is_told_at_its_own_endpoint_and_a_new_one_gets_unacknowledged_results(
    tmp_path: Path,
) -> None:
    with working(tmp_path) as (loop, runner), ScriptedLeader(loop.endpoint, epoch=4) as old:
        old.greet()
        old.dispatch(spec("true"), "a~0~1")
        assert old.outcome("a~0~1").state == "succeeded"
        with ScriptedLeader(loop.endpoint, epoch=5) as new:
            inventory = new.greet()
            assert inventory.ended == ["a~0~1"]
            assert new.outcome("a~0~1").state == "succeeded"
            old.say(Hello(old.results, "", 0))
            assert old.wait_for(Refused).seen == 5
            old.dispatch(spec("true"), "b~0~1")
            new.acknowledge("a~0~1")
            new.dispatch(spec("true"), "c~0~1")
            assert new.outcome("c~0~1").state == "succeeded"
        assert runner.spawned == ["a~0~1", "c~0~1"]


def test_what_was_acknowledged_and_what_was_not_survives_a_restart(tmp_path: Path) -> None:
    with working(tmp_path) as (loop, _), ScriptedLeader(loop.endpoint, epoch=3) as leader:
        leader.greet()
        leader.dispatch(spec("true"), "a~0~1", "b~0~1")
        leader.outcome("a~0~1")
        leader.outcome("b~0~1")
        leader.acknowledge("a~0~1")
        since = len(leader.frames)
        leader.say(Reconcile())
        leader.wait_for(Heartbeat, since=since)
        assert wait_until(lambda: loop.state.ended == 1)
        worker = loop.worker
    with working(tmp_path) as (loop, runner):
        assert loop.worker == worker
        with ScriptedLeader(loop.endpoint, epoch=2) as stale:
            stale.say(Hello(stale.results, "", 0))
            assert stale.wait_for(Refused).seen == 3
        with ScriptedLeader(loop.endpoint, epoch=3) as leader:
            assert leader.greet().ended == ["b~0~1"]
            assert leader.outcome("b~0~1").state == "succeeded"
            since = len(leader.frames)
            leader.dispatch(spec("true"), "a~0~1", "b~0~1")
            refused = leader.wait_for(Refused, since=since)
            assert [(refusal.attempt, refusal.reason) for refusal in refused.refusals] == [
                ("a~0~1", "tombstone")
            ]
        assert runner.spawned == []
