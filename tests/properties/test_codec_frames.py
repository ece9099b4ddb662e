"""The codec against anything: what it reads it can write again, and all else is a WireError with a short reason."""

import random
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bent_frames import Bender
from support.wire_material import SAMPLES

from schedulerd.protocol.codec import MAGIC, VERSION, WireError, decode, encode
from schedulerd.protocol.messages import TYPES

KINDS = {"magic", "version", "type", "body", "parts"}
FACTOR = 40  # bytes of objects for a byte that was read: a list of texts of one letter each

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(["succeeded", "ready", "job@20261123T020000Z~0~1", ""])
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 99), inner),
    max_leaves=60,
)


def read(parts: list[bytes]) -> str:
    """The kind of fault, or empty when it was read; anything but a WireError comes through."""
    try:
        frame = decode(parts)
    except WireError as error:
        refused = error
    else:
        assert decode([encode(frame.envelope, frame.message)]) == frame
        return ""
    assert refused.kind in KINDS
    assert len(str(refused)) < 1_000
    assert str(refused).isprintable()
    return refused.kind


@given(st.lists(st.binary(), max_size=4))
def test_any_bytes(parts: list[bytes]) -> None:
    read(parts)


@given(st.integers(0, 255), st.integers(0, 255), st.binary())
def test_any_bytes_behind_our_magic(version: int, number: int, rest: bytes) -> None:
    kind = read([MAGIC + bytes((version, number)) + rest])
    assert kind == ("version" if version != VERSION else kind)


@given(st.sampled_from(sorted(TYPES)), trees, trees)
def test_any_structure_as_header_and_body(number: int, header: object, body: object) -> None:
    read([MAGIC + bytes((VERSION, number)) + msgspec.msgpack.encode([header, body])])


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_one_field_of_a_valid_frame_replaced_by_anything(number: int, data: st.DataObject) -> None:
    envelope, message = SAMPLES[TYPES[number]]
    tree = msgspec.msgpack.decode(msgspec.msgpack.encode((envelope, message)))
    half = data.draw(st.integers(0, 1))
    if tree[half]:
        tree[half][data.draw(st.integers(0, len(tree[half]) - 1))] = data.draw(trees)
    read([MAGIC + bytes((VERSION, number)) + msgspec.msgpack.encode(tree)])


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_one_place_of_a_valid_frame_cut_or_overwritten(number: int, data: st.DataObject) -> None:
    frame = encode(*SAMPLES[TYPES[number]])
    place = data.draw(st.integers(0, len(frame) - 1))
    assert read([frame[:place]]) != ""
    read([frame[:place] + data.draw(st.binary(min_size=1, max_size=8)) + frame[place + 1 :]])


def test_many_bent_frames(frames: int) -> None:
    bender = Bender(4)
    found = [read(bender.message()) for _ in range(frames)]
    counts = {kind: found.count(kind) for kind in (*KINDS, "")}
    assert all(counts.values()), counts  # every way to be refused was met, and reading as well


@pytest.mark.parametrize("seed", range(12))
def test_a_large_frame_takes_memory_by_its_size_and_not_by_what_it_says(seed: int) -> None:
    size = random.Random(seed).choice((1 << 12, 1 << 16, 1 << 20))
    frame = Bender(seed).large(size)
    tracemalloc.start()
    try:
        read([frame])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FACTOR * size + 100_000


@pytest.mark.parametrize("marker", [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
@pytest.mark.parametrize("number", sorted(TYPES))
def test_a_length_of_four_billion_allocates_nothing_of_the_kind(number: int, marker: bytes) -> None:
    header = msgspec.msgpack.encode(SAMPLES[TYPES[number]][0])
    for inner in (b"", b"\x91", b"\x92\x91"):
        frame = (
            MAGIC
            + bytes((VERSION, number))
            + b"\x92"
            + header
            + inner
            + marker
            + b"\xff\xff\xff\xff"
            + b"\xa1x" * 9
        )
        tracemalloc.start()
        try:
            assert read([frame]) == "body"
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


def test_a_reason_quotes_little_of_a_long_value_and_no_control_character() -> None:
    envelope, message = SAMPLES[TYPES[36]]
    tree = msgspec.msgpack.decode(msgspec.msgpack.encode((envelope, message)))
    tree[1][0][0][1] = "\n\x1b[31m" + "y" * 5_000
    with pytest.raises(WireError) as refused:
        decode([MAGIC + bytes((VERSION, 36)) + msgspec.msgpack.encode(tree)])
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400
