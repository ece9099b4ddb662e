"""What a seed has left behind, as plain rows: the ledger's tables, the witnesses and the chronicle. Judges nothing.

Reads the ledger's tables directly, so that no reader of the product can hide what is in them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from simulation.chronicle import Chronicle
from simulation.plan import Plan
from simulation.witness import Witness
from simulation.world import World

from schedulerd.model.job import Definition, Job

ZERO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the ledger."""

    id: str
    job: str
    version: str
    state: str
    reason: str
    cause: str
    fire_time: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt in the ledger and what became of it."""

    run: str
    subtask: int
    number: int
    state: str  # as the view tells it: running and assigned for what is open
    reason: str
    detail: str
    stdout: bytes
    worker: str
    epoch: int

    @property
    def is_open(self) -> bool:
        """It has no outcome."""
        return self.state in ("assigned", "accepted", "running")


class Books:
    """Everything that is known of a seed after its end."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.chronicle: Chronicle = world.chronicle
        self.witness: Witness = world.witness
        self.ask = world.shelf.ask
        self.definitions: dict[tuple[str, str], Job] = {
            (job, version): msgspec.json.decode(document, type=Definition).job
            for job, version, document in self.ask("SELECT job, version, document FROM definitions")
        }
        numbers: dict[int, str] = {}
        self.runs: dict[str, RunRow] = {}
        for row in self.ask(
            "SELECT n, id, job, version, state, reason, cause, fire_time, created_at FROM runs"
        ):
            numbers[row[0]] = row[1]
            self.runs[row[1]] = RunRow(*row[1:7], instant(row[7]), instant(row[8]))
        self.attempts: dict[str, AttemptRow] = {}
        for run, subtask, number, *rest in self.ask(
            "SELECT run, subtask, number, state, coalesce(reason, ''), coalesce(detail, ''),"
            " coalesce(stdout_head, x''), worker, epoch FROM attempts_now"
            " LEFT JOIN outputs ON outputs.n = output ORDER BY run, subtask, number"
        ):
            self.attempts[f"{numbers[run]}~{subtask}~{number}"] = AttemptRow(
                numbers[run], subtask, number, *rest
            )

    def bad(self, prop: str, text: str) -> None:
        """A promise was broken."""
        self.chronicle.violation(prop, text)

    def job_of(self, run: str) -> Job | None:
        """The job as it was when this run was fired; None for a run the ledger lacks."""
        row = self.runs.get(run)
        return None if row is None else self.definitions[(row.job, row.version)]

    def events(self, *types: str) -> list[tuple[Any, ...]]:
        """(type, attempt, worker, detail) of events of these types."""
        marks = ", ".join("?" * len(types))
        return self.ask(f"SELECT type, attempt, worker, detail FROM events WHERE type IN ({marks})", types)


def instant(micros: int) -> datetime:
    """As the ledger keeps it."""
    return ZERO + timedelta(microseconds=micros)
