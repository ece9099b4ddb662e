"""The next fire times of a job, as people read them: in the job's zone, with a word where its clock jumps."""

from datetime import datetime

from msgspec import Struct

from schedulerd.core.calendars import refusal
from schedulerd.core.trigger import FireTime, next_fire, next_run
from schedulerd.core.zones import Zone, zone
from schedulerd.model.job import Job
from schedulerd.model.run import SkipReason


class Coming(Struct, frozen=True):
    """One coming fire time."""

    instant: datetime  # aware, UTC
    local: datetime  # the same, in the job's zone
    note: str | None  # what the zone's clock does to it


def coming(
    job: Job,
    anchor: datetime | None,
    after: datetime,
    until: datetime | None,
    count: int,
    runs: int = 0,
) -> tuple[Coming, ...]:
    """At most `count` fire times later than `after` and not later than `until` (both aware; None = no end).

    Those that become runs if nothing comes between; what calendars and `dst_gap` exclude is told at the next one.
    `runs` is what `max_runs` has counted. Of a job that counts from ends only the next one is known.
    """
    if job.max_runs is not None:
        count = min(count, job.max_runs - runs)
    where = zone(job.timezone)
    found: list[Coming] = []
    while len(found) < count:
        following = next_fire(job, anchor, after)
        fire = following if following is None or following.skip is None else next_run(job, anchor, after)
        if fire is None or (until is not None and fire.instant > until):
            break
        local = fire.instant.astimezone(where.info)
        notes = [_clock(fire, local), _start(fire, where), _passed(job, following, where)]
        found.append(Coming(fire.instant, local, "; ".join(filter(None, notes)) or None))
        after = fire.instant
    return tuple(found)


def _start(fire: FireTime, where: Zone) -> str | None:
    return f"jitter: starts at {fire.due.astimezone(where.info):%H:%M:%S}" if fire.delay else None


def _passed(job: Job, skip: FireTime | None, where: Zone) -> str | None:
    """What becomes of the first fire time before this one, if it is excluded."""
    if skip is None or skip.skip is None:
        return None
    at = f"{skip.instant.astimezone(where.info):%Y-%m-%d %H:%M}"
    if skip.skip is SkipReason.GAP:
        return f"from {at} on skipped: the clock jumps over {(skip.nominal or '').replace('T', ' ')}"
    return f"from {at} on skipped: {refusal(job, skip.instant)}"


def _clock(fire: FireTime, local: datetime) -> str | None:
    if fire.nominal is not None:
        return f"clocks go forward: {fire.nominal.replace('T', ' ')} does not exist"
    other = local.replace(fold=1 - local.fold)
    if other.utcoffset() == local.utcoffset():
        return None
    which = "second" if local.fold else "first"
    return f"clocks go back: the {which} of two {local:%H:%M}"
