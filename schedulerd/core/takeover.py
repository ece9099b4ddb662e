"""A State from the ledger's open work: how every leader begins, after a start, a failover or a ledger fault alike."""

from schedulerd.core import overlap, runs
from schedulerd.core.draft import Draft
from schedulerd.core.events import LeadershipGained
from schedulerd.core.firing import count_again
from schedulerd.core.pools import take_place
from schedulerd.core.state import Attempt, JobEntry, Run, State, Subtask
from schedulerd.core.trigger import next_fire
from schedulerd.core.waking import await_fire, await_resume
from schedulerd.model.moment import Moment
from schedulerd.model.run import AttemptState, OpenAttempt, OpenRun, OpenWork, SubtaskState
from schedulerd.protocol.timing import Timing

_REASONS = {SubtaskState.FAILED: "exit"}


def rebuild(
    work: OpenWork,
    *,
    epoch: int,
    leader: str,
    results: str,
    output: str,
    timing: Timing,
    now: Moment,
    doubts_clock: bool = False,
) -> State:
    """What a leader of `epoch` remembers at its first moment.

    Workers are not in the ledger: discovery and inventories bring them, and with them the word on every open attempt.
    Fire times missed since the marks are settled by the first step, or once the clock is no longer in doubt.
    """
    state = State(
        epoch, leader, results, output, timing, work.next_fence, led_since=now.mono, last_step=now.mono
    )
    state.next_beat = state.next_tick = state.next_release = now.mono
    state.removed = dict(work.removed)
    state.backfill_width = dict(work.backfills)
    state.is_clock_believed = not doubts_clock
    state.doubts_since = now.mono if doubts_clock else None
    state.pools = {pool.name: pool for pool in work.pools}
    state.boots = dict(work.boots)
    for row in work.jobs:
        entry = JobEntry(row.definition, row.first_seen, row.mark, row.anchor, row.pause, runs=row.runs)
        state.jobs[entry.job.name] = entry
        await_fire(state, entry, next_fire(entry.job, entry.anchor, entry.mark))
        await_resume(state, entry)
    for open_run in work.runs:
        _reopen(state, open_run, now)
    for attempt in sorted(state.attempts.values(), key=lambda attempt: attempt.fence):
        state.spoken_with[attempt.worker] = attempt.nonce  # the newest stays
    return state


def _reopen(state: State, found: OpenRun, now: Moment) -> None:
    record = found.run
    run = Run(
        record.id,
        found.definition,
        record.cause,
        record.fire_time,
        record.created_at,
        record.env,
        found.state,
    )
    run.started_at = found.started_at
    run.is_split = found.is_split
    run.is_cancelled, run.cancel_reason = found.is_cancelled, found.cancel_reason
    state.runs[run.id] = run
    entry = state.jobs.get(run.job.name)
    if entry is not None:
        entry.open_runs[run.id] = None
    else:
        state.removed.setdefault(run.job.name, record.fire_time)  # should it come back, it has open runs
    if run.is_cancelled:
        state.cancelled[run.id] = run
    for old in found.subtasks:
        subtask = Subtask(old.index, old.item, old.pinned, old.state)
        subtask.attempts, subtask.failures, subtask.losses = old.attempts, old.counted_failures, old.losses
        subtask.previous = old.previous
        subtask.waiting_since = now.mono
        run.subtasks[subtask.index] = subtask
        if subtask.state.is_final:
            if subtask.state is not SubtaskState.SUCCEEDED and not run.reason:
                run.reason = _REASONS.get(subtask.state, subtask.state.value)
        elif subtask.index >= 0:
            run.open_subtasks += 1
    for attempt in found.attempts:
        _reopen_attempt(state, run, attempt, now)
    held = {attempt.subtask.index for attempt in run.live.values()}
    for subtask in run.subtasks.values():
        if subtask.state.is_final or subtask.index in held:
            continue
        subtask.state = SubtaskState.PENDING
        if subtask.pinned is not None:
            run.pinned.setdefault(subtask.pinned, type(run.pending)()).append(subtask)
        else:
            run.pending.append(subtask)
    if run.subtasks or run.is_split or run.is_cancelled:
        state.enlist(run)
    elif run.cause in runs.HELD:
        runs.hold(state, run)
        if entry is not None and run.is_aside:
            entry.open_runs.pop(run.id)
    else:
        overlap.wait(state, run)  # it begins in the first step, if nothing is before it


def _reopen_attempt(state: State, run: Run, found: OpenAttempt, now: Moment) -> None:
    record = found.attempt
    until = now.mono + state.timing.expiry + state.timing.margin
    attempt = Attempt(
        record.id,
        run,
        run.subtasks[record.subtask],
        record.worker,
        record.nonce,
        record.fence,
        found.state,
        sends=1,
        resend_at=until,
        expires_at=until,
        is_accepted=found.state is not AttemptState.ASSIGNED,
        # a worker that has seen this epoch takes nothing of a former one any more
        expiry_clock_ms=0 if record.epoch < state.epoch else None,
    )
    attempt.subtask.state = SubtaskState.RUNNING
    attempt.subtask.avoid = record.worker
    run.live[attempt.id] = attempt
    run.workers[record.worker_name] = None
    state.attempts[attempt.id] = attempt
    take_place(state, run.job.pools)


def announce(state: State, gained: LeadershipGained, now: Moment, draft: Draft) -> None:
    """An epoch begins: say what it found open."""
    if gained.is_new:
        waiting = sum(1 for run in state.runs.values() if not run.live)
        text = (
            f"epoch {state.epoch} begins with {len(state.runs)} open runs, {waiting} of them without an attempt; "
            f"{len(state.attempts)} attempts are asked about"
        )
        draft.events.append(runs.event("takeover", now, detail=text))


def resume(state: State, now: Moment, draft: Draft) -> None:
    """Drive on what a rebuilt State holds: no run may be left with nothing that moves it."""
    for entry in state.jobs.values():
        count_again(state, entry, now, draft)
    for run in list(state.runs.values()):
        if not run.is_held:
            runs.resume(state, run, now, draft)
