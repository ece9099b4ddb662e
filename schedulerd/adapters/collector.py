"""The PULL socket that results come in on. Reads in batches; what is not ours is counted and said once a minute."""

import logging
import time
from collections.abc import Callable

import zmq

from schedulerd.errors import SettingsError
from schedulerd.hostkit.monitors import Monitors
from schedulerd.hostkit.sockets import set_options
from schedulerd.protocol.codec import LARGEST_TO_LEADER, Frame, WireError, decode
from schedulerd.protocol.messages import elements_of

MAX_SOCKETS = 49_152  # of one leader, three for each worker; the library's own limit is 1,023
AT_ONCE = 16 * 1024 * 1024  # bytes that are taken before the loop goes on: large frames must not pile up
COMPLAIN_EVERY = 60.0  # seconds between two lines about the same kind of fault

log = logging.getLogger(__name__)


class Collector:
    """Used by the thread that made it. `endpoint` tells where it listens, with the real port."""

    def __init__(
        self,
        listen: str,
        on_fault: Callable[[], None] = lambda: None,
        on_connection: Callable[[str, str], None] = lambda socket, event: None,
    ) -> None:
        """Bind; `on_fault` is called for each frame that is dropped, `on_connection` as Monitors says.

        Raises SettingsError when the address is taken.
        """
        # one context for all sockets of a leader; the outbox makes its own in it
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self.monitors = Monitors(on_connection)  # of all of them
        self.has_more = False  # the newest `take` left something for the next one
        self._on_fault = on_fault
        self._complained: dict[str, tuple[float, int]] = {}
        self._pull = self.context.socket(zmq.PULL)
        set_options(self._pull, {zmq.RCVHWM: 1000, zmq.MAXMSGSIZE: LARGEST_TO_LEADER, zmq.IPV6: 1})
        self.monitors.watch("results", "results", self._pull)
        try:
            self._pull.bind(listen)
        except zmq.ZMQError as error:
            self.context.destroy(linger=0)
            raise SettingsError(
                f"[results] listen: {listen} cannot be bound: {error}; nothing was started"
            ) from None
        self._poller = zmq.Poller()
        self._poller.register(self._pull, zmq.POLLIN)
        self.endpoint = self._pull.get_string(zmq.LAST_ENDPOINT)

    def watch(self, descriptor: int) -> None:
        """`wait` returns for this descriptor too."""
        self._poller.register(descriptor, zmq.POLLIN)

    def wait(self, limit_ms: int) -> None:
        """Return when a frame has arrived or a watched descriptor is readable, at the latest after `limit_ms`."""
        self._poller.poll(limit_ms)

    def take(self, limit: int) -> list[Frame]:
        """Frames that have arrived, until they hold `limit` attempts or AT_ONCE bytes; faulty ones are left out."""
        self.monitors.look()
        self.has_more = True
        frames: list[Frame] = []
        held, room = 0, AT_ONCE
        while held < limit and room > 0:
            try:
                parts = self._pull.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self.has_more = False
                break
            room -= sum(map(len, parts))
            try:
                frame = decode(parts)
            except WireError as error:
                self._complain(error)
                held += 1
            else:
                frames.append(frame)
                held += elements_of(frame.message)
        return frames

    def close(self) -> None:
        """Stop listening, and close what else was made in the context."""
        self.context.destroy(linger=0)

    def _complain(self, error: WireError) -> None:
        self._on_fault()
        since, count = self._complained.get(error.kind, (0.0, 0))
        now = time.monotonic()
        if not since or now - since >= COMPLAIN_EVERY:
            self._complained[error.kind] = (now, 0)
            more = f" ({count} more of this kind since the last line)" if count else ""
            log.warning("a frame was dropped: %s%s; nothing else happened", error, more)
        else:
            self._complained[error.kind] = (since, count + 1)
