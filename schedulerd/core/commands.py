"""What callers may order: pause, resume, trigger, cancel, retry, backfill. Each handler answers or refuses.

Changes of the job table are in job_table.py, what only looks is in looking.py.
"""

from collections.abc import Callable
from typing import Any

from schedulerd.core import backfilling, firing, job_table, looking, overlap, retrying, runs
from schedulerd.core import requests as rq
from schedulerd.core.cancelling import cancel_run
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordPause, Reply
from schedulerd.core.events import CommandGiven
from schedulerd.core.looking_up import entry_of, refuse_in_doubt
from schedulerd.core.state import JobEntry, State
from schedulerd.core.waking import await_fire, await_resume
from schedulerd.errors import CommandError
from schedulerd.model.job import Overlap
from schedulerd.model.moment import Moment
from schedulerd.model.run import Pause, SkipReason

MAX_REQUESTS = 10_000  # trigger keys remembered


def given(state: State, command: CommandGiven, now: Moment, draft: Draft) -> None:
    """Handle one request and answer it; a refusal is an answer too and changes nothing."""
    try:
        answer = HANDLERS[type(command.request)](state, command.request, now, draft)
    except CommandError as error:
        answer = error
    draft.replies.append(Reply(command.token, answer))


def _pause(state: State, request: rq.PauseJob, now: Moment, draft: Draft) -> rq.JobView:
    entry = entry_of(state, request.job)
    if request.until is not None and request.until <= now.utc:
        raise CommandError(
            "invalid", f"a pause of {request.job} until {request.until:%FT%TZ} would be over already"
        )
    refuse_in_doubt(state, entry, now)
    firing.account(state, entry, now, draft)
    pause = Pause(by=request.by, reason=request.reason, since=now.utc, until=request.until)
    entry.pause = pause
    draft.tables.append(RecordPause(request.job, pause))
    draft.events.append(
        runs.event("paused", now, job=request.job, detail=f"by {request.by}: {request.reason}".rstrip(": "))
    )
    await_fire(state, entry, entry.next_fire)
    await_resume(state, entry)
    if request.cancel_running:
        for run_id in list(entry.open_runs):
            cancel_run(state, state.runs[run_id], request.by, False, now, draft)
    return looking.view(state, entry)


def _resume(state: State, request: rq.ResumeJob, now: Moment, draft: Draft) -> rq.JobView:
    entry = entry_of(state, request.job)
    if entry.pause is None and entry.job.paused:
        raise CommandError(
            "conflict",
            f"{request.job} is paused by its own definition ({entry.definition.origin.text}); change it there",
        )
    if entry.pause is not None:
        refuse_in_doubt(state, entry, now)
        firing.account(state, entry, now, draft)
        if entry.pause is not None:
            entry.pause = None
            draft.tables.append(RecordPause(request.job, None))
            draft.events.append(runs.event("resumed", now, job=request.job, detail=f"by {request.by}"))
            firing.count_again(state, entry, now, draft)
    return looking.view(state, entry)


def _trigger(state: State, request: rq.TriggerJob, now: Moment, draft: Draft) -> rq.Triggered:
    entry = entry_of(state, request.job)
    known = state.requests.get((request.job, request.key))
    if known is not None:
        return rq.Triggered(outcome="started", run=known, reason=rq.KEY_USED)
    refusal = overlap.refusal(state, entry)
    if refusal is not None:
        return rq.Triggered(outcome="refused", run=None, reason=_why_refused(state, entry, refusal))
    run = runs.trigger(state, entry, request.key, request.by, request.env, now, draft)
    overlap.line_up(state, entry, run, now, draft)
    state.requests[(request.job, request.key)] = run.id
    while len(state.requests) > MAX_REQUESTS:
        del state.requests[next(iter(state.requests))]
    draft.events.append(runs.event("triggered", now, run=run, detail=f"by {request.by}"))
    if run.is_held and entry.job.overlap is Overlap.REPLACE:
        old = next(other for other in entry.open_runs if state.runs[other].is_cancelled)
        return rq.Triggered(outcome="started", run=run.id, reason=f"replacing {old}, which is being ended")
    if run.is_held:
        waits = f"{sum(1 for other in entry.open_runs if state.runs[other].is_held)} wait for their turn"
        return rq.Triggered(outcome="queued", run=run.id, reason=waits)
    return rq.Triggered(outcome="started", run=run.id)


def _why_refused(state: State, entry: JobEntry, refusal: SkipReason) -> str:
    if refusal is SkipReason.QUEUE_FULL:
        return f"its queue is full: {entry.job.queue_max} runs wait already (queue_max)"
    open_run = next(run for run in entry.open_runs if not state.runs[run].awaits_release)
    return f"{open_run} is not final and overlap is skip"


def _cancel(state: State, request: rq.CancelRun, now: Moment, draft: Draft) -> rq.Cancelled:
    run = state.runs.get(request.run)
    if run is None:
        raise CommandError("conflict", f"{request.run} is not running: it is final already")
    cancel_run(state, run, request.by, request.kill, now, draft)
    return rq.Cancelled(run=request.run)


def _backfill(state: State, request: rq.BackfillJob, now: Moment, draft: Draft) -> rq.Backfilled:
    return backfilling.begin(state, entry_of(state, request.job), request, now, draft)


def _cancel_backfill(state: State, request: rq.CancelBackfill, now: Moment, draft: Draft) -> rq.Backfilled:
    ended = backfilling.cancel(state, request, now, draft)
    if not ended.runs:
        entry_of(state, request.job)
    return ended


HANDLERS: dict[type, Callable[[State, Any, Moment, Draft], object]] = {
    rq.PauseJob: _pause,
    rq.ResumeJob: _resume,
    rq.TriggerJob: _trigger,
    rq.CancelRun: _cancel,
    rq.RetryRun: retrying.retry,
    rq.BackfillJob: _backfill,
    rq.CancelBackfill: _cancel_backfill,
    rq.PutJob: job_table.put,
    rq.DeleteJob: job_table.delete,
    rq.ReplaceTable: job_table.replace,
    rq.DescribeJobs: looking.jobs,
    rq.WalkJobs: looking.walk,
    rq.DescribeWorkers: looking.workers,
    rq.DescribeCluster: looking.cluster,
}
