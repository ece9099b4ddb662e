"""How many fire times a stretch of time has, without walking it: a week of downtime costs what an hour of it does.

Periods are arithmetic; cron expressions are counted by their masks, whole days of a month at once, and each stretch
between two jumps of the zone's clock by itself, exactly as `search.instants_between` walks it. Counts only ever go
forward. Decides nothing: what becomes of fire times stands in `misfire`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from schedulerd.core.cron import has_hash, parse
from schedulerd.core.cron_count import count_walls
from schedulerd.core.cron_walls import CronTimes
from schedulerd.core.search import Fold, instants_between, moved_to, reach
from schedulerd.core.trigger import has_policies, next_fire
from schedulerd.core.zones import FIRST, LAST, Zone, from_seconds, to_seconds, zone
from schedulerd.model.job import Cron, Every, Job, Misfire

_FEW = 64  # fire times that are walked rather than counted
_MICROSECOND = timedelta(microseconds=1)


class Stretch(Struct, frozen=True, kw_only=True):
    """Consecutive fire times; `count` includes `first` and `last`."""

    first: datetime
    last: datetime
    count: int


class Plan(Struct, frozen=True, kw_only=True):
    """Where a long (mark, now] is cut: stretches that are skipped for certain, and from where on to look singly."""

    all: Stretch | None = None  # paused, or missed with `misfire = "skip"`
    too_old: Stretch | None = None
    surplus: Stretch | None = None  # young enough, but more than may run
    start: datetime  # everything later is to be walked


def plan(
    job: Job, anchor: datetime | None, mark: datetime, now: datetime, late: timedelta, *, is_paused: bool
) -> Plan:
    """What of (mark, now] need not be looked at singly; those at most `late` behind always are, unless paused.

    For a job whose fire times cannot be counted, or are few, nothing is cut off.
    """
    first = next_fire(job, anchor, mark)
    if first is None or now - first.instant <= late:  # nothing was missed: nearly always
        return Plan(start=mark)
    if not is_countable(job) or count(job, anchor, mark, now) <= _FEW:
        return Plan(start=mark)
    missed = now - late - _MICROSECOND  # up to here
    if is_paused or job.misfire is Misfire.SKIP:
        end = now if is_paused else max(mark, missed)
        return Plan(all=_stretch(job, anchor, mark, end), start=end)
    if missed <= mark:
        return Plan(start=mark)
    old = max(mark, min(now - job.catchup, missed))
    limit = 1 if job.misfire is Misfire.ONCE else job.catchup_max
    young = newest_after(job, anchor, old, missed, limit)
    return Plan(
        too_old=_stretch(job, anchor, mark, old), surplus=_stretch(job, anchor, old, young), start=young
    )


def is_countable(job: Job) -> bool:
    """Whether `count` knows this kind of job.

    A list of expressions may name an instant twice, and is walked; so is what windows, calendars, jitter or choices
    about the clock's jumps have a say in.
    """
    is_limited = job.start is not None or job.end is not None or job.dst_fold is not Fold.FIRST
    if is_limited or has_policies(job):
        return False
    match job.trigger:
        case Cron(expressions=expressions):
            return len(expressions) == 1
        case Every(is_from_end=is_from_end):
            return not is_from_end
        case _:
            return False


def count(job: Job, anchor: datetime | None, after: datetime, until: datetime) -> int:
    """Number of fire times in (after, until] of a countable job."""
    if until <= after:
        return 0
    match job.trigger:
        case Every(period=period):
            if anchor is None:
                return 0
            return max(0, (until - anchor) // period) - max(0, (after - anchor) // period)
        case Cron(expressions=(expression,)):
            name = job.name if has_hash(expression) else ""
            return _count_cron(expression, job.timezone, name, to_seconds(after), to_seconds(until))
    raise AssertionError(f"the fire times of {job.name} cannot be counted")


def newest_after(job: Job, anchor: datetime | None, after: datetime, until: datetime, limit: int) -> datetime:
    """The latest instant, not before `after`, behind which at least the `limit` newest of (after, until] lie.

    Exactly those, if there are so many. Found by halving and counting forward.
    """
    if until <= after or count(job, anchor, after, until) <= limit:
        return after
    if isinstance(job.trigger, Cron):
        expression = job.trigger.expressions[0]
        name = job.name if has_hash(expression) else ""
        found = _newest_cron(expression, job.timezone, name, to_seconds(after), to_seconds(until), limit)
        return max(after, from_seconds(found))
    assert isinstance(job.trigger, Every)
    assert anchor is not None
    last = (until - anchor) // job.trigger.period
    return max(after, anchor + (last - limit) * job.trigger.period)


def _stretch(job: Job, anchor: datetime | None, after: datetime, until: datetime) -> Stretch | None:
    """All fire times in (after, until]; None when there are none."""
    number = count(job, anchor, after, until)
    if number == 0:
        return None
    first = next_fire(job, anchor, after)
    last = next_fire(job, anchor, newest_after(job, anchor, after, until, 1))
    assert first is not None
    assert last is not None
    return Stretch(first=first.instant, last=last.instant, count=number)


@lru_cache(maxsize=1 << 12)
def _newest_cron(expression: str, timezone: str, name: str, after: int, until: int, limit: int) -> int:
    """The latest second behind which `limit` fire times are left up to `until`; there are more after `after`."""
    if limit == 0:
        return until
    walls, where = parse(expression, name), zone(timezone)
    low, high = until - 60 * limit, until  # stretches at the end, made wider until one holds enough
    number = 0
    while low > after and (number := _tally(walls, where, low, until)) < limit:
        low, high = until - 4 * (until - low), low
    if low > after and number <= 8 * limit + _FEW:
        return [instant for instant, _ in instants_between(walls, where, low, until)][-limit] - 1
    low = max(low, after)
    while high - low > 1:
        middle = (low + high) // 2
        if _tally(walls, where, middle, until) >= limit:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=1 << 14)
def _count_cron(expression: str, timezone: str, name: str, after: int, until: int) -> int:
    """Shared by all jobs of one expression and zone whose marks are alike; `name` is empty without an `H`."""
    return _tally(parse(expression, name), zone(timezone), after, until)


def _tally(walls: CronTimes, where: Zone, after: int, until: int) -> int:
    return sum(_tallies(walls, where, after, until))


def _tallies(walls: CronTimes, where: Zone, after: int, until: int) -> Iterator[int]:
    """The length of `search.instants_between`, segment by segment."""
    instant, last = max(after + 1, FIRST), min(until, LAST)
    while instant <= last:
        segment = where.segment(instant)
        if segment.gap and instant == segment.start and moved_to(walls, segment) is not None:
            yield 1
            instant += 1
        wall, end = reach(walls, segment, instant, Fold.FIRST)
        yield count_walls(walls, wall, min(end, last + 1 + segment.offset))
        instant = segment.end
