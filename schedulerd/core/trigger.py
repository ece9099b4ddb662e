"""When a job fires next: cron texts, periods and single instants behind one function, with windows, calendars, jitter.

Leaves out what became of fire times: misfires, overlap, counts of runs.
"""

import bisect
import heapq
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import assert_never

from msgspec import Struct, structs

from schedulerd.core.calendars import opens_after, refusal
from schedulerd.core.cron import has_hash, parse
from schedulerd.core.search import instants_between, next_instant
from schedulerd.core.stable import stable_hash
from schedulerd.core.zones import from_seconds, to_seconds, wall_text, zone
from schedulerd.model.job import At, Cron, Every, Fold, Gap, Job, Manual
from schedulerd.model.run import SkipReason

_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_FEW = 16  # fire times asked for singly, out of the shared cache, before walking in bulk
_MOST_EXCLUDED = 20_000  # excluded stretches that one search for a run gets through


class FireTime(Struct, frozen=True):
    """One fire time of a job."""

    instant: datetime  # aware, UTC
    nominal: str | None = None  # `2026-03-29T02:30:00`: the wall time in a gap that this instant stands for
    skip: SkipReason | None = None  # GAP or CALENDAR: it never becomes a run
    delay: timedelta = timedelta()  # jitter: so much later the run starts

    @property
    def due(self) -> datetime:
        """When the run starts, or the skip is recorded."""
        return self.instant + self.delay


def next_fire(job: Job, anchor: datetime | None, after: datetime) -> FireTime | None:
    """First fire time of `job` strictly later than `after` (aware); None when there is none.

    `anchor` is what an `Every` counts from (the ledger keeps it; see `first_anchor`) and is ignored by all
    others; an `Every` without one never fires. Several expressions are one trigger: an instant that two of
    them name comes once. Outside `start` and `end` there are no fire times; those that a calendar or
    `dst_gap` excludes are marked as skips; `max_runs` is not looked at, it counts runs. Raises CronError or
    UnknownZone only for a job that the job table should have refused.
    """
    fire = _next_plain(job, anchor, after)
    if fire is None or not has_policies(job):
        return fire
    return _finished(job, fire, _next_plain(job, anchor, fire.instant) if job.jitter else None)


def next_run(job: Job, anchor: datetime | None, after: datetime) -> FireTime | None:
    """As `next_fire`, but the first fire time that is not excluded beforehand: what people wait for."""
    for _ in range(_MOST_EXCLUDED):
        fire = next_fire(job, anchor, after)
        if fire is None or fire.skip is None:
            return fire
        after = fire.instant
        if fire.skip is SkipReason.CALENDAR and not _is_from_end(job):
            opening = opens_after(job, after)
            if opening is None:
                return None
            after = max(after, opening - _MICROSECOND)
        elif _is_from_end(job):
            anchor = after  # an excluded one is passed over: the next counts from it
    return None


def fires_between(job: Job, anchor: datetime | None, after: datetime, until: datetime) -> Iterator[FireTime]:
    """Every fire time in (after, until], in order: what asking `next_fire` again and again gives."""
    plain = _plain_between(job, anchor, after, until)
    if not has_policies(job):
        return plain
    return _finished_between(job, anchor, plain)


def first_anchor(job: Job, now: datetime) -> datetime | None:
    """What a job that is new, or has a new trigger, counts from; None for what is no `Every`."""
    trigger = job.trigger
    if not isinstance(trigger, Every):
        return None
    if trigger.anchor is None:
        return default_anchor(now, job.name, trigger.period)
    if trigger.is_from_end and now > trigger.anchor:  # only one period is ever counted from it
        return trigger.anchor + (now - trigger.anchor) // trigger.period * trigger.period
    return trigger.anchor


def is_finite(job: Job) -> bool:
    """Whether a job without another fire time is over, rather than waiting for a boot or an operator."""
    if isinstance(job.trigger, Cron):
        return not job.trigger.is_at_boot
    return not isinstance(job.trigger, Manual)


def is_inside(job: Job, instant: datetime) -> bool:
    """Whether `start` and `end` let there be a fire time at `instant`; both are inside."""
    return (job.start is None or job.start <= instant) and (job.end is None or instant <= job.end)


