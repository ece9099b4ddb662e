"""A zone's clock: which zone, where it jumps, and which instant a wall time is.

Instants are whole seconds since 1970 UTC, walls whole seconds of the wall clock counted the same way; a zone
is a row of segments with one offset each. Segments are found by asking zoneinfo and kept, so that between
jumps no zoneinfo call is made. What a jump does to fire times is decided in `search`.
"""

import difflib
import itertools
import zoneinfo
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct

from schedulerd.errors import SchedulerdError

DAY = 86_400
_CELL_BITS = 25  # segments are found and kept for 2^25 s (388 days) at a time
_PROBE = 1 << 18  # 73 h: no zone has ever changed its offset twice within 95 h
FIRST = -62_135_596_800 + 2 * DAY  # 0001-01-03: far enough in for every offset
LAST = 253_402_300_799 - 2 * DAY  # 9999-12-29
_NOWHERE = {"localtime", "posixrules", "Factory"}


class UnknownZone(SchedulerdError, ValueError):
    """The name is no IANA zone of this host; `near` holds the nearest names."""

    def __init__(self, name: str, near: tuple[str, ...]) -> None:
        did = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f'timezone "{name}" is not a zone of the IANA database{did}')
        self.name = name
        self.near = near


class Segment(Struct, frozen=True):
    """A stretch of instants with one offset (wall = instant + offset), and what the jumps around it do."""

    start: int
    end: int
    offset: int
    gap: int  # seconds of wall that were skipped right before `start`; 0 for none
    again_until: int  # instants before this show walls for the second time
    twice_from: int  # instants from this on show walls that will come a second time


class Zone:
    """One zone's clock. Grows its segments as they are asked for; the same for everybody, so shared."""

    __slots__ = ("_cells", "info", "name")

    def __init__(self, name: str, info: zoneinfo.ZoneInfo) -> None:
        self.name = name
        self.info = info
        self._cells: dict[int, tuple[Segment, ...]] = {}

    def segment(self, instant: int) -> Segment:
        """The segment that holds `instant`."""
        cell = self._cells.get(instant >> _CELL_BITS)
        if cell is None:
            cell = self._cells[instant >> _CELL_BITS] = self._find(instant >> _CELL_BITS)
        for segment in cell:
            if instant < segment.end:
                return segment
        raise AssertionError("a cell covers its instants")

    def aware(self, instant: int) -> datetime:
        """The instant as an aware datetime of this zone, `fold` set in the second pass."""
        return datetime.fromtimestamp(instant, self.info)

    def _offset(self, instant: int) -> int:
        inside = min(max(instant, FIRST), LAST)
        offset = datetime.fromtimestamp(inside, self.info).utcoffset()
        assert offset is not None
        return offset.days * DAY + offset.seconds

    def _find(self, index: int) -> tuple[Segment, ...]:
        """The segments of one cell. Looks past its edges, so that a jump just outside is known inside."""
        start, end = index << _CELL_BITS, (index + 1) << _CELL_BITS
        jumps = self._jumps(start - _PROBE, end + _PROBE)
        edges = [start, *(at for at, _ in jumps if start < at < end), end]
        found = []
        for first, last in itertools.pairwise(edges):
            gap, again_until, twice_from = 0, first, last
            for at, size in jumps:
                if at == first and size > 0:
                    gap = size
                elif at <= first and size < 0:
                    again_until = max(first, at - size)
                elif at >= last and size < 0:
                    twice_from = min(twice_from, at + size)
            found.append(Segment(first, last, self._offset(first), gap, again_until, max(first, twice_from)))
        return tuple(found)

    def _jumps(self, start: int, end: int) -> list[tuple[int, int]]:
        """(instant, seconds) of each change of the offset in (start, end]: probed, then halved."""
        offset = self._offset(start)
        jumps = []
        for probe in range(start + _PROBE, end + 1, _PROBE):
            there = self._offset(probe)
            if there == offset:
                continue
            low, high = probe - _PROBE, probe
            while high - low > 1:
                middle = (low + high) // 2
                if self._offset(middle) == offset:
                    low = middle
                else:
                    high = middle
            jumps.append((high, there - offset))
            offset = there
        return jumps


@lru_cache(maxsize=2048)
def zone(name: str) -> Zone:
    """The zone called `name`. Raises UnknownZone."""
    if name not in _NOWHERE and not name.startswith(("posix/", "right/", "/", ".")):
        try:
            return Zone(name, zoneinfo.ZoneInfo(name))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise UnknownZone(name, _nearest_names(name))


def _nearest_names(name: str) -> tuple[str, ...]:
    """Up to three names like `name`: by the whole name, by its last part, in any case."""
    known = {known.lower(): known for known in sorted(zoneinfo.available_timezones() - _NOWHERE)}
    wanted = name.lower().replace(" ", "_")
    found = [known[near] for near in difflib.get_close_matches(wanted, known, n=3, cutoff=0.75)]
    if not found and wanted:
        cities: dict[str, str] = {}
        for lower, spelled in known.items():
            cities.setdefault(lower.rsplit("/", 1)[-1], spelled)
        near_cities = difflib.get_close_matches(wanted.rsplit("/", 1)[-1], cities, n=3, cutoff=0.75)
        found = [cities[near] for near in near_cities]
    return tuple(found)


def instant_of(naive: datetime, where: Zone) -> datetime:
    """The instant (aware, UTC) at which the clock of `where` shows `naive`: the first one when it shows it twice.

    A time that a jump forward skips is the first instant after the gap, however long the gap is.
    """
    early, late = (naive.replace(tzinfo=where.info, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early.astimezone(where.info).replace(tzinfo=None, fold=0) == naive.replace(fold=0):
        return early
    # in a gap `early` counts with the offset before and so lies after the jump, `late` before it
    segment = where.segment(to_seconds(early))
    return from_seconds(segment.start if segment.gap else where.segment(to_seconds(late)).end)


def to_seconds(moment: datetime) -> int:
    """Whole seconds since 1970 UTC, rounded down; `moment` is aware."""
    delta = moment - _EPOCH
    return delta.days * DAY + delta.seconds


def from_seconds(instant: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return datetime.fromtimestamp(instant, UTC)


def wall_text(wall: int) -> str:
    """`2026-03-29T02:30:00`: a wall time as people read it, without a zone."""
    return datetime.fromtimestamp(wall, UTC).replace(tzinfo=None).isoformat()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
