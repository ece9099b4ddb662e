"""The worker's sockets: frames in on one PULL, frames out on one PUSH to whoever leads. Decides nothing.

Sends never wait: what does not fit into a pipe at once is dropped and counted, for everything that matters is
sent again until it is acknowledged. All calls belong to the thread that made the Link.
"""

import logging
import os
import time
from collections import deque

import zmq

from schedulerd.errors import SettingsError
from schedulerd.hostkit import endpoints
from schedulerd.hostkit.monitors import FAILURES, happenings, stop_watching
from schedulerd.hostkit.sockets import HIGH_WATER, LARGEST_BACK, push_socket, set_options
from schedulerd.protocol.codec import (
    LARGEST_TO_LEADER,
    LARGEST_TO_WORKER,
    Envelope,
    Frame,
    WireError,
    decode,
    encode,
)
from schedulerd.protocol.messages import Message
from workerd.complaints import Complaints

_ASIDE_LINGER_MS = 2_000
_ASIDE_GAP_SECONDS = 1.0
_ASIDE_STRANGERS = 4  # endpoints that never led us and are written to in that time: anybody can make them up
_FORMER = 16  # endpoints of leaders that are remembered

_IN_COUNTERS: dict[int, str] = {
    zmq.EVENT_ACCEPTED: "connections_accepted",
    zmq.EVENT_DISCONNECTED: "connections_closed",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshakes_failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "handshakes_failed",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "handshakes_failed",
}
_log = logging.getLogger("workerd.link")


