"""A run at its creation and at its end, and what is noted about it. What comes between is in stages.py."""

from collections import deque

from schedulerd.core.draft import Draft
from schedulerd.core.effects import CloseRun, RecordEvent
from schedulerd.core.state import Attempt, JobEntry, Run, State, Subtask
from schedulerd.core.trigger import FireTime
from schedulerd.core.waking import count_from
from schedulerd.model.moment import Moment
from schedulerd.model.run import Cause, NewRun, RunState
from schedulerd.protocol.ids import manual_run_id, scheduled_run_id

HELD = (Cause.CATCHUP, Cause.BACKFILL)  # such runs wait until they are let go, a few at a time
TIMEOUT = "timeout"  # why the end of a run that takes longer than `run_timeout` is asked for


def event(
    kind: str,
    now: Moment,
    *,
    run: Run | None = None,
    subtask: int | None = None,
    attempt: Attempt | None = None,
    worker: str | None = None,
    job: str | None = None,
    detail: str = "",
) -> RecordEvent:
    """A fact for people, with the names of what it is about."""
    return RecordEvent(
        type=kind,
        time=now.utc,
        job=run.job.name if run is not None else job,
        run=run.id if run is not None else None,
        subtask=subtask,
        attempt=attempt.id if attempt is not None else None,
        worker=attempt.worker if attempt is not None and worker is None else worker,
        detail=detail,
    )


def fire(
    state: State, entry: JobEntry, fire_time: FireTime, cause: Cause, now: Moment, draft: Draft, by: str = ""
) -> Run:
    """The run that fills the slot of `fire_time`, recorded. Catch-up and backfill runs wait; others: see overlap."""
    record = NewRun(
        id=scheduled_run_id(entry.job.name, fire_time.instant),
        job=entry.job.name,
        version=entry.definition.version,
        cause=cause,
        fire_time=fire_time.instant,
        has_slot=True,
        created_at=now.utc,
        nominal=fire_time.nominal,
        by=by,
    )
    run = _open(state, entry, record, draft)
    if entry.job.max_runs is not None and cause is not Cause.BACKFILL:
        entry.runs += 1
        draft.counts[entry.job.name] = entry.runs
    if cause in HELD:
        hold(state, run)
        if run.is_aside:
            entry.open_runs.pop(run.id)
    return run


def trigger(
    state: State, entry: JobEntry, key: str, by: str, env: dict[str, str], now: Moment, draft: Draft
) -> Run:
    """A manual run, recorded: it has no slot and moves no mark."""
    record = NewRun(
        id=manual_run_id(entry.job.name, now.utc, key),
        job=entry.job.name,
        version=entry.definition.version,
        cause=Cause.MANUAL,
        fire_time=now.utc,
        has_slot=False,
        created_at=now.utc,
        env=env,
        by=by,
    )
    return _open(state, entry, record, draft)


def hold(state: State, run: Run) -> None:
    """A catch-up or backfill run joins the queue of its job; what was missed goes before what was asked for."""
    run.is_held = True
    queue = state.held.get(run.job.name)
    if queue is None:
        state.held[run.job.name] = deque([run])
        state.held_turns.append(run.job.name)
    elif run.cause is Cause.CATCHUP and queue[-1].cause is Cause.BACKFILL:
        queue.insert(next(place for place, other in enumerate(queue) if other.cause is Cause.BACKFILL), run)
    else:
        queue.append(run)


def take_waiting(state: State, run: Run) -> list[Subtask]:
    """Everything of the run that waits for a worker, taken out of the queues."""
    waiting = [*run.pending, *(subtask for queue in run.pinned.values() for subtask in queue)]
    run.pending.clear()
    run.pinned.clear()
    run.awaits_workers = False
    run.unable_since = None
    group = state.waiting.get(run.lane)
    if group is not None:
        group.pop(run.id, None)
    return waiting


def close(state: State, run: Run, now: Moment, draft: Draft) -> None:
    """The run becomes final: cancelled if that was asked for, failed if it has a reason to, else succeeded."""
    if run.is_cancelled and run.cancel_reason == TIMEOUT:
        final, reason = RunState.FAILED, TIMEOUT
    elif run.is_cancelled:
        final, reason = RunState.CANCELLED, run.cancel_reason
    elif run.reason:
        final, reason = RunState.FAILED, run.reason
    else:
        final, reason = RunState.SUCCEEDED, ""
    run.state = final
    take_waiting(state, run)
    state.runs.pop(run.id, None)
    state.cancelled.pop(run.id, None)
    entry = state.jobs.get(run.job.name)
    if entry is not None:
        entry.open_runs.pop(run.id, None)
        is_ahead = entry.next_fire is None or entry.next_fire.instant > now.utc  # else it is settled first
        if entry.is_from_end and not entry.open_runs and is_ahead:
            draft.anchors[entry.job.name] = count_from(state, entry, now.utc)
    if run.job.name in state.held and run.job.name not in state.held_turns:
        state.held_turns.append(run.job.name)
    if run.job.name in state.lines:
        state.turns[run.job.name] = None
    draft.closed.append(
        CloseRun(
            run=run.id,
            job=run.job.name,
            cause=run.cause.value,
            fire_time=run.fire_time,
            created_at=run.created_at,
            started_at=run.started_at,
            state=final,
            reason=reason,
            finished_at=now.utc,
            workers=tuple(run.workers),
            rounds=run.rounds,
        )
    )


def _open(state: State, entry: JobEntry, record: NewRun, draft: Draft) -> Run:
    run = Run(
        record.id,
        entry.definition,
        record.cause,
        record.fire_time,
        record.created_at,
        record.env,
    )
    state.runs[run.id] = run
    entry.open_runs[run.id] = None
    draft.runs.append(record)
    return run
