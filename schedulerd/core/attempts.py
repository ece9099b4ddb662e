"""One attempt from assignment to its end: given, accepted, started, settled, given again, lost.

An attempt that was never heard of is not proof that it did not start: its acceptance may have been lost on the way.
So it is free only by the worker's own word (unstarted, refused, an inventory taken after its expiry), because the
link had no connection when it was first sent, or as `lost` together with its worker.
"""

from datetime import UTC, datetime, timedelta

from schedulerd.core import notes, stages, terms
from schedulerd.core.draft import Draft
from schedulerd.core.ending import is_called_off
from schedulerd.core.pools import leave_place, take_place
from schedulerd.core.specs import spec_of
from schedulerd.core.state import Attempt, Run, State, Subtask, Worker
from schedulerd.model.job import OnLost
from schedulerd.model.moment import Moment
from schedulerd.model.run import AttemptState, NewAttempt, RunState, SubtaskState
from schedulerd.protocol.codec import digest_of
from schedulerd.protocol.ids import GATHER
from schedulerd.protocol.messages import Order, Outcome, OutcomeState

MAX_LOSSES = 2  # retries after a loss, with on_lost = "retry"

ENDS = {
    "succeeded": SubtaskState.SUCCEEDED,
    "failed": SubtaskState.FAILED,
    "timeout": SubtaskState.TIMEOUT,
    "cancelled": SubtaskState.CANCELLED,
    "lost": SubtaskState.LOST,
}


def assign(state: State, run: Run, subtask: Subtask, worker: Worker, now: Moment, draft: Draft) -> None:
    """Hand `subtask` to `worker`: recorded first, sent after."""
    subtask.attempts += 1
    subtask.state = SubtaskState.RUNNING
    subtask.avoid = worker.id
    if subtask.is_fresh:
        subtask.is_fresh, subtask.waiting_since = False, now.mono
    take_place(state, run.job.pools)
    fence = state.next_fence
    state.next_fence = fence + 1
    name = f"{run.id}~{subtask.index}~{subtask.attempts}"
    expiry_ms = worker.clock_ms + int((now.mono - worker.clock_at + state.timing.expiry) * 1000)
    order = Order(name, 0, expiry_ms, fence, subtask.item, b"", subtask.previous, _extra_env(run, subtask))
    attempt = Attempt(
        name,
        run,
        subtask,
        worker.id,
        worker.nonce,
        fence,
        AttemptState.ASSIGNED,
        order,
        1,
        now.mono + 1.0,
        now.mono + state.timing.expiry + state.timing.margin,
        expiry_clock_ms=expiry_ms,
    )
    run.state = RunState.RUNNING
    run.live[name] = attempt
    run.workers[worker.name] = None
    state.attempts[name] = attempt
    worker.attempts[name] = attempt
    worker.unaccepted[name] = attempt
    draft.attempts.append(
        NewAttempt(
            id=name,
            run=run.id,
            subtask=subtask.index,
            number=subtask.attempts,
            worker=worker.id,
            worker_name=worker.name,
            nonce=worker.nonce,
            epoch=state.epoch,
            fence=fence,
            assigned_at=now.utc,
        )
    )
    _send(attempt, worker, draft)


def accepted(attempt: Attempt, worker: Worker) -> None:
    """The worker has journaled it: from now on only the worker's own word frees it."""
    if not attempt.is_accepted:
        attempt.is_accepted = True
        attempt.digest = digest_of(attempt.id)
        worker.digest ^= attempt.digest
        worker.unaccepted.pop(attempt.id, None)
    if attempt.state is AttemptState.ASSIGNED:
        attempt.state = AttemptState.ACCEPTED


def started(state: State, attempt: Attempt, worker: Worker, at: datetime, now: Moment, draft: Draft) -> None:
    """Its process exists, since `at`."""
    accepted(attempt, worker)
    if attempt.state is not AttemptState.RUNNING:
        attempt.state = AttemptState.RUNNING
        draft.started[attempt.id] = at
        if attempt.run.started_at is None:
            terms.begin(state, attempt.run, at, now)


