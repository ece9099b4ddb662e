"""Wall time -> instants: which zone, where its clock jumps, and what a jump does to a fire time.

All searching is in whole seconds since 1970 UTC ("instants") and whole seconds of the wall clock counted the
same way ("walls"); a zone is a row of segments with one offset each. Segments are found by asking zoneinfo
and kept, so that between jumps no zoneinfo call is made. Knows nothing of cron text: what it searches is any
`Walls`.
"""

import difflib
import enum
import itertools
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from schedulerd.errors import SchedulerdError

_DAY = 86_400
LONGEST_CATCH_UP = 3 * 3600  # a jump forward of more is a correction of the calendar: nothing is made up for
HORIZON = 100 * 366 * _DAY  # how far one search looks; no expression is rarer than once in 40 years
_CELL_BITS = 25  # segments are found and kept for 2^25 s (388 days) at a time
_PROBE = 1 << 18  # 73 h: no zone has ever changed its offset twice within 95 h
_FIRST = -62_135_596_800 + 2 * _DAY  # 0001-01-03: far enough in for every offset
_LAST = 253_402_300_799 - 2 * _DAY  # 9999-12-29
_NOWHERE = {"localtime", "posixrules", "Factory"}


class UnknownZone(SchedulerdError, ValueError):
    """The name is no IANA zone of this host; `near` holds the nearest names."""

    def __init__(self, name: str, near: tuple[str, ...]) -> None:
        did = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f'timezone "{name}" is not a zone of the IANA database{did}')
        self.name = name
        self.near = near


class Fold(enum.Enum):
    """Which pass of a wall time that comes twice a fixed fire time takes."""

    FIRST = "first"
    LAST = "last"
    BOTH = "both"


class Walls(Protocol):
    """Matching wall times of one expression."""

    @property
    def is_fixed(self) -> bool:
        """Whether it names times of day, rather than following real time."""

    def next_wall(self, wall: int) -> int | None:
        """The first match at or after `wall`; None when there is none before the calendar ends."""

    def walls_between(self, first: int, end: int) -> Iterator[int]:
        """Every match in first..end-1, in order."""


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
        inside = min(max(instant, _FIRST), _LAST)
        offset = datetime.fromtimestamp(inside, self.info).utcoffset()
        assert offset is not None
        return offset.days * _DAY + offset.seconds

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


def next_instant(
    walls: Walls, where: Zone, after: int, fold: Fold = Fold.FIRST
) -> tuple[int, int | None] | None:
    """First fire time strictly after the instant `after`, with the wall it was moved from; None = none ahead.

    A fixed wall that a jump forward of at most three hours skips fires at the first instant after it (all
    walls of one gap together, once); the second part of the answer is then the first of those walls, and None
    if that instant is a match of its own. A fixed wall that comes twice fires as `fold` says. All else
    follows real time: never in a gap, in both passes of a fold. Looks at most HORIZON ahead and walks at most
    two segments a year.
    """
    begin = instant = max(after + 1, _FIRST)
    limit = min(begin + HORIZON, _LAST)
    known_from = known = 0  # no wall in known_from..known-1 matches, `known` does; nothing known yet
    while instant < limit:
        segment = where.segment(instant)
        moved = _moved(walls, segment) if segment.gap and instant == segment.start else None
        if moved is not None:
            return moved
        wall, end = _reach(walls, segment, instant, fold)
        if not known_from <= wall <= known:
            found = walls.next_wall(wall)
            if found is None:
                return None
            known_from, known = wall, found
        if known < end:
            return known - segment.offset, None
        instant = segment.end
        # Walls before `known` cannot match again once every fold that could repeat them is behind.
        if instant - begin > 2 * _DAY and known - segment.offset - 2 * _DAY > instant:
            instant = known - segment.offset - 2 * _DAY
    return None


def instants_between(
    walls: Walls, where: Zone, after: int, until: int, fold: Fold = Fold.FIRST
) -> Iterator[tuple[int, int | None]]:
    """Every answer of `next_instant` in (after, until], in order; made for many: a tenth of the cost each."""
    instant, last = max(after + 1, _FIRST), min(until, _LAST)
    while instant <= last:
        segment = where.segment(instant)
        moved = _moved(walls, segment) if segment.gap and instant == segment.start else None
        if moved is not None:
            yield moved
            instant += 1
        wall, end = _reach(walls, segment, instant, fold)
        offset = segment.offset
        for found in walls.walls_between(wall, min(end, last + 1 + offset)):
            yield found - offset, None
        instant = segment.end


def _moved(walls: Walls, segment: Segment) -> tuple[int, int | None] | None:
    """What the gap before `segment` moves to its start; without a wall if that instant matches by itself."""
    if not walls.is_fixed or segment.gap > LONGEST_CATCH_UP:
        return None
    wall = segment.start + segment.offset
    skipped = walls.next_wall(wall - segment.gap)
    if skipped is None or skipped >= wall:
        return None
    return segment.start, None if walls.next_wall(wall) == wall else skipped


def _reach(walls: Walls, segment: Segment, instant: int, fold: Fold) -> tuple[int, int]:
    """The walls, first and behind the last, of `segment` from `instant` on in which `walls` may fire."""
    first, end = instant, segment.end
    if walls.is_fixed:
        if fold is Fold.FIRST:
            first = max(first, segment.again_until)
        elif fold is Fold.LAST:
            end = segment.twice_from
    return first + segment.offset, end + segment.offset


def to_seconds(moment: datetime) -> int:
    """Whole seconds since 1970 UTC, rounded down; `moment` is aware."""
    delta = moment - _EPOCH
    return delta.days * _DAY + delta.seconds


def from_seconds(instant: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return datetime.fromtimestamp(instant, UTC)


def wall_text(wall: int) -> str:
    """`2026-03-29T02:30:00`: a wall time as people read it, without a zone."""
    return datetime.fromtimestamp(wall, UTC).replace(tzinfo=None).isoformat()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
