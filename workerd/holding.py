"""How an attempt moves through a worker's hands: accepted, started, ended, acknowledged. Asks not why.

Every move changes the state and tells the turn what has to be journaled and said.
"""

from msgspec.structs import replace

from schedulerd.protocol.codec import digest_of
from schedulerd.protocol.messages import Order, Outcome, Refusal, Spec
from workerd.effects import Kill, Spawn
from workerd.state import TOMBSTONE_MS, Attempt, Phase, WorkerState, output_bytes
from workerd.turn import Turn

RESEND_MS = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000)


def accept(state: WorkerState, turn: Turn, order: Order, spec: Spec) -> None:
    """Take an attempt that is not known yet; it waits for a slot."""
    attempt = order.attempt
    digest = digest_of(attempt)
    state.attempts[attempt] = Attempt(
        digest, order.expiry_clock_ms, state.epoch, Phase.WAITING, order=order, spec=spec
    )
    state.digest ^= digest
    state.waiting[attempt] = None
    turn.newly_accepted.append((attempt, order.expiry_clock_ms))
    turn.accepted.append(attempt)


def refuse(state: WorkerState, turn: Turn, attempt: str, reason: str, detail: str = "") -> None:
    """Say no to an attempt."""
    turn.refusals.append(Refusal(attempt, reason, detail))
    state.count(f"refused_{reason}")


def start_waiting(state: WorkerState, turn: Turn) -> None:
    """Start what waits, oldest first, as far as slots are free; what has expired meanwhile ends unstarted."""
    free = state.identity.slots - state.live
    if free <= 0 or not state.waiting:
        return
    has_lease = turn.clock_ms < state.lease_ms + state.limits.fence_term_ms
    chosen: list[tuple[str, Attempt]] = []
    expired: list[str] = []
    for attempt in state.waiting:
        kept = state.attempts[attempt]
        if kept.expiry_clock_ms <= turn.clock_ms:
            expired.append(attempt)
        # Without an echo a guarded attempt would be ended at once: it waits for one until it expires.
        elif has_lease or not (kept.spec is not None and kept.spec.guarded):
            chosen.append((attempt, kept))
            if len(chosen) == free:
                break
    for attempt, kept in chosen:
        _start(state, turn, attempt, kept)
    expire(state, turn, expired)


def _start(state: WorkerState, turn: Turn, attempt: str, kept: Attempt) -> None:
    order, spec = kept.order, kept.spec
    if order is None or spec is None:
        raise AssertionError(f"{attempt} waits without its order")  # only ENDED attempts have lost theirs
    del state.waiting[attempt]
    kept.phase = Phase.STARTING
    kept.started_utc_ms = turn.utc_ms
    state.live += 1
    if spec.guarded:
        turn.wants_lease = turn.wants_lease or not state.guarded
        state.guarded[attempt] = None
    turn.starting.append(attempt)
    turn.spawns.append(Spawn(order, spec, kept.epoch))


def expire(state: WorkerState, turn: Turn, attempts: list[str]) -> None:
    """End attempts whose expiry is over before they could start."""
    for attempt in attempts:
        end_unstarted(state, turn, attempt, "expired", "its expiry was over before a slot was free")


def end_unstarted(state: WorkerState, turn: Turn, attempt: str, reason: str, detail: str) -> None:
    """End a known attempt that provably never started."""
    end(state, turn, attempt, Outcome(attempt, "unstarted", reason, detail, finished_utc_ms=turn.utc_ms))


def end_unknown(state: WorkerState, turn: Turn, outcome: Outcome) -> None:
    """Keep an outcome for an attempt whose Dispatch has not come: if it comes yet, it must not start."""
    digest = digest_of(outcome.attempt)
    state.attempts[outcome.attempt] = Attempt(digest, turn.clock_ms, state.epoch)
    state.digest ^= digest
    end(state, turn, outcome.attempt, outcome)


def end(state: WorkerState, turn: Turn, attempt: str, outcome: Outcome) -> None:
    """Give a known attempt, not yet ENDED, its outcome; it is kept and sent until it is acknowledged."""
    kept = state.attempts[attempt]
    if kept.phase is Phase.WAITING:
        state.waiting.pop(attempt, None)
    else:
        state.live -= 1
        state.guarded.pop(attempt, None)
    outcome = _as_told(kept, outcome)
    kept.phase = Phase.ENDED
    kept.outcome = outcome
    kept.order = kept.spec = None
    state.ended += 1
    state.ended_bytes += output_bytes(outcome)
    turn.ended.append(outcome)


def _as_told(kept: Attempt, outcome: Outcome) -> Outcome:
    """The outcome of a process that was told to end: the exit is the telling's, not the job's own."""
    if kept.ending == "fenced":
        detail = "no leader was heard for too long, so it was ended"
        return replace(outcome, state="lost", reason="fenced", detail=detail)
    if kept.ending == "cancelled" and outcome.state in ("failed", "timeout", "lost"):
        return replace(outcome, state="cancelled", reason="cancelled")
    return outcome


def kill(turn: Turn, attempt: str, kept: Attempt, ending: str, kill_now: bool, kill_after_ms: int) -> None:
    """Have a live attempt ended; the first reason stays."""
    kept.ending = kept.ending or ending
    turn.kills.append(Kill(attempt, kill_now, kill_after_ms))


def acknowledge(state: WorkerState, turn: Turn, attempt: str) -> None:
    """Forget a result that is in the ledger, but for its tombstone."""
    kept = state.attempts.get(attempt)
    if kept is None or kept.phase is not Phase.ENDED or kept.outcome is None:
        state.count("stray_acknowledgements")
        return
    del state.attempts[attempt]
    state.digest ^= kept.digest
    state.ended -= 1
    state.ended_bytes -= output_bytes(kept.outcome)
    state.tombstones[attempt] = kept.expiry_clock_ms + TOMBSTONE_MS
    turn.acknowledged.append(attempt)


def hand_back(state: WorkerState, turn: Turn) -> None:
    """End everything that waits as unstarted, so that another worker gets it."""
    for attempt in list(state.waiting):
        end_unstarted(state, turn, attempt, "revoked", "the worker was drained before it could start")


def resend_all(state: WorkerState, due_ms: int) -> None:
    """Send every unacknowledged result anew from `due_ms` on, with a fresh back-off."""
    for queue in state.resends:
        queue.clear()
    ids = [attempt for attempt, kept in state.attempts.items() if kept.phase is Phase.ENDED]
    if ids:
        state.resends[0].append((due_ms, ids))
