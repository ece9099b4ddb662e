"""The whole mind of a worker: facts in, orders out. Knows no clock, no socket, no file; loop.py obeys.

`boot` makes the state from the journal's records; `step` alone changes it afterwards. Nothing runs
twice: an attempt is known by its id, and its state is journaled before anything is said or started.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from schedulerd.protocol.messages import Outcome
from workerd.deadlines import leave, live_attempts, next_alarm, pass_time, queue_first_resend
from workerd.effects import Effect
from workerd.events import (
    ChildEnded,
    ChildExpired,
    ChildStarted,
    DrainAsked,
    Event,
    FrameArrived,
    HelperDied,
    LinkUp,
    SettingsRead,
    Tick,
    WorkerMoment,
)
from workerd.frames import take_frame
from workerd.holding import (
    end,
    end_unstarted,
    hand_back,
    resend_all,
    start_waiting,
)
from workerd.recovery import boot, snapshot
from workerd.state import Phase, WorkerState, envelope_of
from workerd.turn import Turn

__all__ = ["WorkerMoment", "WorkerState", "boot", "envelope_of", "snapshot", "step"]


def step(state: WorkerState, events: Sequence[Event], now: WorkerMoment) -> list[Effect]:
    """Take in `events`, oldest first, and what `now` makes due; what to do comes back, to be done in order.

    After an Exit every later call gives nothing.
    """
    if state.has_left:
        return []
    turn = Turn(now)
    for event in events:
        _EVENTS[type(event)](state, turn, event)
    pass_time(state, turn)
    start_waiting(state, turn)
    queue_first_resend(state, turn)
    leave(state, turn)
    effects = turn.effects(state)
    effects.extend(turn.ending(state, next_alarm(state)))
    return effects


def _child_started(state: WorkerState, turn: Turn, event: ChildStarted) -> None:
    kept = state.attempts.get(event.attempt)
    if kept is None or kept.phase is not Phase.STARTING:
        state.count("stray_children")
        return
    kept.phase = Phase.RUNNING
    kept.started_utc_ms = event.started_utc_ms
    turn.started[event.attempt] = event.started_utc_ms


def _child_expired(state: WorkerState, turn: Turn, event: ChildExpired) -> None:
    kept = state.attempts.get(event.attempt)
    if kept is None or kept.phase is not Phase.STARTING:
        state.count("stray_children")
        return
    end_unstarted(state, turn, event.attempt, "expired", "its expiry was over when its process was to begin")


def _child_ended(state: WorkerState, turn: Turn, event: ChildEnded) -> None:
    outcome = event.outcome
    kept = state.attempts.get(outcome.attempt)
    if kept is None or kept.phase is Phase.WAITING or kept.phase is Phase.ENDED:
        state.count("stray_children")
        return
    end(state, turn, outcome.attempt, outcome)


def _helper_died(state: WorkerState, turn: Turn, event: HelperDied) -> None:
    state.count("helper_deaths")
    for attempt in live_attempts(state):
        started = state.attempts[attempt].started_utc_ms
        detail = f"the helper process died: {event.detail}"
        end(state, turn, attempt, Outcome(attempt, "lost", "lost", detail, started_utc_ms=started))


def _link_up(state: WorkerState, turn: Turn, event: LinkUp) -> None:
    turn.wants_inventory = turn.wants_beat = True
    resend_all(state, turn.clock_ms)


def _drain_asked(state: WorkerState, turn: Turn, event: DrainAsked) -> None:
    if not state.leaving:
        state.leaving = True
        hand_back(state, turn)
        turn.wants_beat = True


def _settings_read(state: WorkerState, turn: Turn, event: SettingsRead) -> None:
    state.identity = replace(state.identity, slots=event.slots, labels=event.labels)
    turn.wants_inventory = True


def _tick(state: WorkerState, turn: Turn, event: Tick) -> None:
    """Only `now` matters."""


_EVENTS: dict[type, Callable[[WorkerState, Turn, Any], None]] = {
    FrameArrived: take_frame,
    ChildEnded: _child_ended,
    ChildStarted: _child_started,
    ChildExpired: _child_expired,
    HelperDied: _helper_died,
    LinkUp: _link_up,
    DrainAsked: _drain_asked,
    SettingsRead: _settings_read,
    Tick: _tick,
}
