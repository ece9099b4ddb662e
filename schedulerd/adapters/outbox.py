"""One PUSH socket for every worker. Hands frames to them, never waits, and says at once when nobody takes one.

What must not be lost is owned by the core until it is acknowledged; here a frame is sent or it is not.
"""

import logging

import zmq

from schedulerd.hostkit.monitors import Monitors
from schedulerd.protocol.codec import LARGEST_TO_WORKER

HIGH_WATER = 256  # frames; credits bound what is under way, not this
# A connection that got stuck while the network was away is begun anew: the kernel's own next try may be a minute off,
# and heartbeats find a dead peer only after the handshake.
CONNECT_MS = 3000
HANDSHAKE_MS = 8000  # allows for 1.5 s on the way, each way

log = logging.getLogger(__name__)


class Outbox:
    """Used by the thread that made it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], monitors: Monitors | None = None) -> None:
        self._context = context
        self._monitors = monitors or Monitors()
        self._links: dict[str, zmq.Socket[bytes]] = {}

    def connect(self, peer: str, address: str) -> None:
        """Open the link `peer` to HOST:PORT; an open one is replaced."""
        self.disconnect(peer)
        link = self._context.socket(zmq.PUSH)
        link.setsockopt(zmq.IMMEDIATE, 1)
        link.setsockopt(zmq.SNDHWM, HIGH_WATER)
        link.setsockopt(zmq.LINGER, 0)
        link.setsockopt(zmq.RECONNECT_IVL, 100)
        link.setsockopt(zmq.RECONNECT_IVL_MAX, 5000)
        link.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
        link.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        link.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        link.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        link.setsockopt(zmq.HEARTBEAT_TTL, 10000)
        link.setsockopt(zmq.MAXMSGSIZE, 64 * 1024)
        link.setsockopt(zmq.IPV6, 1)
        self._monitors.watch(peer, "worker", link)
        link.connect(f"tcp://{address}")
        self._links[peer] = link

    def disconnect(self, peer: str) -> None:
        """Close the link; frames that were not taken yet are dropped."""
        link = self._links.pop(peer, None)
        if link is not None:
            self._monitors.forget(peer)
            link.close()

    def send(self, peer: str, frame: bytes) -> bool:
        """True when the link took the frame, which does not mean that it arrives."""
        link = self._links.get(peer)
        if link is None:
            return False
        if len(frame) > LARGEST_TO_WORKER:
            log.error(
                "a frame of %d bytes is not sent, a worker reads at most %d  worker=%s",
                len(frame),
                LARGEST_TO_WORKER,
                peer,
            )
            return False
        try:
            link.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close every link."""
        for peer in list(self._links):
            self.disconnect(peer)
