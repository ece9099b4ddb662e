"""The worker's core, spoilt on purpose in one place: for the simulator and for real daemons alike."""

from collections.abc import Sequence

from schedulerd.protocol.messages import Dispatch
from workerd.core import WorkerMoment, WorkerState, step
from workerd.effects import Effect
from workerd.events import Event, FrameArrived
from workerd.state import Phase


def forgetful(state: WorkerState, events: Sequence[Event], now: WorkerMoment) -> list[Effect]:
    """Takes every Dispatch for a new one."""
    for event in events:
        if isinstance(event, FrameArrived) and isinstance(event.message, Dispatch):
            for order in event.message.orders:
                _forget(state, order.attempt)
    return step(state, events, now)


def credulous(state: WorkerState, events: Sequence[Event], now: WorkerMoment) -> list[Effect]:
    """Believes any epoch: forgets the one it has seen before each frame."""
    effects: list[Effect] = []
    for event in events:
        state.epoch = 0
        effects += step(state, [event], now)
    return effects if events else step(state, [], now)


def _forget(state: WorkerState, attempt: str) -> None:
    state.tombstones.pop(attempt, None)
    state.refused.pop(attempt, None)
    kept = state.attempts.pop(attempt, None)
    if kept is None:
        return
    state.digest ^= kept.digest
    if kept.phase is Phase.WAITING:
        state.waiting.pop(attempt, None)
    elif kept.phase is Phase.ENDED:
        state.ended -= 1
    else:
        state.live -= 1
        state.guarded.pop(attempt, None)
