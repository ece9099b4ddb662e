"""What workerd and its helper process say to each other over one socket pair. Both sides are always of one version.

A frame is its length (4 bytes, big-endian) and MessagePack of a list of messages: many in one write, never one each.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from schedulerd.protocol.messages import Order, Outcome, Spec

READ_SIZE = 1 << 18  # bytes asked of the socket at once

_LENGTH = 4


class Spawn(Struct, frozen=True, array_like=True, tag="spawn", gc=False):
    """Start this attempt, unless its expiry (`order.expiry_clock_ms`, boot-time clock) is over."""

    order: Order
    spec: Spec
    worker_name: str
    epoch: int
    expiry_clock_ms: int


class Kill(Struct, frozen=True, array_like=True, tag="kill", gc=False):
    """End this attempt: TERM and KILL `kill_after_ms` later, or KILL at once. Without effect once it has ended."""

    attempt: str
    kill_now: bool
    kill_after_ms: int


class Lease(Struct, frozen=True, array_like=True, tag="lease", gc=False):
    """Kill all children and exit if no later lease has come by then (boot-time clock)."""

    until_clock_ms: int


class Started(Struct, frozen=True, array_like=True, tag="started", gc=False):
    """The process of an attempt exists."""

    attempt: str
    started_utc_ms: int


class Expired(Struct, frozen=True, array_like=True, tag="expired", gc=False):
    """The expiry was over immediately before exec: provably unstarted."""

    attempt: str


class Ended(Struct, frozen=True, array_like=True, tag="ended", gc=False):
    """How an attempt ended, or why it could not start."""

    outcome: Outcome


ToHelper = Spawn | Kill | Lease
FromHelper = Started | Expired | Ended

_encoder = msgspec.msgpack.Encoder()
to_helper = msgspec.msgpack.Decoder(list[ToHelper])
from_helper = msgspec.msgpack.Decoder(list[FromHelper])


def frame_of(messages: Sequence[ToHelper] | Sequence[FromHelper]) -> bytes:
    """The frame that says all of `messages`."""
    body = _encoder.encode(messages)
    return len(body).to_bytes(_LENGTH, "big") + body


class FrameReader:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete now, oldest first; the rest waits for more bytes."""
        self._pending += data
        bodies = []
        at = 0
        while len(self._pending) - at >= _LENGTH:
            end = at + _LENGTH + int.from_bytes(self._pending[at : at + _LENGTH], "big")
            if end > len(self._pending):
                break
            bodies.append(bytes(self._pending[at + _LENGTH : end]))
            at = end
        del self._pending[:at]
        return bodies
