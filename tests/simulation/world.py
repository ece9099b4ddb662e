"""A whole fleet of one seed: two scheduler hosts, workers, network, discovery, an election and callers."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from simulation.agenda import Agenda
from simulation.chronicle import Chronicle
from simulation.leader_shell import LeaderProcess
from simulation.network import Network
from simulation.plan import Plan
from simulation.planted import Planted
from simulation.shelf import Shelf, SimulatedLedger
from simulation.table import POOLS, definition, job_table
from simulation.witness import Witness
from simulation.worker_shell import EPOCH_UTC_MS, WorkerProcess

from schedulerd.adapters.ledger.rows import micros
from schedulerd.core.events import FoundWorker, WorkersSeen
from schedulerd.core.requests import ReplaceTable, Request
from schedulerd.model.job import At, Job

FILE_EVERY = 8  # each 8th seed has its ledger in a file; the others in memory
WATCH = 0.5  # seconds between two looks at who leads
RECOVERY = 30.0  # seconds after the last fault from which every fire time is on time again
LEASE = 10.0  # seconds a leader may be silent before the other one is elected
BEGIN = datetime.fromtimestamp(EPOCH_UTC_MS / 1000, UTC)


class World:
    """Everything of one seed. `rng` is the only source of chance."""

    def __init__(self, plan: Plan, directory: Path, planted: Planted) -> None:
        seed = plan.seed
        self.seed = seed
        self.is_long = plan.is_long
        self.directory = directory
        self.is_calm = False  # the faults are over
        self.stops_firing_at = 0.0
        self.recovered_marks: dict[str, datetime] = {}  # up to where fire times were accounted for by then
        self.rng = random.Random(seed)
        rng = self.rng
        self.agenda = Agenda()
        self.network = Network(self.agenda, rng)
        self.witness = Witness()
        self.chronicle = Chronicle(self.agenda)
        self.shelf = Shelf(directory, seed % FILE_EVERY == 0, planted.ledger)
        self.planted = planted
        self.holder: LeaderProcess | None = None  # of the election's lock
        self.tokens = 0
        self.leaders = [
            planted.leader(
                host,
                agenda=self.agenda,
                network=self.network,
                rng=rng,
                chronicle=self.chronicle,
                open_ledger=self._open_ledger,
                utc_base=BEGIN,
            )
            for host in ("a", "b")
        ]
        self.workers = [
            self._new_worker(
                f"worker-{index}",
                f"w{index}",
                slots=rng.randrange(1, 4) + (2 if index == 0 else 0),
                labels=("gpu",) if rng.random() < 0.5 else (),
            )
            for index in range(rng.randrange(1, 5))
        ]
        self.listed = {worker.address: worker for worker in self.workers}
        self.tells_ids = rng.random() < 0.5  # discovery by Consul, not by a list of addresses
        jobs = job_table(rng, BEGIN, rng.randrange(2, 7), plan.is_long)
        self.jobs: list[Job] = [
            job for place, job in enumerate(jobs) if plan.jobs is None or place in plan.jobs
        ]

    def begin(self) -> None:
        """Start everything; the first leader reads the job table."""
        for process in (*self.leaders, *self.workers):
            process.start()
        self.elect(self.leaders[0])
        self.agenda.after(0.01, self.reload, self.jobs)
        self.agenda.after(WATCH, self._watch)

    def elect(self, leader: LeaderProcess, tells_after: float | None = None) -> None:
        """Give the lock to `leader`; whoever had it may not know yet, and is told after so many seconds."""
        former = self.holder
        self.holder = leader
        if former is not None and former is not leader:
            later = self.rng.random() * 5 if tells_after is None else tells_after
            self.agenda.after(later, self._tell_deposed, former)
        leader.discover(self._found())
        leader.lead()
        self.look_at_links()

    def look_at_links(self) -> None:
        """Something changed in the network or a process: every worker looks at its connection."""
        for worker in self.workers:
            worker.reachable()

    def discover(self) -> None:
        """Discovery tells whoever leads what it knows."""
        for leader in self.leaders:
            if leader.is_alive:
                self.agenda.after(self.rng.random() * 2, self._tell_found, leader)

    def ask(self, request: Request) -> None:
        """A caller asks whoever leads."""
        if self.holder is not None:
            self.tokens += 1
            self.chronicle.log("caller", f"asks {self.tokens}: {request}"[:400])
            self.holder.ask(self.tokens, request)

    def reload(self, jobs: Sequence[Job]) -> None:
        """The job files say this now; asked again until some leader has taken it."""
        self.jobs = list(jobs)
        if self.holder is None or self.holder.state is None or self.holder.paused_since is not None:
            self.agenda.after(1.0, self._reload_again, self.jobs)
            return
        filled = tuple((job.name, instant) for job in jobs for instant in self.filled(job))
        definitions = tuple(definition(job) for job in jobs)
        self.ask(ReplaceTable(definitions=definitions, pools=POOLS, filled=filled))
        self.agenda.after(1.0, self._reload_again, self.jobs)

    def _reload_again(self, jobs: Sequence[Job]) -> None:
        if jobs is not self.jobs:
            return
        rows = self.shelf.ask(
            "SELECT name, jobs.version FROM jobs JOIN definitions AS d ON d.job = name AND d.version = jobs.version"
            " WHERE document LIKE '%\"sim.toml\"%'"
        )
        if sorted(rows) != sorted((job.name, definition(job).version) for job in jobs):
            self.reload(jobs)

    def filled(self, job: Job) -> list[datetime]:
        """Which instants of an `at` job have their row, as the API would look them up."""
        if not isinstance(job.trigger, At):
            return []
        return [
            instant
            for instant in job.trigger.instants
            if self.shelf.ask(
                "SELECT 1 FROM slots WHERE job = ? AND first <= ? AND last >= ?",
                (job.name, *[micros(instant)] * 2),
            )
        ]

    def open_runs(self) -> list[str]:
        """Runs that are not final, by the ledger."""
        return [row[0] for row in self.shelf.ask("SELECT id FROM runs WHERE finished_at IS NULL ORDER BY n")]

    def recover(self) -> None:
        """From now on every fire time is on time again."""
        self.recovered_marks = dict(self.chronicle.marks)

    def close(self) -> None:
        """The seed is over."""
        for leader in self.leaders:
            leader.crash()
        for worker in self.workers:
            worker.crash()
        self.shelf.close()

    def is_done(self) -> bool:
        """No run is open, no child lives, no result waits for its acknowledgement."""
        return (
            not any(sight.ended is None for sight in self.witness.sights)
            and all(worker.is_alive and not worker.state.ended for worker in self.workers)
            and not self.open_runs()
        )

    def list_worker(self, worker: WorkerProcess) -> None:
        """Discovery sees `worker` again."""
        if worker in self.workers:
            self.listed[worker.address] = worker
            self.discover()

    def copy_worker(self, worker: WorkerProcess) -> WorkerProcess:
        """Another host with a copy of this worker's state directory; its daemon starts there."""
        copy = self._new_worker(worker.worker, f"{worker.host}c", slots=worker.slots, labels=worker.labels)
        copy.is_copy = True
        copy.boots = 100
        copy.fence.seen = worker.fence.seen
        worker.copies = 1
        copy.take_journal(worker)
        self.chronicle.log("world", f"the state directory of {worker.name} is copied to {copy.name}")
        self.workers.append(copy)
        copy.start()
        self.list_worker(copy)
        return copy

    def remove_copy(self, copy: WorkerProcess) -> None:
        """Somebody notices: the copy ends for good, and the first one is started anew."""
        if copy not in self.workers:
            return
        for attempt, kept in copy.state.attempts.items():
            if kept.outcome is not None:  # not acknowledged: its word goes with the copy of the journal
                self.chronicle.words.pop(attempt, None)
        copy.crash()
        copy.is_gone = True
        self.workers.remove(copy)
        self.listed.pop(copy.address, None)
        self.discover()
        for worker in self.workers:
            if worker.worker == copy.worker:
                worker.crash()
                worker.start()
                self.look_at_links()

    def _new_worker(self, worker: str, host: str, slots: int, labels: tuple[str, ...]) -> WorkerProcess:
        return self.planted.worker(
            worker,
            host,
            seed=self.seed,
            agenda=self.agenda,
            network=self.network,
            rng=self.rng,
            witness=self.witness,
            chronicle=self.chronicle,
            directory=self.directory,
            slots=slots,
            labels=labels,
        )

    def _tell_deposed(self, leader: LeaderProcess) -> None:
        if leader.paused_since is not None:
            self.agenda.after(1.0, self._tell_deposed, leader)
        elif leader is not self.holder and leader.is_alive:
            leader.depose()

    def _tell_found(self, leader: LeaderProcess) -> None:
        if leader.is_alive:
            leader.discover(self._found())

    def _found(self) -> WorkersSeen:
        return WorkersSeen(
            tuple(
                FoundWorker(
                    address=worker.address,
                    id=worker.worker if self.tells_ids else "",
                    name=worker.name if self.tells_ids else "",
                    slots=worker.slots,
                    labels=worker.labels,
                )
                for worker in self.listed.values()
            )
        )

    def _watch(self) -> None:
        """The election, and leaders that have stepped down: looked at now and then."""
        self.agenda.after(WATCH, self._watch)
        holder, now = self.holder, self.agenda.now
        resignations, self.chronicle.resignations = self.chronicle.resignations, []
        for name, seen in resignations:
            if holder is not None and holder.name == name and holder.is_alive and holder.paused_since is None:
                holder.lead(seen)  # it still has the lock, so it leads again, above what it has heard of
        if holder is not None:
            if not holder.is_alive:
                silent = now - holder.died_at
            elif holder.paused_since is not None:
                silent = now - holder.paused_since
            elif holder.state is None:
                self.elect(holder)  # a new process on the host that has the lock
                return
            else:
                return
            if silent < LEASE:
                return
        able = [leader for leader in self.leaders if leader.is_alive and leader.paused_since is None]
        if able:
            self.elect(self.rng.choice(able))

    def _open_ledger(self) -> SimulatedLedger:
        return self.shelf.open()
