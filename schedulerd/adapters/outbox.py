"""One PUSH socket for every worker. Hands frames to them, never waits, and says at once when nobody takes one.

What must not be lost is owned by the core until it is acknowledged; here a frame is sent or it is not.
"""

import logging

import zmq

from schedulerd.hostkit.monitors import Monitors
from schedulerd.hostkit.sockets import push_socket
from schedulerd.protocol.codec import LARGEST_TO_WORKER

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
        link = push_socket(self._context)
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