def default_anchor(first_seen: datetime, name: str, period: timedelta) -> datetime:
    """What a new `Every` job counts from: when it was first seen + a stable hash of its name mod the period.

    So a thousand jobs read together do not fire in step. Whole seconds where the period allows it (it is part
    of every run's name). Kept in the ledger; never worked out again for a job that has one. The first fire is
    anchor + period.
    """
    unit = timedelta(seconds=1) if period >= timedelta(seconds=1) else _MICROSECOND
    seen = first_seen.astimezone(UTC)
    if unit != _MICROSECOND:
        seen = seen.replace(microsecond=0)
    return seen + stable_hash(name, "every") % (period // unit) * unit


def first_mark(job: Job, first_seen: datetime) -> datetime:
    """The high-water mark of a job without one: nothing before it was first seen is a fire time.

    Save for an `At`: an instant that is already past meets the misfire policy once, so its mark lies just
    before the first instant. (An `At` whose instants were edited keeps its mark; give `due` only instants
    without a slot row.)
    """
    if isinstance(job.trigger, At) and job.trigger.instants:
        return min(first_seen, job.trigger.instants[0] - _MICROSECOND)
    return first_seen


def _next_plain(job: Job, anchor: datetime | None, after: datetime) -> FireTime | None:
    """The next instant of the trigger inside the window, without calendars, `dst_gap` and jitter."""
    if job.start is not None and after < job.start:
        after = job.start - _MICROSECOND
    fire = _next_instant(job, anchor, after)
    return fire if fire is None or job.end is None or fire.instant <= job.end else None


def _next_instant(job: Job, anchor: datetime | None, after: datetime) -> FireTime | None:
    trigger = job.trigger
    match trigger:
        case Cron(expressions=expressions):
            name = job.name if any(map(has_hash, expressions)) else ""
            return _next_cron(expressions, job.timezone, name, job.dst_fold, to_seconds(after))
        case Every(period=period, is_from_end=is_from_end):
            if anchor is None or (is_from_end and after >= anchor + period):
                return None
            return _next_every(anchor, period, after)
        case At(instants=instants):
            place = bisect.bisect_right(instants, after)
            return FireTime(instants[place]) if place < len(instants) else None
        case Manual():
            return None
        case _:
            assert_never(trigger)


def _plain_between(job: Job, anchor: datetime | None, after: datetime, until: datetime) -> Iterator[FireTime]:
    """As `fires_between`, without calendars, `dst_gap` and jitter."""
    for _ in range(_FEW):
        fire = _next_plain(job, anchor, after)
        if fire is None or fire.instant > until:
            return
        yield fire
        after = fire.instant
    if isinstance(job.trigger, Cron):
        until = until if job.end is None else min(until, job.end)
        where, start, end = zone(job.timezone), to_seconds(after), to_seconds(until)
        rows = [
            instants_between(parse(expression, job.name), where, start, end, job.dst_fold)
            for expression in job.trigger.expressions
        ]
        if len(rows) == 1:
            yield from map(_fire_time, rows[0])
            return
        for _, same in itertools.groupby(heapq.merge(*rows, key=_instant_of), key=_instant_of):
            yield _fire_time(min(same, key=_is_moved))
        return
    while (fire := _next_plain(job, anchor, after)) is not None and fire.instant <= until:
        yield fire
        after = fire.instant


def has_policies(job: Job) -> bool:
    """Whether a plain fire time may still be excluded or delayed."""
    return bool(job.calendars or job.excluded or job.jitter) or job.dst_gap is Gap.SKIP


def _finished_between(job: Job, anchor: datetime | None, plain: Iterator[FireTime]) -> Iterator[FireTime]:
    fire = next(plain, None)
    while fire is not None:
        following = next(plain, None)
        behind = following
        if behind is None and job.jitter:
            behind = _next_plain(job, anchor, fire.instant)
        yield _finished(job, fire, behind)
        fire = following


def _finished(job: Job, fire: FireTime, following: FireTime | None) -> FireTime:
    """`fire` with what `dst_gap`, the calendars and the jitter make of it; `following` is needed for jitter alone."""
    if refusal(job, fire.instant) is not None:
        return structs.replace(fire, skip=SkipReason.CALENDAR)
    if job.dst_gap is Gap.SKIP and fire.nominal is not None:
        return structs.replace(fire, skip=SkipReason.GAP)
    if not job.jitter:
        return fire
    room = job.jitter if following is None else min(job.jitter, following.instant - fire.instant)
    drawn = stable_hash(job.name, "jitter", fire.instant.isoformat()) % max(1, room // _MILLISECOND)
    return structs.replace(fire, delay=drawn * _MILLISECOND)


def _is_from_end(job: Job) -> bool:
    return isinstance(job.trigger, Every) and job.trigger.is_from_end


@lru_cache(maxsize=1 << 14)
def _next_cron(
    expressions: tuple[str, ...], timezone: str, name: str, fold: Fold, after: int
) -> FireTime | None:
    """Shared by all jobs that have the same expressions and zone; `name` is empty unless an `H` needs it."""
    where = zone(timezone)
    found = [next_instant(parse(expression, name), where, after, fold) for expression in expressions]
    best = min((fire for fire in found if fire is not None), key=_earliest, default=None)
    return None if best is None else _fire_time(best)


def _earliest(fire: tuple[int, int | None]) -> tuple[int, bool]:
    """Orders by instant; at the same one a match of its own stands before one moved out of a gap."""
    return fire[0], _is_moved(fire)


def _is_moved(fire: tuple[int, int | None]) -> bool:
    return fire[1] is not None


def _instant_of(fire: tuple[int, int | None]) -> int:
    return fire[0]


def _fire_time(fire: tuple[int, int | None]) -> FireTime:
    instant, nominal = fire
    return FireTime(from_seconds(instant), None if nominal is None else wall_text(nominal))


def _next_every(anchor: datetime, period: timedelta, after: datetime) -> FireTime:
    passed = (after - anchor) // period
    return FireTime((anchor + max(1, passed + 1) * period).astimezone(UTC))
