"""Every change of a zone's offset from 1970 to 2040, read from the zone files themselves (RFC 9636).

Independent of how schedulerd finds jumps: explicit transitions are parsed, the years behind the last one, which the
file gives as a rule, are asked day by day.
"""

import importlib.resources
import itertools
import struct
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

BEGIN = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp())
END = int(datetime(2041, 1, 1, tzinfo=UTC).timestamp())
DAY = 86_400


class Jump(NamedTuple):
    """One change of the offset: the first instant with the new one, and both offsets in seconds."""

    instant: int
    before: int
    after: int

    @property
    def kind(self) -> tuple[int, int, int]:
        """Jumps of a zone that are equal in this differ in their date alone."""
        return self.before, self.after, (self.instant + self.before) % DAY


@lru_cache(maxsize=1024)
def zone_file(name: str) -> bytes:
    """The bytes of the zone, as zoneinfo finds them."""
    for place in zoneinfo.TZPATH:
        path = Path(place, name)
        if path.is_file():
            return path.read_bytes()
    package, _, last = ("tzdata/zoneinfo/" + name).rpartition("/")
    return (importlib.resources.files(package.replace("/", ".")) / last).read_bytes()


def same_clocks(names: list[str]) -> dict[str, list[str]]:
    """The names grouped by equal files: the first name of each group, with all of them."""
    groups: dict[bytes, list[str]] = {}
    for name in names:
        groups.setdefault(zone_file(name), []).append(name)
    return {group[0]: group for group in groups.values()}


def jumps_of(name: str) -> list[Jump]:
    """All changes of the offset of a zone in 1970-2040, in order."""
    times, offsets = _explicit(zone_file(name))
    info = zoneinfo.ZoneInfo(name)
    found = [
        Jump(at, before, after)
        for at, (before, after) in zip(times, itertools.pairwise(offsets), strict=True)
        if before != after and BEGIN <= at < END
    ]
    if b"," not in zone_file(name).rsplit(b"\n", 2)[1]:
        return found  # no rule for the years behind the last transition
    return found + _asked(info, max(times[-1] if times else BEGIN, BEGIN))


def _explicit(data: bytes) -> tuple[list[int], list[int]]:
    """The transition times of the 64-bit part; the offset before the first and the one from each on."""
    counts = struct.unpack(">6l", data[20:44])
    is_utc, is_std, leaps, times, kinds, letters = counts
    at = 44 + times * 5 + kinds * 6 + letters + leaps * 8 + is_std + is_utc
    is_utc, is_std, leaps, times, kinds, letters = struct.unpack(">6l", data[at + 20 : at + 44])
    at += 44
    instants = list(struct.unpack(f">{times}q", data[at : at + 8 * times]))
    which = data[at + 8 * times : at + 9 * times]
    at += 9 * times
    offsets = [struct.unpack(">l", data[at + 6 * n : at + 6 * n + 4])[0] for n in range(kinds)]
    return instants, [offsets[n] for n in (0, *which)]


def _asked(info: zoneinfo.ZoneInfo, start: int) -> list[Jump]:
    """The changes after `start`, by asking for each day and halving the days that differ."""
    found = []
    before = _offset(info, start)
    for day in range(start + DAY, END, DAY):
        after = _offset(info, day)
        if after == before:
            continue
        low, high = day - DAY, day
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(info, middle) == before else (low, middle)
        found.append(Jump(high, before, after))
        before = after
    return found


def _offset(info: zoneinfo.ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, info).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)
