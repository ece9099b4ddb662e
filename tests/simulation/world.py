"""A whole fleet of one seed: two scheduler hosts, workers, network, discovery, an election and callers."""

import random
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from simulation.agenda import Agenda
from simulation.chronicle import Chronicle
from simulation.leader_shell import LeaderProcess
from simulation.network import Network
from simulation.planted import Planted
from simulation.table import POOLS, definition, job_table
from simulation.witness import Witness
from simulation.worker_shell import EPOCH_UTC_MS

from schedulerd.adapters.ledger.rows import micros
from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.core.events import FoundWorker, WorkersSeen
from schedulerd.core.requests import ReplaceTable, Request
from schedulerd.model.job import At, Job

LEASE = 10.0  # seconds a leader may be silent before the other one is elected
BEGIN = datetime.fromtimestamp(EPOCH_UTC_MS / 1000, UTC)


class World:
    """Everything of one seed. `rng` is the only source of chance."""

    def __init__(self, seed: int, directory: Path, planted: Planted) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        rng = self.rng
        self.agenda = Agenda()
        self.network = Network(self.agenda, rng)
        self.witness = Witness()
        self.chronicle = Chronicle(self.agenda)
        self.ledger_file = directory / "ledger.db"
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
            planted.worker(
                index,
                seed=seed,
                agenda=self.agenda,
                network=self.network,
                rng=rng,
                witness=self.witness,
                chronicle=self.chronicle,
                slots=rng.randrange(1, 4) + (2 if index == 0 else 0),
                labels=("gpu",) if rng.random() < 0.5 else (),
            )
            for index in range(rng.randrange(1, 5))
        ]
        self.listed = {worker.address: worker for worker in self.workers}
        self.tells_ids = rng.random() < 0.5  # discovery by Consul, not by a list of addresses
        self.jobs: list[Job] = job_table(rng, BEGIN, rng.randrange(2, 7))
        _make_ledger(self.ledger_file)

    def begin(self) -> None:
        """Start everything; the first leader reads the job table."""
        for process in (*self.leaders, *self.workers):
            process.start()
        self.elect(self.leaders[0])
        self.agenda.after(0.01, self.reload, self.jobs)
        self.agenda.after(0.2, self._watch)

    def elect(self, leader: LeaderProcess) -> None:
        """Give the lock to `leader`; whoever had it may not know yet."""
        former = self.holder
        self.holder = leader
        if former is not None and former is not leader:
            self.agenda.after(self.rng.random() * 5, self._tell_deposed, former)
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
        reader = sqlite3.connect(self.ledger_file)
        rows = reader.execute(
            "SELECT name, jobs.version FROM jobs JOIN definitions AS d ON d.job = name AND d.version = jobs.version"
            " WHERE document LIKE '%\"sim.toml\"%'"
        ).fetchall()
        reader.close()
        if sorted(rows) != sorted((job.name, definition(job).version) for job in jobs):
            self.reload(jobs)

    def filled(self, job: Job) -> list[datetime]:
        """Which instants of an `at` job have their row, as the API would look them up."""
        if not isinstance(job.trigger, At):
            return []
        reader = sqlite3.connect(self.ledger_file)
        found = [
            instant
            for instant in job.trigger.instants
            if reader.execute(
                "SELECT 1 FROM slots WHERE job = ? AND first <= ? AND last >= ?",
                (job.name, *[micros(instant)] * 2),
            ).fetchone()
        ]
        reader.close()
        return found

    def open_runs(self) -> list[str]:
        """Runs that are not final, by the ledger."""
        reader = sqlite3.connect(self.ledger_file)
        found = [row[0] for row in reader.execute("SELECT id FROM runs WHERE finished_at IS NULL ORDER BY n")]
        reader.close()
        return found

    def is_done(self) -> bool:
        """No run is open, no child lives, no result waits for its acknowledgement."""
        return (
            not any(sight.ended is None for sight in self.witness.sights)
            and not any(worker.is_alive and worker.state.ended for worker in self.workers)
            and not self.open_runs()
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
        """The election, and leaders that have stepped down: looked at five times a second."""
        self.agenda.after(0.2, self._watch)
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

    def _open_ledger(self) -> SqliteLedger:
        return self.planted.ledger(self.ledger_file)


def _make_ledger(file: Path) -> None:
    """A new ledger, copied from one that was migrated once: the migration would cost more than the seed."""
    model = file.parent / "model.db"
    if not model.exists():
        SqliteLedger(model).close()
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    shutil.copyfile(model, file)
