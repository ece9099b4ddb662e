"""Where an instant lies among a job's fire times, for people who ask about it. Decides nothing about what runs."""

from datetime import datetime, timedelta

from schedulerd.core.trigger import FireTime, next_fire
from schedulerd.core.zones import from_seconds
from schedulerd.model.job import Job

_TICK = timedelta(microseconds=1)
_YEARS = timedelta(days=100 * 366)  # how far back a fire time is looked for
_BEGIN = from_seconds(0)


def fire_at(job: Job, anchor: datetime | None, at: datetime) -> FireTime | None:
    """The fire time that `at` (aware) is; None when it is none."""
    found = next_fire(job, anchor, at - _TICK)
    return found if found is not None and found.instant == at else None


def last_before(job: Job, anchor: datetime | None, at: datetime) -> FireTime | None:
    """The newest fire time earlier than `at` (aware); None when there is none within a hundred years.

    Fire times are only computed forwards: how far back one has to begin is found by doubling, and then halving.
    """
    width = timedelta(minutes=1)
    floor = max(at - _YEARS, _BEGIN)
    while True:
        begin = max(at - width, floor)
        found = next_fire(job, anchor, begin - _TICK)
        if found is not None and found.instant < at:
            break
        if begin <= floor:
            return None
        width *= 8
    end = at  # nothing lies in [end, at)
    while end - found.instant > _TICK:
        middle = found.instant + (end - found.instant) / 2
        later = next_fire(job, anchor, middle - _TICK)
        if later is not None and later.instant < at:
            found = later
        else:
            end = middle
    return found
