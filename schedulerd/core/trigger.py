"""When a job fires next: cron texts, periods and single instants behind one function. Leaves misfires out."""

import bisect
import heapq
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import assert_never

from msgspec import Struct

from schedulerd.core.cron import has_hash, parse
from schedulerd.core.search import instants_between, next_instant
from schedulerd.core.stable import stable_hash
from schedulerd.core.zones import from_seconds, to_seconds, wall_text, zone
from schedulerd.model.job import At, Cron, Every, Job, Manual

_MICROSECOND = timedelta(microseconds=1)
_FEW = 16  # fire times asked for singly, out of the shared cache, before walking in bulk


class FireTime(Struct, frozen=True):
    """One fire time of a job."""

    instant: datetime  # aware, UTC
    nominal: str | None = None  # `2026-03-29T02:30:00`: the wall time in a gap that this instant stands for


def next_fire(job: Job, anchor: datetime | None, after: datetime) -> FireTime | None:
    """First fire time of `job` strictly later than `after` (aware); None when there is none.

    `anchor` is what an `Every` counts from (the ledger keeps it; see `default_anchor`) and is ignored by all
    others; an `Every` without one never fires. Several expressions are one trigger: an instant that two of
    them name comes once. Raises CronError or UnknownZone only for a job that the job table should have
    refused.
    """
    trigger = job.trigger
    match trigger:
        case Cron(expressions=expressions):
            name = job.name if any(map(has_hash, expressions)) else ""
            return _next_cron(expressions, job.timezone, name, to_seconds(after))
        case Every(period=period):
            return None if anchor is None else _next_every(anchor, period, after)
        case At(instants=instants):
            place = bisect.bisect_right(instants, after)
            return FireTime(instants[place]) if place < len(instants) else None
        case Manual():
            return None
        case _:
            assert_never(trigger)


def fires_between(job: Job, anchor: datetime | None, after: datetime, until: datetime) -> Iterator[FireTime]:
    """Every fire time in (after, until], in order: what asking `next_fire` again and again gives."""
    for _ in range(_FEW):
        fire = next_fire(job, anchor, after)
        if fire is None or fire.instant > until:
            return
        yield fire
        after = fire.instant
    if isinstance(job.trigger, Cron):
        where, start, end = zone(job.timezone), to_seconds(after), to_seconds(until)
        rows = [
            instants_between(parse(expression, job.name), where, start, end)
            for expression in job.trigger.expressions
        ]
        if len(rows) == 1:
            yield from map(_fire_time, rows[0])
            return
        for _, same in itertools.groupby(heapq.merge(*rows, key=_instant_of), key=_instant_of):
            yield _fire_time(min(same, key=_is_moved))
        return
    while (fire := next_fire(job, anchor, after)) is not None and fire.instant <= until:
        yield fire
        after = fire.instant


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


@lru_cache(maxsize=1 << 14)
def _next_cron(expressions: tuple[str, ...], timezone: str, name: str, after: int) -> FireTime | None:
    """Shared by all jobs that have the same expressions and zone; `name` is empty unless an `H` needs it."""
    where = zone(timezone)
    found = [next_instant(parse(expression, name), where, after) for expression in expressions]
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
