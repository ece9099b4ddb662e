"""Fire times of wall-clock matches in a zone: strictly after an instant, always bounded, gaps and folds included.

What happens in gaps and folds stands here and nowhere else. Knows nothing of cron text: what it searches is
any `Walls`. Instants and walls are whole seconds, as in `zones`.
"""

from collections.abc import Iterator
from typing import Protocol

from schedulerd.core.zones import DAY, FIRST, LAST, Segment, Zone
from schedulerd.model.job import Fold as Fold

LONGEST_CATCH_UP = 3 * 3600  # a jump forward of more is a correction of the calendar: nothing is made up for
HORIZON = 100 * 366 * DAY  # how far one search looks; no expression is rarer than once in 40 years


class Walls(Protocol):
    """Matching wall times of one expression."""

    @property
    def is_fixed(self) -> bool:
        """Whether it names times of day, rather than following real time."""

    def next_wall(self, wall: int) -> int | None:
        """The first match at or after `wall`; None when there is none before the calendar ends."""

    def walls_between(self, first: int, end: int) -> Iterator[int]:
        """Every match in first..end-1, in order."""


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
    begin = instant = max(after + 1, FIRST)
    limit = min(begin + HORIZON, LAST)
    known_from, known = 1, 0  # no wall in known_from..known-1 matches, `known` does; nothing known yet
    while instant < limit:
        segment = where.segment(instant)
        moved = moved_to(walls, segment) if segment.gap and instant == segment.start else None
        if moved is not None:
            return moved
        wall, end = reach(walls, segment, instant, fold)
        if not known_from <= wall <= known:
            found = walls.next_wall(wall)
            if found is None:
                return None
            known_from, known = wall, found
        if known < end:
            return known - segment.offset, None
        instant = segment.end
        # Walls before `known` cannot match again once every fold that could repeat them is behind.
        if instant - begin > 2 * DAY and known - segment.offset - 2 * DAY > instant:
            instant = known - segment.offset - 2 * DAY
    return None


def instants_between(
    walls: Walls, where: Zone, after: int, until: int, fold: Fold = Fold.FIRST
) -> Iterator[tuple[int, int | None]]:
    """Every answer of `next_instant` in (after, until], in order; made for many: a tenth of the cost each."""
    instant, last = max(after + 1, FIRST), min(until, LAST)
    while instant <= last:
        segment = where.segment(instant)
        moved = moved_to(walls, segment) if segment.gap and instant == segment.start else None
        if moved is not None:
            yield moved
            instant += 1
        wall, end = reach(walls, segment, instant, fold)
        offset = segment.offset
        for found in walls.walls_between(wall, min(end, last + 1 + offset)):
            yield found - offset, None
        instant = segment.end


def moved_to(walls: Walls, segment: Segment) -> tuple[int, int | None] | None:
    """What the gap before `segment` moves to its start; without a wall if that instant matches by itself."""
    if not walls.is_fixed or segment.gap > LONGEST_CATCH_UP:
        return None
    wall = segment.start + segment.offset
    skipped = walls.next_wall(wall - segment.gap)
    if skipped is None or skipped >= wall:
        return None
    return segment.start, None if walls.next_wall(wall) == wall else skipped


def reach(walls: Walls, segment: Segment, instant: int, fold: Fold) -> tuple[int, int]:
    """The walls, first and behind the last, of `segment` from `instant` on in which `walls` may fire."""
    first, end = instant, segment.end
    if walls.is_fixed:
        if fold is Fold.FIRST:
            first = max(first, segment.again_until)
        elif fold is Fold.LAST:
            end = segment.twice_from
    return first + segment.offset, end + segment.offset
