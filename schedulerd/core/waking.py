"""When a job or a run comes up next: the two heaps that the alarm is set by, and their size.

What is done about it when the time has come is in firing.py (jobs) and step.py (runs without an able worker).
"""

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta

from schedulerd.core.state import JobEntry, Run, State
from schedulerd.core.trigger import FireTime, next_fire
from schedulerd.model.job import Every
from schedulerd.model.moment import Moment

_SECOND = timedelta(seconds=1)
_FIRES_A_JOB = 2  # its next fire time and the end of its pause
_SPARE = 64  # entries of which nobody would notice that they do not hold


def await_fire(state: State, entry: JobEntry, fire: FireTime | None) -> None:
    """`fire` is the next fire time of the job; wake when it is due. A job that is spent has none."""
    entry.next_fire = fire = None if entry.is_spent else fire
    if fire is not None:
        heapq.heappush(state.fires, (fire.due, entry.job.name))


def await_resume(state: State, entry: JobEntry) -> None:
    """Wake when the pause ends by itself."""
    if entry.pause is not None and entry.pause.until is not None:
        heapq.heappush(state.fires, (entry.pause.until, entry.job.name))


def count_from(state: State, entry: JobEntry, instant: datetime) -> datetime:
    """A job that counts from ends counts from `instant` on; the anchor to be recorded.

    When the clock went back so far that the next fire time would not lie after the mark, it counts from the mark.
    """
    assert isinstance(entry.job.trigger, Every)
    entry.anchor = instant if instant + entry.job.trigger.period > entry.mark else entry.mark
    await_fire(state, entry, next_fire(entry.job, entry.anchor, entry.mark))
    return entry.anchor


def await_worker(state: State, run: Run, now: Moment) -> None:
    """Nobody is able to take what waits of `run`, since now if not before; wake when that was too long."""
    if run.unable_since is None:
        run.unable_since = now.mono
        heapq.heappush(state.deadlines, (worker_due(run, now.mono), run.id))


def worker_due(run: Run, unable_since: float) -> float:
    """Until when (mono) a run waits for an able worker. One sum for all who ask: a difference would round otherwise."""
    return unable_since + run.job.dispatch_timeout / _SECOND


def trim(state: State) -> None:
    """Leave out what does not hold any more, once that is more than what can hold.

    An entry stays until its time comes though the job was edited, paused or removed, or the run has a worker or is
    over: without this a job edited every second, or a worker that flaps, would be remembered a million times.
    """
    if len(state.fires) > 2 * _FIRES_A_JOB * len(state.jobs) + _SPARE:
        state.fires = [
            (due, entry.job.name)
            for entry in state.jobs.values()
            if entry.job.name not in state.doubted
            for due in _comes_up(entry)
        ]
        heapq.heapify(state.fires)
    if len(state.deadlines) > 2 * len(state.runs) + _SPARE:
        state.deadlines = [
            (worker_due(run, run.unable_since), run.id)
            for run in state.runs.values()
            if run.unable_since is not None
        ]
        heapq.heapify(state.deadlines)


def _comes_up(entry: JobEntry) -> Iterator[datetime]:
    if entry.next_fire is not None and not entry.is_spent:
        yield entry.next_fire.due
    if entry.pause is not None and entry.pause.until is not None:
        yield entry.pause.until
