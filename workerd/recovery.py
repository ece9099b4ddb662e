"""A worker's memory from its journal at start, and the journal's shortest form from its memory."""

from collections import deque

from schedulerd.protocol.codec import digest_of
from schedulerd.protocol.messages import Outcome
from workerd.deadlines import next_alarm
from workerd.effects import Effect
from workerd.events import WorkerMoment
from workerd.holding import RESEND_MS, end, end_unstarted
from workerd.records import (
    AttemptsAccepted,
    AttemptsAcknowledged,
    AttemptsEnded,
    AttemptsStarting,
    Booted,
    EpochSeen,
    Record,
    Tombstones,
)
from workerd.state import (
    TOMBSTONE_MS,
    Attempt,
    Identity,
    Limits,
    Phase,
    WorkerState,
    output_bytes,
)
from workerd.turn import Turn

BOOTS = 8  # how many are remembered, this one included


def boot(
    identity: Identity, records: list[Record], now: WorkerMoment, limits: Limits | None = None
) -> tuple[WorkerState, list[Effect]]:
    """The state of a worker that has just started, and the first effects, which begin with the journal.

    What was accepted and not started is provably unstarted; what was started and has no outcome is lost, and
    never runs again. Its own boot is in `snapshot` only, which has to be durable before anything is said.
    """
    state = WorkerState(identity=identity, limits=limits or Limits())
    state.resends = [deque() for _ in RESEND_MS]
    state.lease_ms = now.clock_ms  # no leader can have given anything to this nonce earlier
    state.next_beat_ms = now.clock_ms
    for record in records:
        _replay(state, record, now)
    state.boots = [*state.boots, Booted(identity.nonce, identity.place, identity.endpoint)][-BOOTS:]
    turn = Turn(now)
    for attempt, kept in list(state.attempts.items()):
        if kept.phase is Phase.WAITING:
            end_unstarted(state, turn, attempt, "revoked", "the worker restarted before it could start")
        elif kept.phase is Phase.STARTING:
            end(state, turn, attempt, _lost(attempt, kept))
    left = [a for a, kept in state.attempts.items() if kept.phase is Phase.ENDED]
    if left:
        state.resends[0].append((now.clock_ms, left))
    effects = turn.effects(state)
    return state, effects + turn.ending(state, next_alarm(state))


def snapshot(state: WorkerState, clock_ms: int) -> list[Record]:
    """The records that `boot` would make the same state from; what a compacted journal holds."""
    held: dict[Phase, list[tuple[str, Attempt]]] = {phase: [] for phase in Phase}
    for attempt, kept in state.attempts.items():
        held[kept.phase].append((attempt, kept))
    records: list[Record] = [EpochSeen(state.epoch), *state.boots]
    if state.attempts:
        records.append(AttemptsAccepted([(a, kept.expiry_clock_ms) for a, kept in state.attempts.items()]))
    for phase in (Phase.STARTING, Phase.RUNNING):
        for attempt, kept in held[phase]:
            records.append(AttemptsStarting([attempt], kept.started_utc_ms or 0))
    for _, kept in held[Phase.ENDED]:
        if kept.outcome is not None:
            records.append(AttemptsEnded([kept.outcome], clock_ms))
    if state.tombstones:
        records.append(Tombstones(list(state.tombstones.items())))
    return records


def _lost(attempt: str, kept: Attempt) -> Outcome:
    detail = "the worker restarted while it ran; whether it did its work is not known"
    return Outcome(attempt, "lost", "lost", detail, started_utc_ms=kept.started_utc_ms)


def _replay(state: WorkerState, record: Record, now: WorkerMoment) -> None:
    """Apply one record. Clock readings may be of the host's boot before, so they are capped."""
    match record:
        case EpochSeen(epoch):
            state.epoch = max(state.epoch, epoch)
        case Booted():
            state.boots.append(record)
        case AttemptsAccepted(accepted):
            for attempt, expiry_ms in accepted:
                _keep(state, attempt, min(expiry_ms, now.clock_ms + TOMBSTONE_MS))
                state.waiting[attempt] = None
        case AttemptsStarting(starting, utc_ms):
            for attempt in starting:
                kept = state.attempts.get(attempt) or _keep(state, attempt, now.clock_ms)
                state.waiting.pop(attempt, None)
                state.live += 1
                kept.phase, kept.started_utc_ms = Phase.STARTING, utc_ms
        case AttemptsEnded(outcomes, _):
            for outcome in outcomes:
                _replay_end(state, outcome, now)
        case AttemptsAcknowledged(acknowledged):
            for attempt in acknowledged:
                _replay_acknowledge(state, attempt)
        case Tombstones(tombstones):
            for attempt, forget_ms in tombstones:
                state.tombstones[attempt] = min(forget_ms, now.clock_ms + 2 * TOMBSTONE_MS)


def _keep(state: WorkerState, attempt: str, expiry_ms: int) -> Attempt:
    digest = digest_of(attempt)
    kept = Attempt(digest, expiry_ms, state.epoch)
    state.attempts[attempt] = kept
    state.digest ^= digest
    return kept


def _replay_end(state: WorkerState, outcome: Outcome, now: WorkerMoment) -> None:
    attempt = outcome.attempt
    kept = state.attempts.get(attempt) or _keep(state, attempt, now.clock_ms)
    if kept.phase is Phase.STARTING:
        state.live -= 1
    state.waiting.pop(attempt, None)
    if kept.phase is not Phase.ENDED:
        state.ended += 1
        state.ended_bytes += output_bytes(outcome)
    kept.phase, kept.outcome = Phase.ENDED, outcome


def _replay_acknowledge(state: WorkerState, attempt: str) -> None:
    kept = state.attempts.get(attempt)
    if kept is None or kept.outcome is None:
        return
    del state.attempts[attempt]
    state.digest ^= kept.digest
    state.ended -= 1
    state.ended_bytes -= output_bytes(kept.outcome)
    state.tombstones[attempt] = kept.expiry_clock_ms + TOMBSTONE_MS
