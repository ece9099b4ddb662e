"""`@reboot`: a job fires once in every boot of the leader's host, as soon as both are known."""

from collections import deque
from datetime import timedelta

from schedulerd.core import calendars, firing
from schedulerd.core.draft import Draft
from schedulerd.core.state import JobEntry, State
from schedulerd.core.trigger import FireTime, is_inside
from schedulerd.model.job import Cron, Job
from schedulerd.model.moment import Moment
from schedulerd.model.run import SkipReason

BOOTS_A_STEP = 250  # jobs that fire in one step because the boot is known
_MICROSECOND = timedelta(microseconds=1)


def await_boot(state: State, boot: str) -> None:
    """The leader's host is in this boot: jobs with `@reboot` fire in it once, as soon as their turn has come."""
    state.boot = boot
    state.to_boot = deque(name for name, entry in state.jobs.items() if _is_at_boot(entry.job))


def fire_in_turn(state: State, now: Moment, draft: Draft) -> None:
    """A part of those that the host's boot may have to fire. What a new leader finds undone is in its turn again."""
    for _ in range(min(len(state.to_boot), BOOTS_A_STEP)):
        entry = state.jobs.get(state.to_boot.popleft())
        if entry is not None:
            fire_at_boot(state, entry, now, draft)
    state.is_unfinished |= bool(state.to_boot)


def fire_at_boot(state: State, entry: JobEntry, now: Moment, draft: Draft) -> None:
    """`@reboot`: once for every (job, boot of the leader's host), as soon as both are known."""
    job = entry.job
    if not _is_at_boot(job) or not state.boot or state.boots.get(job.name) == state.boot:
        return
    state.boots[job.name] = draft.boots[job.name] = state.boot
    if entry.is_spent or not is_inside(job, now.utc):
        return
    # never a whole second: there the expressions of the same job have theirs
    instant = now.utc if now.utc.microsecond else now.utc + _MICROSECOND
    is_excluded = calendars.refusal(job, instant) is not None
    fire = FireTime(instant, skip=SkipReason.CALENDAR if is_excluded else None)
    if entry.is_paused:
        firing.skip(entry, instant, SkipReason.PAUSED, draft, is_apart=True)
    else:
        firing.decide(state, entry, fire, now, draft, is_apart=True)


def _is_at_boot(job: Job) -> bool:
    return isinstance(job.trigger, Cron) and job.trigger.is_at_boot
