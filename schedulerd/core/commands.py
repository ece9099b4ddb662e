"""What callers may order: pause, resume, trigger, cancel, change the table, look. Each handler answers or refuses."""

import difflib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from msgspec import structs

from schedulerd.core import backfilling, firing, overlap, runs
from schedulerd.core import requests as rq
from schedulerd.core.cancelling import cancel_run
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordJobs, RecordPause, RecordPools, RecordRemovals, Reply
from schedulerd.core.events import CommandGiven
from schedulerd.core.state import JobEntry, State, Worker, await_fire
from schedulerd.core.trigger import FireTime, first_anchor, is_finite, next_fire, next_run
from schedulerd.errors import CommandError
from schedulerd.model.job import At, Definition, Overlap, Pool
from schedulerd.model.moment import Moment
from schedulerd.model.run import JobRow, Pause, SkipReason

MAX_REQUESTS = 10_000  # trigger keys remembered


def given(state: State, command: CommandGiven, now: Moment, draft: Draft) -> None:
    """Handle one request and answer it; a refusal is an answer too and changes nothing."""
    try:
        answer = HANDLERS[type(command.request)](state, command.request, now, draft)
    except CommandError as error:
        answer = error
    draft.replies.append(Reply(command.token, answer))


def _refuse_in_doubt(state: State, entry: JobEntry, now: Moment) -> None:
    """Its fire times would have to be settled first, by a clock that may be hours off."""
    if firing.is_in_doubt(state, entry, now):
        raise CommandError(
            "unavailable",
            f"{entry.job.name} has missed fire times, and the clock of the scheduler's host is not synchronised yet; "
            "try again in a moment",
        )


def view(state: State, entry: JobEntry) -> rq.JobView:
    """A job as it stands."""
    upcoming = entry.next_fire
    if upcoming is not None and upcoming.skip is not None:
        upcoming = next_run(entry.job, entry.anchor, upcoming.instant)
    is_done = entry.next_fire is None and not entry.open_runs and (entry.is_spent or is_finite(entry.job))
    return rq.JobView(
        definition=entry.definition,
        state="paused" if entry.is_paused else "done" if is_done else "active",
        pause=entry.pause,
        next_fire_time=upcoming.instant if upcoming is not None else None,
        open_runs=tuple(entry.open_runs),
    )


def put(
    state: State, definition: Definition, filled: Iterable[datetime], now: Moment, draft: Draft
) -> JobRow:
    """Take a definition into the table: an old one is accounted for up to now, the new one counts from now."""
    row = _accept(state, definition, filled, now, draft)
    draft.tables.append(RecordJobs((row,)))
    return row


def _accept(
    state: State, definition: Definition, filled: Iterable[datetime], now: Moment, draft: Draft
) -> JobRow:
    """As `put`; the row that is returned has still to be recorded."""
    job = definition.job
    entry = state.jobs.get(job.name)
    if entry is None:
        was_removed = job.name in state.removed
        mark = max(now.utc, state.removed.pop(job.name, now.utc))
        entry = JobEntry(definition, now.utc, mark, first_anchor(job, now.utc), None)
        if was_removed:  # its runs that are not final still count
            known = (run for run in state.runs.values() if run.job.name == job.name)
            entry.open_runs.update((run.id, None) for run in known if not run.is_aside)
        state.jobs[job.name] = entry
    else:
        firing.account(state, entry, now, draft)
        if isinstance(entry.job.trigger, At):  # fired since the caller looked for rows
            filled = {*filled, *(at for at in entry.job.trigger.instants if at <= entry.mark)}
        anchor = first_anchor(job, now.utc) if entry.job.trigger != job.trigger else entry.anchor
        if not _goes_on(entry, next_fire(job, anchor, entry.mark), now):
            firing.settle_early(state, entry, now, draft)
        entry.anchor = anchor
        entry.definition = definition
        overlap.look_again(state, job.name)
    if job.max_runs is None:
        entry.runs = 0
    row = _row(entry)
    if isinstance(job.trigger, At):
        _account_past(state, entry, job.trigger, set(filled), now, draft)
    await_fire(state, entry, next_fire(job, entry.anchor, entry.mark))
    firing.count_again(state, entry, now, draft)
    firing.fire_at_boot(state, entry, now, draft)
    return row


