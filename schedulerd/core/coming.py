"""The next fire times of a job, as people read them: in the job's zone, with a word where its clock jumps."""

from datetime import datetime

from msgspec import Struct

from schedulerd.core.trigger import FireTime, next_fire
from schedulerd.core.zones import zone
from schedulerd.model.job import Job


class Coming(Struct, frozen=True):
    """One coming fire time."""

    instant: datetime  # aware, UTC
    local: datetime  # the same, in the job's zone
    note: str | None  # what the zone's clock does to it


def coming(
    job: Job, anchor: datetime | None, after: datetime, until: datetime | None, count: int
) -> tuple[Coming, ...]:
    """At most `count` fire times later than `after` and not later than `until` (both aware; None = no end)."""
    where = zone(job.timezone)
    found: list[Coming] = []
    while len(found) < count:
        fire = next_fire(job, anchor, after)
        if fire is None or (until is not None and fire.instant > until):
            break
        local = fire.instant.astimezone(where.info)
        found.append(Coming(fire.instant, local, _note(fire, local)))
        after = fire.instant
    return tuple(found)


def _note(fire: FireTime, local: datetime) -> str | None:
    if fire.nominal is not None:
        return f"clocks go forward: {fire.nominal.replace('T', ' ')} does not exist"
    other = local.replace(fold=1 - local.fold)
    if other.utcoffset() == local.utcoffset():
        return None
    which = "second" if local.fold else "first"
    return f"clocks go back: the {which} of two {local:%H:%M}"
