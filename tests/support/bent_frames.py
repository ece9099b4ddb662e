"""Frames not quite ours: bytes bent, structures with wrong fields, lies. Seeded, so that a find can be played again.

`Bender.message()` gives the parts of one ZeroMQ message. What is honest about it is at most its form: nothing it makes
carries the nonce of a boot that lives, so whatever is acted on is a fault of the reader.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec
from support.wire_material import SAMPLES

from schedulerd.protocol.codec import MAGIC, OLDEST, VERSION, Envelope, encode
from schedulerd.protocol.messages import TYPES, Message

NUMBERS = (0, 1, -1, 127, 128, 255, 65_536, 1 << 31, (1 << 32) - 1, 1 << 52, 1 << 53, (1 << 53) + 1, 1 << 63)
LENGTHS = (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9")  # MessagePack: a length of 32 bits follows
_HOLE = "@" * 24  # stands where bytes that are no UTF-8 are put


class Bender:
    """A source of bent messages. `names` are ids that the reader knows; `most_epoch` bounds the lies about epochs."""

    def __init__(self, seed: int, names: tuple[str, ...] = (), most_epoch: int = 1 << 53) -> None:
        self._rng = random.Random(seed)
        self._names = ("", "stranger", "x" * 300, "a\nb\x1b[31m", *names)
        self._most_epoch = most_epoch
        self._ways: tuple[Callable[[], list[bytes]], ...] = (
            self._garbage,
            self._parts,
            self._torn,
            self._flipped,
            self._spliced,
            self._length_bomb,
            self._deep,
            self._other_type,
            self._other_version,
            self._bent_field,
            self._bent_field,
            self._bent_field,
            self._bent_list,
            self._no_utf8,
            self._lie,
        )

    def message(self) -> list[bytes]:
        """The parts of one message; most have one."""
        return self._rng.choice(self._ways)()

    def large(self, size: int) -> bytes:
        """One part of `size` bytes: of ours by its first bytes, and then a long list, a long text, or garbage."""
        match self._rng.randrange(4):
            case 0:
                return self._rng.randbytes(size)
            case 1:
                return (MAGIC + bytes((VERSION, 37)) + b"\x91" * size)[:size]
            case 2:
                envelope, message = self._sample()
                return (encode(envelope, message) + b"\xa1x" * (size // 2))[:size]
            case _:
                labels = ["x"] * max(1, size // 2 - 60)
                return encode(self._envelope(), msgspec.structs.replace(SAMPLES[TYPES[37]][1], labels=labels))

    # ---- bytes ----------------------------------------------------------------------------------------------------

    def _garbage(self) -> list[bytes]:
        start = self._rng.choice((b"", MAGIC, MAGIC + bytes((VERSION,)), MAGIC[:2]))
        return [start + self._rng.randbytes(self._rng.randrange(300))]

    def _parts(self) -> list[bytes]:
        rest = [
            self._rng.choice((b"", self._rng.randbytes(9), self._frame()))
            for _ in range(self._rng.randrange(1, 40))
        ]
        return [self._frame(), *rest]

    def _torn(self) -> list[bytes]:
        frame = self._frame()
        return [frame[: self._rng.randrange(len(frame))]]

    def _flipped(self) -> list[bytes]:
        frame = bytearray(self._frame())
        for _ in range(self._rng.randrange(1, 4)):
            frame[self._rng.randrange(len(frame))] = self._rng.randrange(256)
        return [bytes(frame)]

    def _spliced(self) -> list[bytes]:
        one, other = self._frame(), self._frame()
        return [one[: self._rng.randrange(len(one))] + other[self._rng.randrange(len(other)) :]]

    def _length_bomb(self) -> list[bytes]:
        frame = self._frame()
        place = self._rng.randrange(6, len(frame))
        bomb = self._rng.choice(LENGTHS) + b"\xff\xff\xff\xff"
        return [frame[:place] + bomb * self._rng.randrange(1, 20) + frame[place:]]

    def _deep(self) -> list[bytes]:
        opening = self._rng.choice((b"\x91", b"\x92", b"\x81\xa1x", b"\x81"))
        envelope = self._envelope()
        head = MAGIC + bytes((VERSION, self._rng.choice(tuple(TYPES)))) + b"\x92"
        start = self._rng.choice((b"", msgspec.msgpack.encode(envelope)))
        return [head + start + opening * self._rng.randrange(1, 5000)]

    def _other_type(self) -> list[bytes]:
        frame = self._frame()
        return [frame[:5] + bytes((self._rng.randrange(256),)) + frame[6:]]

    def _other_version(self) -> list[bytes]:
        frame = self._frame()
        wrong = self._rng.choice([number for number in range(256) if not OLDEST <= number <= VERSION])
        return [frame[:4] + bytes((wrong,)) + frame[5:]]

    # ---- structures -----------------------------------------------------------------------------------------------

    def _bent_field(self) -> list[bytes]:
        number, tree = self._tree()
        for _ in range(self._rng.randrange(1, 3)):
            holder, key = self._place(tree)
            holder[key] = self._value()
        return [self._packed(number, tree)]

    def _bent_list(self) -> list[bytes]:
        number, tree = self._tree()
        holder, key = self._place(tree)
        if isinstance(holder, list):
            match self._rng.randrange(3):
                case 0:
                    del holder[key]
                case 1:
                    holder.insert(key, self._value())
                case _:
                    holder[key : key + 1] = [holder[key]] * self._rng.choice((0, 2, 50, 3000))
        return [self._packed(number, tree)]

    def _no_utf8(self) -> list[bytes]:
        number, tree = self._tree()
        holder, key = self._place(tree)
        holder[key] = _HOLE
        wrong = self._rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80")) * 24
        return [self._packed(number, tree).replace(_HOLE.encode(), wrong[:24])]

    def _lie(self) -> list[bytes]:
        return [self._frame()]

    def _value(self) -> object:
        rng = self._rng
        most = [number for number in NUMBERS if number <= self._most_epoch]
        return rng.choice(
            (
                rng.choice(most),
                rng.choice(self._names),
                f"tcp://127.0.0.1:{rng.randrange(70_000)}",
                f"job@20261123T020000Z~{rng.randrange(9)}~{rng.randrange(9)}",
                "y" * rng.choice((201, 5_000)),
                rng.randbytes(rng.randrange(40)),
                None,
                True,
                rng.random() * 1e300,
                [],
                {},
                [[["x"]]],
                {"k": rng.choice(most)},
                list(range(rng.choice((3, 2_000)))),
            )
        )

    def _tree(self) -> tuple[int, list[Any]]:
        """The number of a type, and a frame of it as nested lists that may be changed."""
        number = self._rng.choice(tuple(TYPES))
        message = SAMPLES[TYPES[number]][1]
        raw = msgspec.msgpack.decode(msgspec.msgpack.encode((self._envelope(), message)))
        return number, raw

    def _place(self, tree: list[Any]) -> tuple[Any, Any]:
        """Somewhere in the tree below the pair of header and body: (list or dict, index or key)."""
        holder: Any = tree
        key: Any = self._rng.randrange(2)
        while isinstance(holder[key], list | dict) and holder[key] and self._rng.random() < 0.9:
            holder = holder[key]
            key = self._rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        return holder, key

    def _packed(self, number: int, tree: object) -> bytes:
        return MAGIC + bytes((VERSION, number)) + msgspec.msgpack.encode(tree)

    def _sample(self) -> tuple[Envelope, Message]:
        return self._envelope(), self._rng.choice(tuple(SAMPLES.values()))[1]

    def _envelope(self) -> Envelope:
        rng = self._rng
        epoch = min(rng.choice((0, 0, 1, 2, 1 << 40, 1 << 53)), self._most_epoch)
        return Envelope(epoch, rng.choice(self._names), "nobody's", rng.choice(self._names), "nobody's")

    def _frame(self) -> bytes:
        return encode(*self._sample())
