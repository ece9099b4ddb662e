"""Workers that are spoilt on purpose, in one place each."""

from collections.abc import Sequence

from simulation.children import Helper
from simulation.planted import Planted
from simulation.worker_shell import WorkerProcess
from support.spoilt_worker import credulous, forgetful

from schedulerd.protocol.messages import Order
from workerd.effects import Effect
from workerd.events import Event
from workerd.records import AttemptsAcknowledged, AttemptsEnded, AttemptsStarting, Record
from workerd.state import Limits


class Forgetful(WorkerProcess):
    """Takes every Dispatch for a new one."""

    core = staticmethod(forgetful)


class WithoutTombstones(WorkerProcess):
    """Forgets an attempt with its acknowledgement."""

    def step(self, events: Sequence[Event]) -> list[Effect]:
        """All of them, each time."""
        self.state.tombstones.clear()
        return super().step(events)


class Obedient(WorkerProcess):
    """Believes any epoch."""

    core = staticmethod(credulous)


class WithoutJournal(WorkerProcess):
    """Remembers nothing after a restart."""

    def remembered(self, records: list[Record]) -> list[Record]:
        """Nothing."""
        return []


class WithoutFsync(WorkerProcess):
    """Never waits for the disk."""

    def write(self, records: Sequence[Record], sync: bool) -> None:
        """Later, perhaps."""
        super().write(records, False)


class RunsAgain(WorkerProcess):
    """After a restart takes what it had begun to start for something that only waited."""

    def remembered(self, records: list[Record]) -> list[Record]:
        """Without those records."""
        return [record for record in records if not isinstance(record, AttemptsStarting)]


class LosesResults(WorkerProcess):
    """Does not find its unacknowledged results again after a restart."""

    def remembered(self, records: list[Record]) -> list[Record]:
        """As if they had all been acknowledged."""
        done = [o.attempt for record in records if isinstance(record, AttemptsEnded) for o in record.outcomes]
        return [*records, AttemptsAcknowledged(done)]


class SaysItOnce(WorkerProcess):
    """Sends each result once, and never again."""

    def step(self, events: Sequence[Event]) -> list[Effect]:
        """With nothing to be resent."""
        effects = super().step(events)
        for queue in self.state.resends:
            queue.clear()
        return effects


class LateHelper(Helper):
    """Does not look at the expiry."""

    def _is_over(self, order: Order) -> bool:
        return False


class StartsLate(WorkerProcess):
    """Starts what has expired while it lay at the helper process."""

    helper = LateHelper


class Unfenced(WorkerProcess):
    """Goes on without a leader for as long as it likes."""

    limits = Limits(fence_term_ms=10**9, fence_kill_ms=10**9, helper_lease_ms=10**9)


WORKERS = {
    "dedupe off": (Planted.of("dedupe off", worker=Forgetful), {"P2"}),
    "tombstones forgotten": (Planted.of("tombstones forgotten", worker=WithoutTombstones), {"P2"}),
    "epoch unchecked by the worker": (Planted.of("epoch unchecked by the worker", worker=Obedient), {"P4"}),
    "journal off": (Planted.of("journal off", worker=WithoutJournal), {"P3"}),
    "no fsync": (Planted.of("no fsync", worker=WithoutFsync), {"P2"}),
    "started attempts not remembered": (Planted.of("started not remembered", worker=RunsAgain), {"P2"}),
    "results lost at a restart": (Planted.of("results lost at a restart", worker=LosesResults), {"P3"}),
    "results not resent": (Planted.of("results not resent", worker=SaysItOnce), {"stuck"}),
    "expiry unchecked at the spawn": (Planted.of("expiry unchecked", worker=StartsLate), {"expiry"}),
    "no fence": (Planted.of("no fence", worker=Unfenced), {"overlap"}),
}
