"""Zones: their names, which instant a naive wall time is, and that jumps are found wherever they lie."""

import io
import struct
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schedulerd.core.cron import parse
from schedulerd.core.search import Fold, instants_between
from schedulerd.core.zones import UnknownZone, Zone, from_seconds, instant_of, to_seconds, zone


@pytest.mark.parametrize(
    ("naive", "timezone", "expected"),
    [
        ("2026-12-05T03:00:00.25", "Europe/Prague", "2026-12-05T02:00:00.25"),
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:00"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30"),
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T10:00"),
        ("2026-10-04T02:29", "Australia/Lord_Howe", "2026-10-03T15:30"),
    ],
)
def test_a_naive_time_is_the_first_instant_that_shows_it(naive: str, timezone: str, expected: str) -> None:
    found = instant_of(datetime.fromisoformat(naive), zone(timezone))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Prague", "Europe/Prague"),
        ("America/New York", "America/New_York"),
        ("US/Pacfic", "US/Pacific"),
    ],
)
def test_an_unknown_zone_is_refused_with_near_names(name: str, near: str) -> None:
    with pytest.raises(UnknownZone) as refused:
        zone(name)
    assert near in refused.value.near


@pytest.mark.parametrize(
    "name", ["", "..", "../UTC", "/etc/passwd", "Europe", "localtime", "right/UTC", "é", "a\0b"]
)
def test_what_is_no_name_of_the_database_is_no_zone(name: str) -> None:
    with pytest.raises(UnknownZone):
        zone(name)


@pytest.mark.parametrize("minutes", [-90, -60, -30, -1, 0, 1, 30, 60, 90])
@pytest.mark.parametrize("hours", [1, -1])
def test_a_jump_near_the_edge_of_what_is_kept_together_is_like_any_other(minutes: int, hours: int) -> None:
    edge = 50 << 25  # a zone's segments are kept for 2^25 s at a time
    jump = edge + minutes * 60
    where = Zone("Test/Edge", ZoneInfo.from_file(io.BytesIO(zone_file(jump, hours * 3600)), key="Test/Edge"))
    for offset in range(-120, 125, 5):  # a fixed time at each five minutes of the wall around the jump
        wall = from_seconds(jump + offset * 60)
        times = parse(f"{wall.second} {wall.minute} {wall.hour} * * *")
        for fold, passes in ((Fold.FIRST, (1, 0)), (Fold.LAST, (0, 1)), (Fold.BOTH, (1, 1))):
            if hours > 0:  # a gap: the walls jump..jump+1h are gone
                expected = [jump if 0 <= offset < 60 else jump + offset * 60 - (3600 if offset >= 60 else 0)]
            elif -60 <= offset < 0:  # a fold: the walls jump-1h..jump come twice
                expected = [jump + offset * 60] * passes[0] + [jump + offset * 60 + 3600] * passes[1]
            else:
                expected = [jump + offset * 60 + (3600 if offset >= 0 else 0)]
            found = instants_between(times, where, jump - 4 * 3600, jump + 4 * 3600, fold)
            assert [instant for instant, _ in found] == expected, (offset, fold)
        first = jump if hours > 0 and 0 <= offset < 60 else expected_first(jump, offset, hours)
        assert to_seconds(instant_of(wall.replace(tzinfo=None), where)) == first


def expected_first(jump: int, offset: int, hours: int) -> int:
    """The first instant that shows the wall `offset` minutes from the jump, outside a gap."""
    is_behind = offset >= 60 if hours > 0 else offset >= 0
    return jump + offset * 60 - (hours * 3600 if is_behind else 0)


def zone_file(jump: int, size: int) -> bytes:
    """A zone at UTC that changes its offset by `size` seconds at the instant `jump`: RFC 8536, version 1."""
    counts = struct.pack(">6l", 0, 0, 0, 1, 2, 8)
    kinds = struct.pack(">lBB", 0, 0, 0) + struct.pack(">lBB", size, 0, 4)
    return b"TZif" + b"\0" * 16 + counts + struct.pack(">lB", jump, 1) + kinds + b"AAA\0BBB\0"
