"""The PULL socket that results come in on. Reads in batches; what is not ours is counted and said once a minute."""

import logging
import time
from collections import Counter

import zmq

from schedulerd.errors import SettingsError
from schedulerd.protocol.codec import Frame, WireError, decode

LARGEST = 8 * 1024 * 1024  # bytes of a frame; a larger one ends its connection
COMPLAIN_EVERY = 60.0  # seconds between two lines about the same kind of fault

log = logging.getLogger(__name__)


class Collector:
    """Used by the thread that made it. `endpoint` tells where it listens, with the real port."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], listen: str) -> None:
        self.dropped: Counter[str] = Counter()  # by kind of fault
        self._complained: dict[str, tuple[float, int]] = {}
        self._pull = context.socket(zmq.PULL)
        self._pull.setsockopt(zmq.RCVHWM, 1000)
        self._pull.setsockopt(zmq.LINGER, 0)
        self._pull.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        self._pull.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        self._pull.setsockopt(zmq.HEARTBEAT_TTL, 10000)
        self._pull.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self._pull.setsockopt(zmq.IPV6, 1)
        try:
            self._pull.bind(listen)
        except zmq.ZMQError as error:
            self._pull.close()
            raise SettingsError(
                f"[results] listen: {listen} cannot be bound: {error}; nothing was started"
            ) from None
        self.endpoint = self._pull.get_string(zmq.LAST_ENDPOINT)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For the loop's poller."""
        return self._pull

    def take(self, limit: int) -> list[Frame]:
        """At most `limit` frames that have arrived; faulty ones count but are left out."""
        frames: list[Frame] = []
        for _ in range(limit):
            try:
                parts = self._pull.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                frames.append(decode(parts))
            except WireError as error:
                self._complain(error)
        return frames

    def close(self) -> None:
        """Stop listening."""
        self._pull.close()

    def _complain(self, error: WireError) -> None:
        self.dropped[error.kind] += 1
        since, count = self._complained.get(error.kind, (0.0, 0))
        now = time.monotonic()
        if not since or now - since >= COMPLAIN_EVERY:
            self._complained[error.kind] = (now, 0)
            more = f" ({count} more of this kind since the last line)" if count else ""
            log.warning("a frame was dropped: %s%s; nothing else happened", error, more)
        else:
            self._complained[error.kind] = (since, count + 1)
