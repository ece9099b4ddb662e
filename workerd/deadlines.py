"""What a worker does because time has passed: beats, resends, fences guarded attempts, forgets, leaves."""

from schedulerd.protocol.messages import Outcome
from workerd.holding import RESEND_MS, expire, kill
from workerd.state import TOMBSTONE_MS, Phase, WorkerState
from workerd.turn import Turn

_BEATS_KEPT = 64  # enough for every echo that could still renew the lease


def pass_time(state: WorkerState, turn: Turn) -> None:
    """Do all that is due."""
    if turn.clock_ms >= state.next_beat_ms:
        turn.lag_ms = max(0, turn.clock_ms - state.next_beat_ms)
        state.next_beat_ms = turn.clock_ms + state.limits.beat_ms
        turn.wants_beat = turn.wants_lease = True
        _forget(state, turn)
        _fence(state, turn)
        expire(
            state,
            turn,
            [a for a in state.waiting if state.attempts[a].expiry_clock_ms <= turn.clock_ms],
        )
    if state.results:
        _resend(state, turn)


def queue_first_resend(state: WorkerState, turn: Turn) -> None:
    """What has ended in this step is sent again in a second, if it is not acknowledged by then."""
    if turn.ended:
        due_ms = turn.clock_ms + RESEND_MS[0]
        state.resends[0].append((due_ms, [outcome.attempt for outcome in turn.ended]))


def leave(state: WorkerState, turn: Turn) -> None:
    """End a worker that was asked to leave: empty, and its results acknowledged or waited for long enough."""
    if not state.leaving or state.live or state.waiting:
        return
    if state.ended and state.results:
        if state.leave_by_ms is None:
            state.leave_by_ms = turn.clock_ms + state.limits.leave_wait_ms
        if turn.clock_ms < state.leave_by_ms:
            return
    state.has_left = True
    turn.wants_beat = True
    turn.exit_reason = (
        f"drained; {state.ended} results are unacknowledged and stay in the journal"
        if state.ended
        else "drained"
    )


def next_alarm(state: WorkerState) -> int:
    """When step has to be called even if nothing happens."""
    alarm = state.next_beat_ms
    if state.results:  # with nobody to send to, what is due stays due
        for queue in state.resends:
            if queue and queue[0][0] < alarm:
                alarm = queue[0][0]
    if state.leave_by_ms is not None:
        alarm = min(alarm, state.leave_by_ms)
    return alarm  # fences and expiries have room for the 2 s between beats


def _resend(state: WorkerState, turn: Turn) -> None:
    attempts = state.attempts
    for level, queue in enumerate(state.resends):
        again: list[Outcome] = []
        while queue and queue[0][0] <= turn.clock_ms:
            for attempt in queue.popleft()[1]:
                kept = attempts.get(attempt)
                if kept is not None and kept.outcome is not None:
                    again.append(kept.outcome)
        if again:
            longer = min(level + 1, len(RESEND_MS) - 1)
            ids = [outcome.attempt for outcome in again]
            state.resends[longer].append((turn.clock_ms + RESEND_MS[longer], ids))
            turn.resent.extend(again)
            state.count("results_resent", len(again))


def _fence(state: WorkerState, turn: Turn) -> None:
    """End guarded attempts when the leader's echo has stayed away: gone before it may call them lost.

    Looked at once a beat; the helper process keeps the exact term, the KILL here is for one that did not.
    """
    if not state.guarded:
        return
    silent_ms = turn.clock_ms - state.lease_ms
    limits = state.limits
    if silent_ms < limits.fence_term_ms:
        return
    is_last = silent_ms >= limits.fence_kill_ms
    for attempt in state.guarded:
        kept = state.attempts[attempt]
        if is_last or kept.ending != "fenced":
            if kept.ending != "fenced":
                state.count("fenced")
            kept.ending = "fenced"  # also over a cancellation: it did not end in time to be told
            allowed = kept.spec.kill_after_ms if kept.spec is not None else 0
            rest = max(0, limits.fence_kill_ms - silent_ms)
            kill(turn, attempt, kept, "fenced", is_last, min(allowed, rest))


def _forget(state: WorkerState, turn: Turn) -> None:
    clock_ms = turn.clock_ms
    tombstones = state.tombstones
    surplus = len(tombstones) - state.limits.tombstones
    gone: list[str] = []
    for attempt, forget_ms in tombstones.items():
        # An expired attempt is refused for that alone: its tombstone only gives the better answer.
        if forget_ms > clock_ms and not (len(gone) < surplus and forget_ms - TOMBSTONE_MS <= clock_ms):
            break
        gone.append(attempt)
    for attempt in gone:
        del tombstones[attempt]
    for attempt in [a for a, (expiry_ms, _) in state.refused.items() if expiry_ms <= clock_ms]:
        del state.refused[attempt]
    while len(state.beats) > _BEATS_KEPT:
        del state.beats[next(iter(state.beats))]


def live_attempts(state: WorkerState) -> list[str]:
    """What the helper process has in hand."""
    return [a for a, kept in state.attempts.items() if kept.phase in (Phase.STARTING, Phase.RUNNING)]
