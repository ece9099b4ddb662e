"""A State from the ledger's open work: how every leader begins, after a start, a failover or a ledger fault alike."""

from schedulerd.core import overlap, runs, stages, terms
from schedulerd.core.draft import Draft
from schedulerd.core.events import LeadershipGained
from schedulerd.core.firing import count_again
from schedulerd.core.pools import take_place
from schedulerd.core.restoring import restored
from schedulerd.core.state import Attempt, JobEntry, Run, State
from schedulerd.core.trigger import next_fire
from schedulerd.core.waking import await_fire, await_resume
from schedulerd.model.moment import Moment
from schedulerd.model.run import AttemptState, OpenAttempt, OpenRun, OpenWork, SubtaskState
from schedulerd.protocol.timing import Timing


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
    run = restored(found, now)
    state.runs[run.id] = run
    entry = state.jobs.get(run.job.name)
    if entry is not None:
        entry.open_runs[run.id] = None
    else:
        state.removed.setdefault(run.job.name, run.fire_time)  # should it come back, it has open runs
    if run.is_cancelled:
        state.cancelled[run.id] = run
    for attempt in found.attempts:
        _reopen_attempt(state, run, attempt, now)
    if run.again is not None:
        overlap.wait(state, run)
    elif run.subtasks or run.is_split or run.is_cancelled:
        terms.resume(state, run, now)
        for subtask in stages.due(run):
            subtask.state = SubtaskState.PENDING
            stages.give(run, subtask)
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
            stages.resume(state, run, now, draft)
