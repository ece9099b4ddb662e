"""What becomes of the fire times that have passed: run on time, caught up with, or skipped and why.

A pure function of the job, the mark and now. Leaves overlap, rate limits and rows to others.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from schedulerd.core import counting
from schedulerd.core.trigger import FireTime, fires_between, next_fire
from schedulerd.model.job import Job, Misfire

MISSED_AFTER = timedelta(seconds=10)  # found later than this after it was due, a fire time was missed

PAUSED = "paused"
MISFIRE = "misfire"
TOO_OLD = "too_old"


class SkipRange(Struct, frozen=True, kw_only=True):
    """Consecutive fire times that did not fire for one reason; `count` includes `first` and `last`."""

    first: datetime
    last: datetime
    count: int
    reason: str  # "paused" | "misfire" | "too_old"


class Due(Struct, frozen=True, kw_only=True):
    """What the fire times in (mark, now] become. Every one of them is in exactly one of the first three."""

    on_time: tuple[FireTime, ...]
    catchup: tuple[FireTime, ...]  # missed ones that run all the same, oldest first
    skips: tuple[SkipRange, ...]  # oldest first
    mark: datetime  # up to and with this instant everything is settled; never moves back
    next: FireTime | None  # the first one after `mark`


def due(
    job: Job,
    anchor: datetime | None,
    mark: datetime,
    now: datetime,
    *,
    is_paused: bool,
    waited: timedelta = timedelta(0),
) -> Due:
    """Settles every fire time in (mark, now], forward from the mark only; long stretches of skips are only counted.

    Those found more than MISSED_AFTER late were missed: `misfire = "once"` runs the newest if it is younger
    than `catchup`, "all" runs the newest `catchup_max` of those younger than `catchup`, "skip" none. While
    paused all are skips. What came while we ourselves `waited` was not missed. A clock that went back (now <=
    mark) settles nothing and leaves the mark where it is.
    """
    on_time: list[FireTime] = []
    young: list[FireTime] = []
    skips = _Skips()
    late = MISSED_AFTER + waited
    plan = counting.plan(job, anchor, mark, now, late, is_paused=is_paused)
    skips.add_stretch(plan.all, PAUSED if is_paused else MISFIRE)
    skips.add_stretch(plan.too_old, TOO_OLD)
    skips.add_stretch(plan.surplus, MISFIRE)
    for fire in fires_between(job, anchor, plan.start, now):
        age = now - fire.instant
        if is_paused:
            skips.add(fire, PAUSED)
        elif age <= late:
            on_time.append(fire)
        elif job.misfire is Misfire.SKIP:
            skips.add(fire, MISFIRE)
        elif age >= job.catchup:
            skips.add(fire, TOO_OLD)
        else:
            young.append(fire)
    limit = 1 if job.misfire is Misfire.ONCE else job.catchup_max
    surplus = max(0, len(young) - limit)
    for fire in young[:surplus]:
        skips.add(fire, MISFIRE)
    settled = max(mark, now)
    return Due(
        on_time=tuple(on_time),
        catchup=tuple(young[surplus:]),
        skips=skips.ranges(),
        mark=settled,
        next=next_fire(job, anchor, settled),
    )


class _Skips:
    """Joins neighbours of one reason while they come in, so that a long outage costs no memory."""

    def __init__(self) -> None:
        self._done: list[SkipRange] = []
        self._first: FireTime | None = None
        self._last: FireTime | None = None
        self._count = 0
        self._reason = ""

    def add(self, fire: FireTime, reason: str) -> None:
        if reason != self._reason:
            self._close()
            self._first, self._reason, self._count = fire, reason, 0
        self._last = fire
        self._count += 1

    def add_stretch(self, stretch: counting.Stretch | None, reason: str) -> None:
        """Many at once; None is none."""
        if stretch is not None:
            self.add(FireTime(stretch.first), reason)
            self._last = FireTime(stretch.last)
            self._count += stretch.count - 1

    def ranges(self) -> tuple[SkipRange, ...]:
        self._close()
        return tuple(self._done)

    def _close(self) -> None:
        if self._first is not None and self._last is not None:
            self._done.append(
                SkipRange(
                    first=self._first.instant,
                    last=self._last.instant,
                    count=self._count,
                    reason=self._reason,
                )
            )
        self._first, self._reason = None, ""
