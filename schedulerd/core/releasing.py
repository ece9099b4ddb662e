"""When held runs may start: catch-up and backfill runs, a few a second, behind everything that is on time."""

from schedulerd.core import stages
from schedulerd.core.draft import Draft
from schedulerd.core.state import Run, State
from schedulerd.model.job import Overlap
from schedulerd.model.moment import Moment
from schedulerd.model.run import Cause

RELEASE_EVERY = 0.1  # seconds between two catch-up runs, over all jobs


def release(state: State, now: Moment, draft: Draft) -> None:
    """Start held runs in order, at most ten a second over all jobs.

    Catch-up runs of a job go one at a time, backfill runs as many at a time as was asked for.
    """
    if not state.held_turns or now.mono < state.next_release:
        return
    for _ in range(len(state.held_turns)):
        name = state.held_turns.popleft()
        queue = state.held.get(name)
        while queue and queue[0].id not in state.runs:
            queue.popleft()
        if not queue:
            state.held.pop(name, None)
            continue
        if _is_busy(state, queue[0]):
            continue  # back in turn when the other one closes
        run = queue.popleft()
        run.is_held = False
        entry = state.jobs.get(name)
        if entry is not None:
            entry.open_runs[run.id] = None
        stages.begin(state, run, now, draft)
        if not queue:
            state.held.pop(name, None)
        elif queue[0].cause is Cause.BACKFILL and name not in state.held_turns:
            state.held_turns.append(name)  # another one may go beside it
        state.next_release = now.mono + RELEASE_EVERY
        return


def _is_busy(state: State, held: Run) -> bool:
    """Others of the job are under way that `held` may not run beside.

    For a catch-up run that is another one, and any at all without overlap; for a backfill run as many of its kind as
    may go at once, and any of another kind without overlap. Runs that wait in the job's queue go first.
    """
    entry = state.jobs.get(held.job.name)
    others = (
        [state.runs[run_id] for run_id in entry.open_runs]
        if entry is not None
        else [run for run in state.runs.values() if run.job.name == held.job.name]
    )
    may_overlap = held.job.overlap is Overlap.ALLOW
    live = [run for run in others if not run.awaits_release]
    if held.cause is Cause.BACKFILL:
        beside = sum(run.cause is Cause.BACKFILL for run in live)
        width = state.backfill_width.get(held.job.name, 1)
        return beside >= width or (not may_overlap and beside < len(live))
    return any(run.cause is Cause.CATCHUP or not may_overlap for run in live)
