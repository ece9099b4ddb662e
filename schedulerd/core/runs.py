"""A run from its creation to its end: which subtasks it has, when gather follows, how it closes."""

from collections import deque

from msgspec import structs

from schedulerd.core import splitting
from schedulerd.core.draft import Draft
from schedulerd.core.effects import CloseRun, RecordEvent, RecordSubtasks
from schedulerd.core.state import Attempt, JobEntry, Run, State, Subtask
from schedulerd.core.trigger import FireTime
from schedulerd.core.waking import count_from
from schedulerd.model.job import ListedItems
from schedulerd.model.moment import Moment
from schedulerd.model.run import Cause, NewRun, RunState, SubtaskState
from schedulerd.protocol.ids import GATHER, SPLIT, manual_run_id, scheduled_run_id
from schedulerd.protocol.messages import Outcome

HELD = (Cause.CATCHUP, Cause.BACKFILL)  # such runs wait until they are let go, a few at a time


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


def expand(state: State, run: Run, now: Moment, draft: Draft) -> None:
    """Give the run its subtasks, as far as they can be known now."""
    parts = splitting.parts_of(run.job)
    if parts is not None:
        add_parts(state, run, parts, now, draft)
    else:
        if isinstance(run.job.split, ListedItems):
            _add_step(run, SPLIT, now, draft)
        state.enlist(run)


def add_parts(state: State, run: Run, parts: list[splitting.Part], now: Moment, draft: Draft) -> None:
    """The list of ordinary subtasks is known: `parts`, maybe none."""
    run.is_split = True
    run.open_subtasks = len(parts)
    for index, item in parts:
        subtask = Subtask(index, item, waiting_since=now.mono)
        run.subtasks[index] = subtask
        run.pending.append(subtask)
    draft.subtasks.append(RecordSubtasks(run.id, tuple((index, item, None) for index, item in parts), True))
    if parts:
        state.enlist(run)
    else:
        _all_settled(state, run, now, draft)


def settle_subtask(
    state: State, run: Run, subtask: Subtask, final: SubtaskState, reason: str, now: Moment, draft: Draft
) -> None:
    """A subtask is final; the last one brings gather or the run's end."""
    subtask.state = final
    is_success = final is SubtaskState.SUCCEEDED
    draft.states.setdefault(run.id, []).append((subtask.index, final, "" if is_success else reason))
    if not is_success and not run.reason:
        run.reason = STEP_REASONS.get(subtask.index, reason)
    if subtask.index < 0:
        close(state, run, now, draft)
    else:
        run.open_subtasks -= 1
        if run.open_subtasks == 0 and run.is_split:
            _all_settled(state, run, now, draft)


STEP_REASONS = {GATHER: "gather", SPLIT: "split"}


def step_succeeded(
    state: State, run: Run, step: Subtask, outcome: Outcome, now: Moment, draft: Draft
) -> None:
    """A step of the run itself succeeded: the split command's list becomes subtasks, gather's output the result."""
    if step.index == GATHER:
        step.state = SubtaskState.SUCCEEDED
        draft.states.setdefault(run.id, []).append((GATHER, SubtaskState.SUCCEEDED, ""))
        close(state, run, now, draft, result=outcome.stdout.head + outcome.stdout.tail)
        return
    try:
        if outcome.stdout.dropped:
            size = len(outcome.stdout.head) + len(outcome.stdout.tail) + outcome.stdout.dropped
            raise splitting.SplitError(f"the split command printed {size} bytes, more than can be sent")
        items = splitting.items_in(outcome.stdout.head + outcome.stdout.tail)
    except splitting.SplitError as error:
        draft.events.append(event("split_failed", now, run=run, subtask=SPLIT, detail=str(error)))
        draft.outcomes[-1] = structs.replace(outcome, detail=str(error))  # where people look first
        settle_subtask(state, run, step, SubtaskState.FAILED, "split", now, draft)
        return
    step.state = SubtaskState.SUCCEEDED
    draft.states.setdefault(run.id, []).append((SPLIT, SubtaskState.SUCCEEDED, ""))
    if run.is_cancelled:
        close(state, run, now, draft)
        return
    assert isinstance(run.job.split, ListedItems)
    add_parts(state, run, splitting.chunked(items, run.job.split.chunk), now, draft)


def resume(state: State, run: Run, now: Moment, draft: Draft) -> None:
    """After a takeover: a run that neither waits nor runs goes on to its next step."""
    if run.is_cancelled:
        end_waiting(
            state, run, take_waiting(state, run), SubtaskState.CANCELLED, run.cancel_reason, now, draft
        )
    elif not run.live and not run.is_waiting:
        if run.is_split and run.open_subtasks == 0:
            _all_settled(state, run, now, draft)
        elif not run.is_split and not run.subtasks:
            expand(state, run, now, draft)


def end_waiting(
    state: State,
    run: Run,
    subtasks: list[Subtask],
    final: SubtaskState,
    reason: str,
    now: Moment,
    draft: Draft,
) -> None:
    """Subtasks that nobody has become final without an attempt; the caller has taken them out of the queues."""
    for subtask in subtasks:
        settle_subtask(state, run, subtask, final, reason, now, draft)
    is_over = not run.live and not run.is_waiting  # gather may have begun to wait just now
    if is_over and run.id in state.runs and (not run.is_split or run.open_subtasks == 0):
        run.reason = run.reason or reason
        close(state, run, now, draft)


def take_waiting(state: State, run: Run) -> list[Subtask]:
    """Everything of the run that waits for a worker, taken out of the queues."""
    waiting = [*run.pending, *(subtask for queue in run.pinned.values() for subtask in queue)]
    run.pending.clear()
    run.pinned.clear()
    run.unable_since = None
    group = state.waiting.get(run.lane)
    if group is not None:
        group.pop(run.id, None)
    return waiting


def close(state: State, run: Run, now: Moment, draft: Draft, result: bytes = b"") -> None:
    """The run becomes final: cancelled if that was asked for, succeeded if everything did, else failed."""
    if run.is_cancelled:
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
            result=result,
            workers=tuple(run.workers),
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


def _add_step(run: Run, index: int, now: Moment, draft: Draft) -> None:
    step = Subtask(index, waiting_since=now.mono)
    run.subtasks[index] = step
    run.pending.append(step)
    draft.subtasks.append(RecordSubtasks(run.id, ((index, None, None),), run.is_split))


def _all_settled(state: State, run: Run, now: Moment, draft: Draft) -> None:
    if run.job.gather is None or run.is_cancelled:
        close(state, run, now, draft)
    elif GATHER not in run.subtasks:
        _add_step(run, GATHER, now, draft)
        state.enlist(run)
