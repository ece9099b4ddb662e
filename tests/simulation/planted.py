"""What a world is made of, and how a fault is planted in it: one of its parts is spoilt in one place.

The faults themselves are in planted_leader.py and planted_worker.py; test_planted_faults.py says who has to notice.
"""

from simulation.leader_shell import LeaderProcess
from simulation.shelf import SimulatedLedger
from simulation.worker_shell import WorkerProcess


class Planted:
    """As it is, nothing is spoilt."""

    name = "nothing"
    leader: type[LeaderProcess] = LeaderProcess
    worker: type[WorkerProcess] = WorkerProcess
    ledger: type[SimulatedLedger] = SimulatedLedger

    @classmethod
    def of(
        cls,
        name: str,
        *,
        leader: type[LeaderProcess] = LeaderProcess,
        worker: type[WorkerProcess] = WorkerProcess,
        ledger: type[SimulatedLedger] = SimulatedLedger,
    ) -> "Planted":
        """A world with these parts."""
        planted = cls()
        planted.name = name
        planted.leader, planted.worker, planted.ledger = leader, worker, ledger
        return planted
