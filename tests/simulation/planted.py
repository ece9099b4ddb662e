"""Faults planted on purpose: the product's own processes, spoilt in one place each, that the checker has to catch."""

from collections.abc import Sequence

from simulation.chronicle import RECORDS
from simulation.leader_shell import LeaderProcess
from simulation.shelf import SimulatedLedger
from simulation.worker_shell import WorkerProcess

from schedulerd.core import effects as fx
from schedulerd.model.moment import Moment
from schedulerd.protocol.messages import Dispatch
from workerd.effects import Effect
from workerd.events import Event, FrameArrived
from workerd.state import Phase


class Planted:
    """What the world is made of; as it is, nothing is spoilt."""

    name = "nothing"
    leader: type[LeaderProcess] = LeaderProcess
    worker: type[WorkerProcess] = WorkerProcess
    ledger: type[SimulatedLedger] = SimulatedLedger


class ForgetfulWorker(WorkerProcess):
    """Takes every Dispatch for a new one."""

    def step(self, events: Sequence[Event]) -> list[Effect]:
        """Forget what the orders name before the core sees them."""
        for event in events:
            if isinstance(event, FrameArrived) and isinstance(event.message, Dispatch):
                for order in event.message.orders:
                    self._forget(order.attempt)
        return super().step(events)

    def _forget(self, attempt: str) -> None:
        state = self.state
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


class DedupeOff(Planted):
    """Worker dedupe off."""

    name = "dedupe off"
    worker = ForgetfulWorker


class HastyLeader(LeaderProcess):
    """Sends first and commits after."""

    def perform(self, effects: Sequence[fx.Effect], now: Moment) -> None:
        """Orders, then the one transaction."""
        if effects and isinstance(effects[0], fx.StepDown):
            super().perform(effects, now)
            return
        for effect in effects:
            if not isinstance(effect, RECORDS):
                self._burn()
                self.order(effect)
        super().perform([effect for effect in effects if isinstance(effect, RECORDS)], now)


class SendBeforeCommit(Planted):
    """Sends before the commit."""

    name = "send before commit"
    leader = HastyLeader


class CredulousWorker(WorkerProcess):
    """Believes any epoch."""

    def step(self, events: Sequence[Event]) -> list[Effect]:
        """Forget the epoch it has seen before each frame."""
        effects: list[Effect] = []
        for event in events:
            self.state.epoch = 0
            effects.extend(super().step([event]))
        return effects


class EpochUncheckedByWorker(Planted):
    """Workers obey deposed leaders."""

    name = "epoch unchecked by the worker"
    worker = CredulousWorker


class CredulousLedger(SimulatedLedger):
    """Takes records of any epoch."""

    def _check_epoch(self, epoch: int) -> None:
        """No."""


class EpochUncheckedByLedger(Planted):
    """Deposed leaders go on writing."""

    name = "epoch unchecked by the ledger"
    ledger = CredulousLedger
