"""Which changes of a zone's clock in the next two years move, skip or repeat the times of a cron expression."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from schedulerd.core.cron import CronTimes, has_hash, parse
from schedulerd.core.search import LONGEST_CATCH_UP
from schedulerd.core.zones import DAY, Zone, to_seconds, wall_text, zone

AHEAD = timedelta(days=2 * 366)


class Jump(NamedTuple):
    """A change of a zone's clock."""

    before: int  # what the clock would have shown at that instant, as a wall
    after: int  # what it showed

    @property
    def is_gap(self) -> bool:
        """The clock went forward: walls from `before` on, up to `after`, did not exist; else they came twice."""
        return self.after > self.before


def clock_warnings(expression: str, name: str, timezone: str, now: datetime) -> Iterable[tuple[str, str]]:
    """(the key that decides it, sentence) for the job called `name`; nothing where every change passes it by."""
    day = to_seconds(now) // DAY * DAY
    return _warnings(expression, name if has_hash(expression) else "", timezone, day)


@lru_cache(maxsize=1 << 14)
def _warnings(expression: str, name: str, timezone: str, start: int) -> tuple[tuple[str, str], ...]:
    jumps = jumps_of(zone(timezone), start)
    if not jumps:
        return ()
    times = parse(expression, name)
    if not times.is_fixed and _has_every_hour(times):
        return ()  # follows real time all day: a change leaves nothing out that anybody would miss
    found = []
    gaps = [(wall, jump) for jump in jumps if jump.is_gap for wall in _first(times, jump.before, jump.after)]
    folds = [
        (wall, jump) for jump in jumps if not jump.is_gap for wall in _first(times, jump.after, jump.before)
    ]
    if gaps:
        found.append(("dst_gap", _gap_text(expression, times, timezone, gaps)))
    if folds:
        found.append(("dst_fold", _fold_text(expression, times, timezone, folds)))
    return tuple(found)


@lru_cache(maxsize=1024)
def jumps_of(where: Zone, start: int) -> tuple[Jump, ...]:
    """The changes of the zone's clock in two years from `start` (seconds since 1970)."""
    found = []
    segment = where.segment(start)
    while segment.end < start + AHEAD // timedelta(seconds=1):
        following = where.segment(segment.end)
        if following.offset != segment.offset:
            found.append(Jump(following.start + segment.offset, following.start + following.offset))
        segment = following
    return tuple(found)


def _first(times: CronTimes, begin: int, end: int) -> Iterator[int]:
    """The first matching wall in begin..end-1, if there is one."""
    wall = times.next_wall(begin)
    if wall is not None and wall < end:
        yield wall


def _has_every_hour(times: CronTimes) -> bool:
    return times.hours == (1 << 24) - 1


def _gap_text(expression: str, times: CronTimes, timezone: str, gaps: list[tuple[int, Jump]]) -> str:
    wall, jump = gaps[0]
    dates = _dates([wall for wall, _ in gaps])
    text = (
        f'"{expression}" falls into the time that {timezone} skips on {dates}: {_clock(wall)} does not exist'
    )
    if not times.is_fixed:
        return f"{text}, and it does not fire in the gap"
    if jump.after - jump.before > LONGEST_CATCH_UP:
        return f"{text}, and the jump is too long to make up for"
    return f"{text}, it fires at {_clock(jump.after)} (see dst_gap)"


def _fold_text(expression: str, times: CronTimes, timezone: str, folds: list[tuple[int, Jump]]) -> str:
    wall, _ = folds[0]
    dates = _dates([wall for wall, _ in folds])
    text = (
        f'"{expression}" falls into the time that {timezone} has twice on {dates}: {_clock(wall)} comes twice'
    )
    if not times.is_fixed:
        return f"{text}, and it fires both times"
    return f"{text}, it fires the first time (see dst_fold)"


def _dates(walls: Iterable[int]) -> str:
    dates = list(dict.fromkeys(wall_text(wall)[:10] for wall in walls))
    return dates[0] if len(dates) == 1 else f"{', '.join(dates[:-1])} and {dates[-1]}"


def _clock(wall: int) -> str:
    text = wall_text(wall)[11:]
    return text.removesuffix(":00") if text.count(":") == 2 else text
