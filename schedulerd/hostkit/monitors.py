"""What becomes of the connections of ZeroMQ sockets, by a monitor on each: they stand, end, or never come to be.

Nothing depends on it: whether a peer lives is told by its frames. It is here so that an operator can see why none come.
"""

import logging
import time
from collections.abc import Callable, Iterator

import zmq
from zmq.utils.monitor import parse_monitor_message

STANDS, ENDED, FAILED = "connected", "disconnected", "handshake_failed"
LOOK_EVERY = 2.0  # seconds between two looks at all monitors; they are as many as there are workers
QUIET_FOR = 60.0  # seconds in which each kind of happening is logged at most LINES times
LINES = 20

_KINDS: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: STANDS,
    zmq.EVENT_DISCONNECTED: ENDED,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: FAILED,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: FAILED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: FAILED,
}
FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_MASK = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | FAILURES

log = logging.getLogger(__name__)


def happenings(monitor: "zmq.Socket[bytes]") -> Iterator[tuple[int, str]]:
    """(ZeroMQ's number of the event, endpoint) of all that a socket's monitor has to tell; never waits."""
    while int(monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        event = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))
        yield int(event["event"]), bytes(event["endpoint"]).decode(errors="replace")


def stop_watching(socket: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]") -> None:
    """End a monitor, before its socket is closed."""
    socket.disable_monitor()
    monitor.close(linger=0)


class Monitors:
    """The monitors of many sockets, for the thread that owns these."""

    def __init__(self, told: Callable[[str, str], None] = lambda socket, event: None) -> None:
        """`told` is called with the kind of socket and what happened, once for each happening."""
        self._told = told
        self._watched: dict[str, tuple[str, zmq.Socket[bytes], zmq.Socket[bytes]]] = {}
        self._looked_at = 0.0
        self._lines: dict[tuple[str, str], tuple[float, int]] = {}  # -> since when, how many since

    def watch(self, name: str, kind: str, socket: "zmq.Socket[bytes]") -> None:
        """Begin, before the socket connects or binds; `name` for people, `kind` for counting."""
        self._watched[name] = (kind, socket, socket.get_monitor_socket(_MASK))

    def forget(self, name: str) -> None:
        """End, before the socket is closed; what it still has to tell is told."""
        found = self._watched.pop(name, None)
        if found is not None:
            kind, socket, monitor = found
            self._read(name, kind, monitor)
            stop_watching(socket, monitor)

    def look(self) -> None:
        """Tell what has happened, if it is time to look again."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            for name, (kind, _, monitor) in list(self._watched.items()):
                self._read(name, kind, monitor)

    def _read(self, name: str, kind: str, monitor: "zmq.Socket[bytes]") -> None:
        for number, _ in happenings(monitor):
            event = _KINDS[number]
            self._told(kind, event)
            self._log(name, kind, event)

    def _log(self, name: str, kind: str, event: str) -> None:
        now = time.monotonic()
        since, lines = self._lines.get((kind, event), (0.0, 0))
        if not since or now - since >= QUIET_FOR:
            since, lines = now, 0
        self._lines[kind, event] = (since, lines + 1)
        if lines < LINES:
            level = logging.WARNING if event == FAILED else logging.INFO
            log.log(level, "connection %s  socket=%s at=%s", event, kind, name)
        elif lines == LINES:
            log.info("more of the same is not said for a minute  socket=%s event=%s", kind, event)