class Link:
    """Bound to `listen`; `endpoint` is the address that came of it."""

    def __init__(self, listen: str, *, insecure: bool) -> None:
        """Bind `tcp://HOST:PORT` (`*` = a free port). Raises SettingsError with one sentence."""
        host = (endpoints.split(listen.removeprefix("tcp://")) or ("", ""))[0]
        if not insecure and not endpoints.is_loopback(host):
            raise SettingsError(
                f"{listen} is not a loopback address: without keys everybody could run commands here; "
                "set insecure = true under [transport] if the network is yours alone"
            )
        self.counters: dict[str, int] = {}
        self._complaints = Complaints(_log)
        self._context = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        # with IPv6 an address of IPv4 would be told as one of IPv6
        is_ipv6 = int(host.startswith("[") or ":" in host)
        set_options(
            self._pull, {zmq.RCVHWM: HIGH_WATER, zmq.MAXMSGSIZE: LARGEST_TO_WORKER, zmq.IPV6: is_ipv6}
        )
        try:
            self._pull.bind(listen)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise SettingsError(
                f"{listen}: workerd cannot listen there: {os.strerror(error.errno or 0)}"
            ) from error
        self.endpoint = self._pull.getsockopt_string(zmq.LAST_ENDPOINT)
        self._pull_monitor = self._pull.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | FAILURES
        )
        self._push: zmq.Socket[bytes] | None = None
        self._push_monitor: zmq.Socket[bytes] | None = None
        self._aside: dict[str, float] = {}  # endpoint -> when it was last written to
        self._former: deque[str] = deque(maxlen=_FORMER)  # endpoints we were connected to
        # sockets that were written to aside: when to close them, and their monitors
        self._parting: list[tuple[float, zmq.Socket[bytes], zmq.Socket[bytes]]] = []
        self._poller = zmq.Poller()
        self._poller.register(self._pull, zmq.POLLIN)
        self._poller.register(self._pull_monitor, zmq.POLLIN)

    def watch(self, descriptor: int) -> None:
        """Have `wait` also return when this file descriptor can be read."""
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Take back `watch`."""
        self._poller.unregister(descriptor)

    def wait(self, timeout_ms: int) -> None:
        """Return when anything watched can be read, or after `timeout_ms`."""
        self._poller.poll(max(0, timeout_ms))

    def receive(self, limit: int) -> list[Frame]:
        """Up to `limit` well-formed frames that have arrived, in order; others are counted and dropped."""
        frames: list[Frame] = []
        for _ in range(limit):
            try:
                part = self._pull.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            parts = [part]
            while parts[-1].more:
                parts.append(self._pull.recv(copy=False))
            try:
                frames.append(decode([some.bytes for some in parts]))
            except WireError as error:
                self._count(f"frames_bad_{error.kind}")
                self._complaints.about(_peer(part), "frame refused", str(error))
        return frames

    def connect(self, endpoint: str) -> None:
        """Send to `endpoint` from now on; what waited for the one before is dropped."""
        self.disconnect(linger_ms=0)
        push = push_socket(self._context)
        monitor = push.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | FAILURES)
        try:
            push.connect(endpoint)
        except zmq.ZMQError as error:
            stop_watching(push, monitor)
            push.close(linger=0)
            self._count("endpoints_refused")
            detail = f"{_plain(endpoint)}: {error.strerror}"
            self._complaints.about("a leader", "results endpoint refused", detail)
            return
        self._push, self._push_monitor = push, monitor
        if endpoint not in self._former:
            self._former.append(endpoint)
        self._poller.register(monitor, zmq.POLLIN)

    def disconnect(self, linger_ms: int) -> None:
        """Close the sending socket, leaving it so long to flush in the background."""
        if self._push is None or self._push_monitor is None:
            return
        self._poller.unregister(self._push_monitor)
        stop_watching(self._push, self._push_monitor)
        self._push.close(linger=linger_ms)
        self._push = self._push_monitor = None

    def send(self, envelope: Envelope, message: Message) -> bool:
        """Hand a frame to the connection; False when it was dropped."""
        if self._push is not None and int(self._push.getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
            frame = encode(envelope, message)
            if len(frame) > LARGEST_TO_LEADER:
                self._count("sends_too_large")
                detail = (
                    f"{type(message).__name__} of {len(frame)} bytes, it reads at most {LARGEST_TO_LEADER}"
                )
                self._complaints.about("leader", "frame not sent", detail)
                return False
            try:
                self._push.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                pass
            else:
                return True
        self._count("sends_dropped")
        return False

    def send_aside(self, endpoint: str, envelope: Envelope, message: Message) -> None:
        """Send one frame to an endpoint that is not the leader's; at most one a second to each."""
        now = time.monotonic()
        if now - self._aside.get(endpoint, -_ASIDE_GAP_SECONDS) < _ASIDE_GAP_SECONDS:
            return
        self._aside = {key: at for key, at in self._aside.items() if now - at < _ASIDE_GAP_SECONDS}
        is_stranger = endpoint not in self._former
        if is_stranger and len(self._aside.keys() - set(self._former)) >= _ASIDE_STRANGERS:
            self._count("asides_left_out")
            return
        self._aside[endpoint] = now
        self._complaints.about(
            "a stranger" if is_stranger else endpoint,
            "deposed leader told so",
            f"leader={_plain(envelope.receiver)} endpoint={_plain(endpoint)} seen={envelope.epoch}",
        )
        push = self._context.socket(zmq.PUSH)
        set_options(push, {zmq.SNDHWM: 1, zmq.MAXMSGSIZE: LARGEST_BACK, zmq.IPV6: 1})
        monitor = push.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | FAILURES)
        self._parting.append((now + _ASIDE_LINGER_MS / 1000, push, monitor))
        try:
            push.connect(endpoint)
            push.send(encode(envelope, message), zmq.NOBLOCK)
        except zmq.ZMQError as error:  # Again is one: a receiver that has to be waited for goes without
            self._complaints.about("a leader", "deposed leader not told", str(error.strerror))

    def look_after(self) -> bool:
        """Take in what the sockets' monitors tell; True when the connection to the leader has come up."""
        for event, peer in happenings(self._pull_monitor):
            self._count(_IN_COUNTERS[event])
            if event & FAILURES:
                self._complaints.about(peer, "connection refused", "the peer does not speak ZeroMQ as we do")
        is_up = False
        for event, peer in happenings(self._push_monitor) if self._push_monitor is not None else ():
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                is_up = True
                self._count("leader_connections")
            elif event == zmq.EVENT_DISCONNECTED:
                is_up = False
                self._count("leader_disconnections")
            else:
                self._count("handshakes_failed")
                self._complaints.about(peer, "connection to the leader refused", "its handshake failed")
        if self._parting:
            self._part(time.monotonic())
        return is_up

    def _part(self, now: float) -> None:
        """Count what became of sockets written to aside, and close those that have had their time."""
        for close_at, push, monitor in list(self._parting):
            for event, _ in happenings(monitor):
                is_up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                self._count("aside_connections" if is_up else "handshakes_failed")
            if now >= close_at:
                self._parting.remove((close_at, push, monitor))
                stop_watching(push, monitor)
                push.close(linger=0)

    def close(self, linger_ms: int = 0) -> None:
        """Close everything; what was sent gets so long to leave."""
        self.disconnect(linger_ms)
        for _, push, monitor in self._parting:
            stop_watching(push, monitor)
            push.close(linger=_ASIDE_LINGER_MS)
        self._parting.clear()
        self._complaints.flush()
        stop_watching(self._pull, self._pull_monitor)
        self._pull.close(linger=0)
        self._context.term()

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def _plain(text: str) -> str:
    """What a peer said, fit for a line of a log."""
    return text[:80].encode("unicode_escape").decode()


def _peer(part: zmq.Frame) -> str:
    try:
        return str(part.get("Peer-Address"))
    except zmq.ZMQError:  # the connection is gone already
        return "unknown"