def _goes_on(entry: JobEntry, fire: FireTime | None, now: Moment) -> bool:
    """Whether a fire time that waits for its jitter is one of the new definition, too, and may go on waiting."""
    if fire is None or entry.next_fire is None:
        return False
    return fire.instant == entry.next_fire.instant and fire.due > now.utc


def remove(state: State, name: str, cancel: bool, by: str, now: Moment, draft: Draft) -> Definition:
    """Take a job out of the table; its open runs finish and keep their history, or are cancelled."""
    entry = state.jobs[name]
    firing.account(state, entry, now, draft)
    firing.settle_removed(state, entry, now, draft)
    draft.tables.append(RecordRemovals((name,)))
    del state.jobs[name]
    state.removed[name] = entry.mark
    if cancel:
        aside = [run.id for run in state.held.get(name, ()) if run.is_aside and run.id in state.runs]
        for run_id in (*entry.open_runs, *aside):
            cancel_run(state, state.runs[run_id], by, False, now, draft)
    return entry.definition


def _account_past(
    state: State, entry: JobEntry, at: At, filled: set[datetime], now: Moment, draft: Draft
) -> None:
    """New instants that are past already meet the misfire policy once; those that have their row never fire again."""
    new = tuple(instant for instant in at.instants if instant <= entry.mark and instant not in filled)
    if not new:
        return
    firing.settle_past(state, entry, At(instants=new), now, draft)


def _pause(state: State, request: rq.PauseJob, now: Moment, draft: Draft) -> rq.JobView:
    entry = _entry(state, request.job)
    if request.until is not None and request.until <= now.utc:
        raise CommandError(
            "invalid", f"a pause of {request.job} until {request.until:%FT%TZ} would be over already"
        )
    _refuse_in_doubt(state, entry, now)
    firing.account(state, entry, now, draft)
    pause = Pause(by=request.by, reason=request.reason, since=now.utc, until=request.until)
    entry.pause = pause
    draft.tables.append(RecordPause(request.job, pause))
    draft.events.append(
        runs.event("paused", now, job=request.job, detail=f"by {request.by}: {request.reason}".rstrip(": "))
    )
    await_fire(state, entry, entry.next_fire)
    firing.await_resume(state, entry)
    if request.cancel_running:
        for run_id in list(entry.open_runs):
            cancel_run(state, state.runs[run_id], request.by, False, now, draft)
    return view(state, entry)


def _resume(state: State, request: rq.ResumeJob, now: Moment, draft: Draft) -> rq.JobView:
    entry = _entry(state, request.job)
    if entry.pause is None and entry.job.paused:
        raise CommandError(
            "conflict",
            f"{request.job} is paused by its own definition ({entry.definition.origin.text}); change it there",
        )
    if entry.pause is not None:
        _refuse_in_doubt(state, entry, now)
        firing.account(state, entry, now, draft)
        if entry.pause is not None:
            entry.pause = None
            draft.tables.append(RecordPause(request.job, None))
            draft.events.append(runs.event("resumed", now, job=request.job, detail=f"by {request.by}"))
            firing.count_again(state, entry, now, draft)
    return view(state, entry)


def _trigger(state: State, request: rq.TriggerJob, now: Moment, draft: Draft) -> rq.Triggered:
    entry = _entry(state, request.job)
    known = state.requests.get((request.job, request.key))
    if known is not None:
        return rq.Triggered(outcome="started", run=known, reason=rq.KEY_USED)
    refusal = overlap.refusal(state, entry)
    if refusal is not None:
        return rq.Triggered(outcome="refused", run=None, reason=_why_refused(entry, refusal))
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


def _why_refused(entry: JobEntry, refusal: SkipReason) -> str:
    if refusal is SkipReason.QUEUE_FULL:
        return f"its queue is full: {entry.job.queue_max} runs wait already (queue_max)"
    return f"{next(iter(entry.open_runs))} is not final and overlap is skip"


def _cancel(state: State, request: rq.CancelRun, now: Moment, draft: Draft) -> rq.Cancelled:
    run = state.runs.get(request.run)
    if run is None:
        raise CommandError("conflict", f"{request.run} is not running: it is final already")
    cancel_run(state, run, request.by, request.kill, now, draft)
    return rq.Cancelled(run=request.run)


