"""The leader's part of a backfill: runs that are held like catch-up runs, and the end of those that are not final."""

from schedulerd.core import requests as rq
from schedulerd.core import runs
from schedulerd.core.cancelling import cancel_run
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordBackfill
from schedulerd.core.state import JobEntry, State
from schedulerd.errors import CommandError
from schedulerd.model.moment import Moment
from schedulerd.model.run import Cause
from schedulerd.protocol.ids import rfc3339, scheduled_run_id


def begin(state: State, entry: JobEntry, request: rq.BackfillJob, now: Moment, draft: Draft) -> rq.Backfilled:
    """Make the runs that were planned; they start one after another, `max_parallel` of the job at a time.

    Raises CommandError conflict when what was planned from is not so any more; nothing is changed then.
    """
    if entry.definition.version != request.version:
        raise CommandError("conflict", f"{request.job} has been changed meanwhile; ask again")
    made = [scheduled_run_id(request.job, fill.fire.instant) for fill in request.fills]
    taken = next((run for run in made if run in state.runs), None)
    if taken is not None:
        raise CommandError("conflict", f"{taken} has been made meanwhile; ask again")
    if not made:
        return rq.Backfilled(runs=())
    draft.backfills.append(RecordBackfill(request.job, request.max_parallel, request.splits))
    state.backfill_width[request.job] = request.max_parallel
    for fill in request.fills:
        run = runs.fire(state, entry, fill.fire, Cause.BACKFILL, now, draft, by=request.by)
        was = f"was skipped: {fill.was}" if fill.was else "had no row"
        draft.events.append(runs.event("backfilled", now, run=run, detail=f"by {request.by}; {was}"))
    if request.job not in state.held_turns:  # nothing of it may be busy now, to call it in
        state.held_turns.append(request.job)
    first, last = request.fills[0].fire.instant, request.fills[-1].fire.instant
    detail = f"by {request.by}: {len(made)} runs, {rfc3339(first)} to {rfc3339(last)}"
    draft.events.append(runs.event("backfill", now, job=request.job, detail=detail))
    return rq.Backfilled(runs=tuple(made))


def cancel(state: State, request: rq.CancelBackfill, now: Moment, draft: Draft) -> rq.Backfilled:
    """End every backfill run of the job that is not final: what waits at once, what runs as any cancelled run."""
    found = [
        run for run in state.runs.values() if run.job.name == request.job and run.cause is Cause.BACKFILL
    ]
    if not found:
        return rq.Backfilled(runs=())
    for run in found:
        cancel_run(state, run, request.by, False, now, draft)
    detail = f"by {request.by}: {len(found)} runs"
    draft.events.append(runs.event("backfill_cancelled", now, job=request.job, detail=detail))
    return rq.Backfilled(runs=tuple(run.id for run in found))
