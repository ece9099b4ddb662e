"""What a worker makes of a leader's frames. Fences first: for this boot of this worker, of no older epoch.

Leaves to holding.py how attempts move, and to deadlines.py what happens when nobody speaks.
"""

from collections.abc import Callable
from typing import Any

from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.ids import is_within_reach
from schedulerd.protocol.messages import (
    Cancel,
    Dispatch,
    Drain,
    Hello,
    Message,
    Outcome,
    ReadOutput,
    Reconcile,
    Refusal,
    ResultAck,
    Revoke,
)
from workerd.events import FrameArrived
from workerd.holding import accept, acknowledge, end, end_unknown, hand_back, kill, refuse, resend_all
from workerd.state import Attempt, Phase, WorkerState
from workerd.turn import Turn

_LONGEST_ID = 256
HEARD_BEATS = 3  # a leader that was silent for so many beats may be replaced by another of its epoch


def take_frame(state: WorkerState, turn: Turn, event: FrameArrived) -> None:
    """Act on a frame that was read: fences first, then what it says."""
    envelope, message = event.envelope, event.message
    if not is_within_reach(envelope.epoch, state.epoch):
        state.count("frames_epoch_out_of_reach")
        return
    if isinstance(message, Hello):
        _hello(state, turn, envelope, message)
        return
    handler = _FRAMES.get(type(message))
    identity = state.identity
    if handler is None:
        state.count("frames_not_for_workers")
    elif envelope.receiver != identity.worker or envelope.receiver_nonce != identity.nonce:
        state.count("frames_for_another")
    elif envelope.epoch < state.epoch:
        stale = message.orders if isinstance(message, Dispatch) else []
        _refuse_stale(state, turn, envelope, [Refusal(order.attempt, "stale") for order in stale])
    else:
        _see(state, turn, envelope)
        handler(state, turn, message)


def _hello(state: WorkerState, turn: Turn, envelope: Envelope, hello: Hello) -> None:
    if envelope.epoch < state.epoch:
        state.stale_results = hello.results
        _refuse_stale(state, turn, envelope, [])
        return
    if _is_rival(state, turn, envelope, hello):
        state.count("hellos_of_a_rival")
        return
    state.count("hellos")
    state.hello_ms = turn.clock_ms
    _see(state, turn, envelope)
    state.link = hello.link
    is_new = (envelope.epoch, hello.results) != (state.results_epoch, state.results)
    if is_new:
        state.count("leaders")
        state.results_epoch, state.results = envelope.epoch, hello.results
        turn.connect = hello.results
        resend_all(state, turn.clock_ms + state.limits.reconnect_ms)
    identity = state.identity
    is_ours = envelope.receiver == identity.worker and envelope.receiver_nonce == identity.nonce
    if is_ours and hello.heard > state.heard and hello.heard in state.beats:
        # Anchored at the beat's sending, so a slow echo cannot stretch the lease.
        state.heard = hello.heard
        state.lease_ms = max(state.lease_ms, state.beats[hello.heard])
        for number in [number for number in state.beats if number < hello.heard]:
            del state.beats[number]
    if is_ours and hello.told is not None:
        state.told = hello.told
    if is_new or not is_ours:
        turn.wants_inventory = turn.wants_beat = True


def _is_rival(state: WorkerState, turn: Turn, envelope: Envelope, hello: Hello) -> bool:
    """It says to be the leader of an epoch that has one, which was heard a moment ago: there are no two."""
    is_same = envelope.epoch == state.results_epoch and hello.results == state.results
    is_heard = turn.clock_ms - state.hello_ms < HEARD_BEATS * state.limits.beat_ms
    return not is_same and envelope.epoch == state.results_epoch and bool(state.results) and is_heard


def _see(state: WorkerState, turn: Turn, envelope: Envelope) -> None:
    state.leader = envelope.sender
    if envelope.epoch > state.epoch:
        state.epoch = envelope.epoch
        turn.new_epoch = True


def _refuse_stale(state: WorkerState, turn: Turn, envelope: Envelope, refusals: list[Refusal]) -> None:
    """Tell a deposed leader, at its own endpoint; ours belongs to its successor."""
    state.count("refused_stale")
    if state.stale_results:
        turn.stale.setdefault((state.stale_results, envelope.sender), []).extend(refusals)


