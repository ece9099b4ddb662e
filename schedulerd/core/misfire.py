"""What becomes of the fire times that have passed: run on time, caught up with, or skipped and why.

A pure function of the job, the mark and now. Leaves overlap, rate limits and rows to others.
"""

from collections import deque
from datetime import datetime, timedelta

from msgspec import Struct

from schedulerd.core import counting
from schedulerd.core.trigger import FireTime, fires_between, next_fire
from schedulerd.model.job import Job, Misfire

MISSED_AFTER = timedelta(seconds=10)  # found later than this after it was due, a fire time was missed

_NONE = timedelta()
_MICROSECOND = timedelta(microseconds=1)

PAUSED = "paused"
MISFIRE = "misfire"
TOO_OLD = "too_old"


class SkipRange(Struct, frozen=True, kw_only=True):
    """Consecutive fire times that did not fire for one reason; `count` includes `first` and `last`."""

    first: datetime
    last: datetime
    count: int
    reason: str  # "paused" | "misfire" | "too_old" | "calendar" | "gap"


class Due(Struct, frozen=True, kw_only=True):
    """What the fire times in (mark, now] become. Every one of them is in exactly one of the first three."""

    on_time: tuple[FireTime, ...]
    catchup: tuple[FireTime, ...]  # missed ones that run all the same, oldest first
    skips: tuple[SkipRange, ...]  # oldest first
    mark: datetime  # up to and with this instant everything is settled; never moves back
    next: FireTime | None  # the first one after `mark`; it may have passed and wait for its jitter


def due(
    job: Job,
    anchor: datetime | None,
    mark: datetime,
    now: datetime,
    *,
    is_paused: bool,
    waited: timedelta = timedelta(0),
) -> Due:
    """Settles every fire time in (mark, now] whose jitter is over; long stretches of skips are only counted.

    Those found more than MISSED_AFTER late were missed: `misfire = "once"` runs the newest if it is younger
    than `catchup`, "all" runs the newest `catchup_max` of those younger than `catchup`, "skip" none. While
    paused all are skips; those that a calendar or `dst_gap` excludes are in any case. What came while we
    ourselves `waited` was not missed. A clock that went back (now <= mark) settles nothing and leaves the mark
    where it is.
    """
    on_time: list[FireTime] = []
    young: deque[tuple[int, FireTime]] = deque()
    skips = _Skips()
    waiting: FireTime | None = None
    late = MISSED_AFTER + waited
    limit = 1 if job.misfire is Misfire.ONCE else job.catchup_max
    plan = counting.plan(job, anchor, mark, now, late, is_paused=is_paused)
    skips.add_stretch(0, plan.all, PAUSED if is_paused else MISFIRE)
    skips.add_stretch(0 if plan.surplus is None else -1, plan.too_old, TOO_OLD)
    skips.add_stretch(0, plan.surplus, MISFIRE)
    for place, fire in enumerate(fires_between(job, anchor, plan.start, now), 1):
        age = now - fire.due
        if age < _NONE:  # jitter never reaches the next fire time, so this is the newest
            waiting = fire
        elif is_paused:
            skips.add(place, fire, PAUSED)
        elif fire.skip is not None:
            skips.add(place, fire, fire.skip.value)
        elif age <= late:
            on_time.append(fire)
        elif job.misfire is Misfire.SKIP:
            skips.add(place, fire, MISFIRE)
        elif age >= job.catchup:
            skips.add(place, fire, TOO_OLD)
        else:
            young.append((place, fire))
            if len(young) > limit:
                skips.add(*young.popleft(), MISFIRE)
    settled = max(mark, now) if waiting is None else waiting.instant - _MICROSECOND
    return Due(
        on_time=tuple(on_time),
        catchup=tuple(fire for _, fire in young),
        skips=skips.ranges(),
        mark=settled,
        next=next_fire(job, anchor, settled) if waiting is None else waiting,
    )


class _Skips:
    """Joins neighbours of one reason while they come in, so that a long outage costs no memory.

    Each reason gets its fire times in order, with their places among all: what lies between two of one reason and is
    no skip, or one of another reason, keeps them apart.
    """

    def __init__(self) -> None:
        self._done: list[SkipRange] = []
        self._open: dict[str, _Open] = {}

    def add(self, place: int, fire: FireTime, reason: str) -> None:
        """The fire time at that place did not fire for `reason`."""
        self._add(place, fire.instant, fire.instant, 1, reason)

    def add_stretch(self, place: int, stretch: counting.Stretch | None, reason: str) -> None:
        """Many at once, which together take one place; None is none."""
        if stretch is not None:
            self._add(place, stretch.first, stretch.last, stretch.count, reason)

    def ranges(self) -> tuple[SkipRange, ...]:
        """All of them, oldest first."""
        for reason in list(self._open):
            self._close(reason)
        return tuple(sorted(self._done, key=lambda found: found.first))

    def _add(self, place: int, first: datetime, last: datetime, count: int, reason: str) -> None:
        found = self._open.get(reason)
        if found is not None and found.place == place - 1:
            found.last, found.place, found.count = last, place, found.count + count
            return
        if found is not None:
            self._close(reason)
        self._open[reason] = _Open(first, last, count, place)

    def _close(self, reason: str) -> None:
        found = self._open.pop(reason)
        self._done.append(SkipRange(first=found.first, last=found.last, count=found.count, reason=reason))


class _Open(Struct):
    """A range that may still grow."""

    first: datetime
    last: datetime
    count: int
    place: int  # of `last` among all fire times