def _backfill(state: State, request: rq.BackfillJob, now: Moment, draft: Draft) -> rq.Backfilled:
    return backfilling.begin(state, _entry(state, request.job), request, now, draft)


def _cancel_backfill(state: State, request: rq.CancelBackfill, now: Moment, draft: Draft) -> rq.Backfilled:
    ended = backfilling.cancel(state, request, now, draft)
    if not ended.runs:
        _entry(state, request.job)
    return ended


def _put(state: State, request: rq.PutJob, now: Moment, draft: Draft) -> rq.Stored:
    name = request.definition.job.name
    entry = state.jobs.get(name)
    if entry is not None:
        if request.must_be_new:
            raise CommandError("conflict", f"{name} exists already (from {entry.definition.origin.text})")
        _refuse_foreign(entry)
        _refuse_changed(entry, request.expected_version)
        _refuse_in_doubt(state, entry, now)
    elif request.expected_version is not None:
        raise _not_found(state, name)
    _refuse_unknown_pools(state, request.definition)
    put(state, request.definition, request.filled, now, draft)
    verb = "created" if entry is None else "changed"
    draft.events.append(runs.event(f"job_{verb}", now, job=name, detail=f"by {request.by}"))
    return rq.Stored(definition=request.definition, is_new=entry is None)


def _delete(state: State, request: rq.DeleteJob, now: Moment, draft: Draft) -> rq.Stored:
    entry = _entry(state, request.job)
    _refuse_foreign(entry)
    _refuse_changed(entry, request.expected_version)
    _refuse_in_doubt(state, entry, now)
    definition = remove(state, request.job, request.cancel, request.by, now, draft)
    draft.events.append(runs.event("job_removed", now, job=request.job, detail=f"by {request.by}"))
    return rq.Stored(definition=definition)


def _replace(state: State, request: rq.ReplaceTable, now: Moment, draft: Draft) -> rq.TableReplaced:
    named = {definition.job.name: definition for definition in request.definitions}
    doubles = [
        f"{definition.origin.text}: {name} exists already, made through the API; remove it there or rename this one"
        for name, definition in named.items()
        if name in state.jobs and not state.jobs[name].definition.origin.file
    ]
    pools = _pools(state, request)
    doubles += [
        f"{name}, made through the API, is in pool {pool}, for which there is no [pool.{pool}] any more"
        for name, entry in state.jobs.items()
        if not entry.definition.origin.file
        for pool in entry.job.pools
        if pool not in pools or pools[pool].is_retired
    ]
    if doubles:
        raise CommandError("conflict", "\n".join(doubles))
    has_other_pools = pools != state.pools
    if has_other_pools:
        state.pools = pools
        draft.tables.append(RecordPools(tuple(pools.values())))
    filled: dict[str, list[datetime]] = {}
    for name, instant in request.filled:
        filled.setdefault(name, []).append(instant)
    added, changed, same = [], [], []
    for name, definition in named.items():
        entry = state.jobs.get(name)
        if entry is None:
            added.append(name)
        elif entry.definition.version != definition.version:
            changed.append(name)
        elif entry.definition is not definition:
            same.append(entry)
    removed = [
        name for name, entry in state.jobs.items() if entry.definition.origin.file and name not in named
    ]
    for name in (*changed, *removed):
        _refuse_in_doubt(state, state.jobs[name], now)
    rows = [_accept(state, named[name], filled.get(name, ()), now, draft) for name in (*added, *changed)]
    for entry in same:
        definition = named[entry.job.name]
        is_moved = entry.definition != definition  # the same job at another line
        entry.definition = definition  # an equal one too: it shares its parts with others of the table
        if is_moved:
            rows.append(_row(entry))
    if rows:
        draft.tables.append(RecordJobs(tuple(rows)))
    for name in removed:
        remove(state, name, False, "reload", now, draft)
    if added or changed or removed or has_other_pools:
        detail = f"{len(added)} added, {len(changed)} changed, {len(removed)} removed"
        if has_other_pools:
            shown = ", ".join(f"{pool.name} {pool.max}" for pool in pools.values() if not pool.is_retired)
            detail += f"; pools: {shown or 'none'}"
        draft.events.append(runs.event("table_replaced", now, detail=detail))
    unchanged = len(named) - len(added) - len(changed)
    return rq.TableReplaced(
        added=tuple(sorted(added)),
        changed=tuple(sorted(changed)),
        removed=tuple(sorted(removed)),
        unchanged=unchanged,
    )