def _dispatch(state: WorkerState, turn: Turn, dispatch: Dispatch) -> None:
    attempts, tombstones, specs = state.attempts, state.tombstones, dispatch.specs
    limits = state.limits
    room = limits.backlog(state.identity.slots) - state.live - len(state.waiting)
    if state.ended >= limits.ended or state.ended_bytes >= limits.ended_bytes:
        room = 0
    is_draining = state.drain or state.leaving
    for order in dispatch.orders:
        attempt = order.attempt
        if (kept := attempts.get(attempt)) is not None:
            state.count("duplicate_dispatches")
            _answer(turn, attempt, kept)
        elif attempt in tombstones:
            refuse(state, turn, attempt, "tombstone")
        elif order.expiry_clock_ms <= turn.clock_ms:
            refuse(state, turn, attempt, "expired")
        elif attempt in state.refused:
            refuse(state, turn, attempt, state.refused[attempt][1])
        elif not (0 <= order.spec < len(specs) and 0 < len(attempt) <= _LONGEST_ID):
            refuse(state, turn, attempt[:_LONGEST_ID], "faulty", f"spec {order.spec} of {len(specs)}")
        elif is_draining or room <= 0:
            reason = "draining" if is_draining else "full"
            state.refused[attempt] = (order.expiry_clock_ms, reason)
            refuse(state, turn, attempt, reason)
        else:
            room -= 1
            accept(state, turn, order, specs[order.spec])


def _answer(turn: Turn, attempt: str, kept: Attempt) -> None:
    """Say again how a known attempt stands."""
    if kept.outcome is not None:
        turn.resent.append(kept.outcome)
    elif kept.phase is Phase.RUNNING:
        turn.started[attempt] = kept.started_utc_ms or turn.utc_ms
    else:
        turn.accepted.append(attempt)


def _cancel(state: WorkerState, turn: Turn, cancel: Cancel) -> None:
    for cancellation in cancel.attempts:
        attempt = cancellation.attempt
        kept = state.attempts.get(attempt)
        if kept is not None and kept.phase in (Phase.STARTING, Phase.RUNNING):
            kill_after_ms = kept.spec.kill_after_ms if kept.spec is not None else 0
            kill(turn, attempt, kept, "cancelled", cancellation.kill, kill_after_ms)
        else:
            _end_unstarted(state, turn, attempt, kept, "cancelled")


def _revoke(state: WorkerState, turn: Turn, revoke: Revoke) -> None:
    for attempt in revoke.attempts:
        kept = state.attempts.get(attempt)
        if kept is not None and kept.phase in (Phase.STARTING, Phase.RUNNING):
            _answer(turn, attempt, kept)  # too late: it has started
        else:
            _end_unstarted(state, turn, attempt, kept, "revoked")


def _end_unstarted(state: WorkerState, turn: Turn, attempt: str, kept: Attempt | None, reason: str) -> None:
    """End an attempt that waits, or keep it from ever starting here; what has ended already is said again."""
    outcome = Outcome(
        attempt,
        "cancelled" if reason == "cancelled" else "unstarted",
        reason,
        "before it could start",
        finished_utc_ms=turn.utc_ms,
    )
    if kept is None and attempt in state.tombstones:
        refuse(state, turn, attempt, "tombstone")
    elif kept is None:
        end_unknown(state, turn, outcome)
    elif kept.phase is Phase.WAITING:
        end(state, turn, attempt, outcome)
    else:
        _answer(turn, attempt, kept)


def _acknowledge(state: WorkerState, turn: Turn, ack: ResultAck) -> None:
    for attempt in ack.attempts:
        acknowledge(state, turn, attempt)


def _reconcile(state: WorkerState, turn: Turn, message: Message) -> None:
    turn.wants_inventory = True


def _drain(state: WorkerState, turn: Turn, message: Drain) -> None:
    state.drain = message.on
    if message.on:
        hand_back(state, turn)
    turn.wants_beat = True


def _read_output(state: WorkerState, turn: Turn, message: ReadOutput) -> None:
    state.count("read_output_unanswered")  # whole outputs are not kept: head and tail travel in the Result


_FRAMES: dict[type[Message], Callable[[WorkerState, Turn, Any], None]] = {
    Dispatch: _dispatch,
    Cancel: _cancel,
    ResultAck: _acknowledge,
    Reconcile: _reconcile,
    Revoke: _revoke,
    Drain: _drain,
    ReadOutput: _read_output,
}
