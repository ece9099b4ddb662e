"""What has once travelled stays readable: the frozen bytes and fields of every version that is still understood.

`tests/golden/wire/vN.json` is written once, when version N is made (`--rewrite-golden` writes the current one), and is
never changed after its release: peers that speak it are in the field.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import NODEFAULT, Struct
from support.wire_material import SAMPLES, TO_LEADER

from schedulerd.protocol import codec, messages
from schedulerd.protocol.codec import MAGIC, OLDEST, VERSION, Envelope, WireError, decode, encode
from schedulerd.protocol.messages import NUMBERS, TYPES, Message

PLACE = Path(__file__).parent / "wire"
UNDERSTOOD = range(OLDEST, VERSION + 1)
STRUCTS: dict[str, type[Struct]] = {
    name: kind
    for name, kind in inspect.getmembers(messages, inspect.isclass)
    if issubclass(kind, Struct) and kind not in (Struct, Message)
} | {"Envelope": Envelope}


def fields_of(kind: type[Struct]) -> list[list[object]]:
    """(name, must be there) of each field, in the order in which they travel."""
    return [
        [field.name, field.default is NODEFAULT and field.default_factory is NODEFAULT]
        for field in msgspec.structs.fields(kind)
    ]


def as_now() -> dict[str, Any]:
    """What the golden file of the current version has to hold."""
    return {
        "frames": {kind.__name__: encode(*sample).hex() for kind, sample in SAMPLES.items()},
        "numbers": {kind.__name__: number for kind, number in NUMBERS.items()},
        "fields": {name: fields_of(kind) for name, kind in sorted(STRUCTS.items())},
    }


def golden(version: int) -> dict[str, Any]:
    """What was frozen for `version`."""
    found: dict[str, Any] = json.loads((PLACE / f"v{version}.json").read_text())
    return found


def test_this_version_writes_what_was_frozen_for_it(request: pytest.FixtureRequest) -> None:
    path = PLACE / f"v{VERSION}.json"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(json.dumps(as_now(), indent=1, ensure_ascii=False) + "\n")
    assert set(SAMPLES) == set(NUMBERS), "every message type has its sample"
    frozen, now = golden(VERSION), as_now()
    for name, frame in now["frames"].items():
        assert frozen["frames"].get(name) == frame, f"{name} travels differently than its peers expect"
    assert frozen == now


def test_the_current_version_and_the_one_before_are_understood() -> None:
    assert list(UNDERSTOOD) == [version for version in (VERSION - 1, VERSION) if version >= 1]
    assert all((PLACE / f"v{version}.json").exists() for version in UNDERSTOOD)


@pytest.mark.parametrize("version", UNDERSTOOD)
def test_frozen_frames_are_read_as_what_they_were(version: int) -> None:
    by_name = {kind.__name__: sample for kind, sample in SAMPLES.items()}
    frozen = golden(version)
    assert frozen["frames"], "nothing is frozen"
    for name, text in frozen["frames"].items():
        frame = decode([bytes.fromhex(text)])
        envelope, message = by_name[name]
        assert frame.envelope == envelope
        before = [field for field, _ in frozen["fields"][name]]
        assert [getattr(frame.message, field) for field in before] == [
            getattr(message, field) for field in before
        ]


@pytest.mark.parametrize("version", UNDERSTOOD)
def test_fields_are_only_ever_appended_with_a_default(version: int) -> None:
    frozen = golden(version)
    for name, before in frozen["fields"].items():
        now = fields_of(STRUCTS[name])
        assert [field[0] for field in now[: len(before)]] == [field[0] for field in before], name
        assert [field[1] for field in now[: len(before)]] == [field[1] for field in before], name
        assert not any(must for _, must in now[len(before) :]), f"{name}: a new field needs a default"
    for name, number in frozen["numbers"].items():
        assert TYPES[number].__name__ == name, "a number is never used again"


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_fields_of_a_newer_peer_are_passed_over(kind: type[Message]) -> None:
    envelope, message = SAMPLES[kind]
    frame = encode(envelope, message)
    header, body = msgspec.msgpack.decode(frame[6:])
    newer = frame[:6] + msgspec.msgpack.encode([[*header, {"new": [1]}], [*body, "new", [2, {"x": None}], 3]])
    read = decode([newer])
    assert (read.envelope, read.message) == (envelope, message)


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_fields_that_an_older_peer_does_not_send_have_their_defaults(kind: type[Message]) -> None:
    envelope, message = SAMPLES[kind]
    frame = encode(envelope, message)
    header, body = msgspec.msgpack.decode(frame[6:])
    fields = msgspec.structs.fields(kind)
    required = sum(must for _, must in fields_of(kind))
    for length in range(required, len(fields)):
        older = frame[:6] + msgspec.msgpack.encode([header, body[:length]])
        read = decode([older]).message
        for field in fields[length:]:
            default = field.default if field.default is not NODEFAULT else field.default_factory()
            assert getattr(read, field.name) == default
    if required:
        with pytest.raises(WireError, match="at least length"):
            decode([frame[:6] + msgspec.msgpack.encode([header, body[: required - 1]])])


@pytest.mark.parametrize("version", [0, VERSION + 1, 255])
def test_other_versions_are_refused_with_a_reason(version: int) -> None:
    frame = encode(TO_LEADER, SAMPLES[messages.Heartbeat][1])
    with pytest.raises(
        WireError, match=f"version {version} arrived, expected {OLDEST} to {VERSION}"
    ) as refused:
        decode([MAGIC + bytes((version,)) + frame[5:]])
    assert refused.value.kind == "version"


def test_types_that_nobody_knows_are_refused_with_a_reason() -> None:
    frame = encode(TO_LEADER, SAMPLES[messages.Heartbeat][1])
    for number in set(range(256)) - set(TYPES):
        with pytest.raises(WireError, match=f"type {number} arrived") as refused:
            decode([frame[:5] + bytes((number,)) + frame[6:]])
        assert refused.value.kind == "type"


def test_a_frame_bears_the_version_that_brought_its_type_so_that_older_peers_read_the_rest() -> None:
    for kind, sample in SAMPLES.items():
        since = codec.SINCE.get(kind, 1)
        assert encode(*sample)[4] == max(since, OLDEST) <= VERSION
        for version in UNDERSTOOD:
            assert (kind.__name__ in golden(version)["numbers"]) == (since <= version), kind