def settle(state: State, attempt: Attempt, outcome: Outcome, now: Moment, draft: Draft) -> None:
    """The attempt has ended as `outcome` says: its subtask is final, or is given out again."""
    _forget(state, attempt)
    run, subtask = attempt.run, attempt.subtask
    draft.started.pop(attempt.id, None)
    draft.outcomes.append(outcome)
    if run.started_at is None and outcome.started_utc_ms is not None:
        terms.begin(state, run, _instant(outcome.started_utc_ms), now)
    end = outcome.state
    is_over = (run.is_cancelled or run.is_failing_fast) and is_called_off(run, subtask.index)
    if end in ("failed", "timeout"):
        subtask.failures += 1
        subtask.previous = end
        is_again = subtask.failures <= run.job.retry_max
    elif end == "lost":
        subtask.losses += 1
        subtask.previous = "lost"
        notes.ended_oddly(state, attempt, outcome, now, draft)
        is_again = run.job.on_lost is OnLost.RETRY and subtask.losses <= MAX_LOSSES
    elif end == "unstarted":
        notes.ended_oddly(state, attempt, outcome, now, draft)
        is_again = now.mono - subtask.waiting_since < run.job.dispatch_timeout / timedelta(seconds=1)
    else:
        is_again = False
    if is_again and not is_over:
        if end != "unstarted":
            subtask.is_fresh = True  # it had its worker: dispatch_timeout counts anew
        notes.given_again(state, attempt, outcome, now, draft)
        give_again(state, run, subtask, draft)
    elif end == "unstarted" and not is_over:
        stages.settle_subtask(state, run, subtask, SubtaskState.FAILED, "no_worker", now, draft)
    else:
        final = SubtaskState.CANCELLED if end == "unstarted" else ENDS[end]
        if final is SubtaskState.SUCCEEDED and subtask.index < 0:
            stages.step_succeeded(state, run, subtask, outcome, now, draft)
        else:
            reason = outcome.reason or end
            if is_over and final is SubtaskState.CANCELLED:
                reason = run.cancel_reason if run.is_cancelled else stages.FAIL_FAST
            stages.settle_subtask(state, run, subtask, final, reason, now, draft)


def give_again(state: State, run: Run, subtask: Subtask, draft: Draft) -> None:
    """The subtask waits for a worker once more."""
    subtask.state = SubtaskState.PENDING
    draft.requeued.setdefault(run.id, []).append(subtask.index)
    stages.give(run, subtask)
    state.enlist(run)


def conclude(
    state: State, attempt: Attempt, end: OutcomeState, reason: str, now: Moment, draft: Draft
) -> None:
    """End an attempt by the leader's own conclusion: `end` is lost or unstarted."""
    at = int(now.utc.timestamp() * 1000)
    settle(state, attempt, Outcome(attempt.id, end, end, reason, finished_utc_ms=at), now, draft)


def chase(state: State, worker: Worker, now: Moment, draft: Draft) -> None:
    """Send again what was not accepted; past its expiry ask the worker for its word instead."""
    for attempt in list(worker.unaccepted.values()):
        if now.mono < attempt.resend_at:
            continue
        if attempt.order is not None and now.mono < attempt.expires_at - state.timing.margin:
            _send(attempt, worker, draft)
            attempt.resend_at = min(now.mono + 2.0**attempt.sends, attempt.expires_at)
            notes.resent(state, attempt, now, draft)
            attempt.sends += 1
        elif now.mono >= attempt.expires_at:
            if not worker.is_suspect:
                notes.revoked(state, attempt, now, draft)
                attempt.resend_at = now.mono + 2.0
                draft.to(worker).revokes.append(attempt.id)
            elif attempt.run.job.on_lost is OnLost.RETRY and not attempt.run.job.is_guarded:
                conclude(state, attempt, "lost", "never answered", now, draft)


def send_failed(state: State, attempt: Attempt, now: Moment, draft: Draft) -> None:
    """There was no connection: if it was the first send, nobody has it."""
    if (
        attempt.state is AttemptState.ASSIGNED
        and not attempt.is_accepted
        and attempt.sends == 1
        and attempt.order
    ):
        conclude(state, attempt, "unstarted", "not sent", now, draft)


def _send(attempt: Attempt, worker: Worker, draft: Draft) -> None:
    assert attempt.order is not None
    spec = spec_of(attempt.run, attempt.subtask.index)
    if attempt.subtask.index == GATHER:
        draft.to(worker).gathers.append((attempt.run.id, spec, attempt.order))
    else:
        draft.to(worker).dispatches.append((spec, attempt.order))


def _extra_env(run: Run, subtask: Subtask) -> dict[str, str]:
    if subtask.index != GATHER:
        return {}
    return {"SCHEDULERD_NEED_MET": "1" if stages.has_enough(run) else "0"}


def _forget(state: State, attempt: Attempt) -> None:
    if state.attempts.pop(attempt.id, None) is not None:
        leave_place(state, attempt.run.job.pools)
    attempt.run.live.pop(attempt.id, None)
    worker = state.workers_by_id.get(attempt.worker)
    if worker is not None and worker.attempts.pop(attempt.id, None) is not None:
        if attempt.is_accepted:
            worker.digest ^= attempt.digest
        else:
            worker.unaccepted.pop(attempt.id, None)


def _instant(utc_ms: int) -> datetime:
    return datetime.fromtimestamp(utc_ms / 1000, UTC)


def settle_late(state: State, run: Run, subtask: Subtask, now: Moment, draft: Draft) -> None:
    """A lost attempt of an open run succeeded after all, and nothing else of the subtask is under way."""
    stages.settle_subtask(state, run, subtask, SubtaskState.SUCCEEDED, "", now, draft)
