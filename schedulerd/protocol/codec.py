"""Messages to frames and back. A frame that is not ours raises WireError and says what arrived.

A frame is one ZeroMQ part: magic (4 bytes), version, type (one byte each), then MessagePack of the header array and of
the body. Reading never allocates more than the frame's own size times a small factor; the socket bounds the size.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from schedulerd.protocol.messages import NUMBERS, TYPES, Count, Message

MAGIC = b"\xd5sch"
VERSION = 1
OLDEST = max(1, VERSION - 1)  # versions OLDEST..VERSION are understood
# The version that brought a type; those that are not here came with 1. A frame bears the version of its type, not of
# its writer, so that a peer one version behind reads all that it can know, and refuses the rest with a reason.
SINCE: dict[type[Message], int] = {}
FRAME_TARGET = 1 << 20  # senders cut their batches here; one element larger than this goes alone
LARGEST_TO_WORKER = 4 << 20  # bytes; a larger frame would cost its sender the connection, so it is not sent
LARGEST_TO_LEADER = 8 << 20
FRAME_ELEMENTS = 500  # ... and here: who receives them records them in steps of about so many

_PREFIX = len(MAGIC) + 2
_LONGEST = 200  # characters of a reason
_T = TypeVar("_T")


class WireError(Exception):
    """The peer sent something that is not a frame of ours; `kind` is one of a few words, for counting."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind  # magic | version | type | body | parts


class Envelope(Struct, frozen=True, array_like=True):
    """The header of every frame."""

    epoch: Count  # of the leader that wrote it, or the highest the worker has seen
    sender: str
    sender_nonce: str
    receiver: str  # worker id, or the leader's id; empty = whoever reads
    receiver_nonce: str  # empty only in a first Hello, and towards a leader


class Frame(Struct, frozen=True):
    """A frame as read."""

    envelope: Envelope
    message: Message


_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(tuple[Envelope, msgspec.Raw])
_decoders = {number: msgspec.msgpack.Decoder(kind) for number, kind in TYPES.items()}
_prefixes = {
    kind: MAGIC + bytes((max(SINCE.get(kind, 1), OLDEST), number)) for kind, number in NUMBERS.items()
}


def encode(envelope: Envelope, message: Message) -> bytes:
    """The frame for `message`. Raises KeyError for a type that has no number."""
    return _prefixes[type(message)] + _encoder.encode((envelope, message))


def decode(parts: Sequence[bytes]) -> Frame:
    """The frame in `parts` (as the socket gave them). Raises WireError, and nothing else, for what is not ours."""
    if len(parts) != 1:
        raise WireError("parts", f"{len(parts)} parts arrived, expected 1")
    data = parts[0]
    if data[: len(MAGIC)] != MAGIC or len(data) < _PREFIX:
        raise WireError(
            "magic", f"{len(data)} bytes beginning {data[:8]!r} arrived, expected magic {MAGIC!r}"
        )
    version, number = data[len(MAGIC)], data[len(MAGIC) + 1]
    if not OLDEST <= version <= VERSION:
        raise WireError("version", f"version {version} arrived, expected {OLDEST} to {VERSION}")
    decoder = _decoders.get(number)
    if decoder is None:
        raise WireError("type", f"type {number} arrived, which version {VERSION} does not know")
    try:
        envelope, body = _envelope_decoder.decode(memoryview(data)[_PREFIX:])
        return Frame(envelope, decoder.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        # the error may quote what arrived, however long it is and whatever is in it
        why = str(error)[:_LONGEST].encode("unicode_escape").decode()
        raise WireError("body", f"body of {TYPES[number].__name__} cannot be read: {why}") from None


def digest_of(attempt: str) -> int:
    """A number for one attempt id; XORed over many it tells whether two sides hold the same ones."""
    data = attempt.encode()
    return zlib.crc32(data) << 32 | zlib.crc32(data, 0x5BD1E995)


def in_frames(elements: Sequence[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Cut `elements` into runs of at most FRAME_ELEMENTS whose `size` (bytes, roughly) adds up to at most FRAME_TARGET.

    A run is never empty.
    """
    batch: list[_T] = []
    total = 0
    for element in elements:
        weight = size(element)
        if batch and (total + weight > FRAME_TARGET or len(batch) == FRAME_ELEMENTS):
            yield batch
            batch, total = [], 0
        batch.append(element)
        total += weight
    if batch:
        yield batch