def _describe_jobs(
    state: State, request: rq.DescribeJobs, now: Moment, draft: Draft
) -> tuple[rq.JobView, ...]:
    names = sorted(state.jobs) if request.jobs is None else request.jobs
    return tuple(view(state, state.jobs[name]) for name in names if name in state.jobs)


def _describe_workers(
    state: State, request: rq.DescribeWorkers, now: Moment, draft: Draft
) -> tuple[rq.WorkerView, ...]:
    return tuple(
        rq.WorkerView(
            id=worker.id,
            name=worker.name or worker.address,
            state=_worker_state(worker),
            slots=worker.slots,
            running=len(worker.attempts),
            labels=tuple(sorted(worker.labels)),
            address=worker.address,
            version=worker.version,
            last_seen=worker.last_seen,
        )
        for worker in state.workers.values()
    )


def _describe_cluster(state: State, request: rq.DescribeCluster, now: Moment, draft: Draft) -> rq.ClusterView:
    return rq.ClusterView(
        epoch=state.epoch,
        jobs=len(state.jobs),
        open_runs=len(state.runs),
        pending_subtasks=sum(
            len(run.pending) + sum(map(len, run.pinned.values()))
            for group in state.waiting.values()
            for run in group.values()
        ),
        open_attempts=len(state.attempts),
        workers_ready=sum(1 for worker in state.workers.values() if _worker_state(worker) == "ready"),
    )


def _worker_state(worker: Worker) -> str:
    if worker.is_lost:
        return "lost"
    if worker.is_leaving:
        return "gone"
    if worker.is_suspect or not worker.nonce:
        return "suspect"
    return "draining" if worker.is_draining else "ready"


def _row(entry: JobEntry) -> JobRow:
    return JobRow(
        definition=entry.definition,
        first_seen=entry.first_seen,
        mark=entry.mark,
        anchor=entry.anchor,
        pause=entry.pause,
        runs=entry.runs,
    )


def _entry(state: State, name: str) -> JobEntry:
    entry = state.jobs.get(name)
    if entry is None:
        raise _not_found(state, name)
    return entry


def _not_found(state: State, name: str) -> CommandError:
    near = tuple(difflib.get_close_matches(name, state.jobs, 3))
    return CommandError("not_found", f'there is no job "{name}"', near)


def _refuse_foreign(entry: JobEntry) -> None:
    if entry.definition.origin.file:
        where = entry.definition.origin.text
        raise CommandError("conflict", f"{entry.job.name} is owned by {where}; change it there and reload")


def _pools(state: State, request: rq.ReplaceTable) -> dict[str, Pool]:
    """Those of the new table, and those that it lacks as long as open runs are held by them."""
    pools = {pool.name: pool for pool in request.pools}
    named = {name: None for run in state.runs.values() for name in run.job.pools}
    for name in named:
        if name not in pools and name in state.pools:
            pools[name] = structs.replace(state.pools[name], is_retired=True)
    return dict(sorted(pools.items()))


def _refuse_unknown_pools(state: State, definition: Definition) -> None:
    for pool in definition.job.pools:
        if pool not in state.pools or state.pools[pool].is_retired:
            near = tuple(difflib.get_close_matches(pool, state.pools, 3))
            raise CommandError("invalid", f'pools: there is no pool "{pool}" in the job files', near)


def _refuse_changed(entry: JobEntry, expected: str | None) -> None:
    if expected is not None and expected != entry.definition.version:
        raise CommandError(
            "conflict",
            f"{entry.job.name} is at version {entry.definition.version}, not {expected}; read it again",
        )


HANDLERS: dict[type, Callable[[State, Any, Moment, Draft], object]] = {
    rq.PauseJob: _pause,
    rq.ResumeJob: _resume,
    rq.TriggerJob: _trigger,
    rq.CancelRun: _cancel,
    rq.BackfillJob: _backfill,
    rq.CancelBackfill: _cancel_backfill,
    rq.PutJob: _put,
    rq.DeleteJob: _delete,
    rq.ReplaceTable: _replace,
    rq.DescribeJobs: _describe_jobs,
    rq.DescribeWorkers: _describe_workers,
    rq.DescribeCluster: _describe_cluster,
}
