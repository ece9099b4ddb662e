"""The ledger's rows as the checker wants them, read from its tables: no reader of the product can hide any.

One text serves both kinds of ledger. Reads only.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from acceptance.faults.kit.history import AttemptRow, EpochRow, EventRow, RunRow, SlotRow

SQLITE = "sqlite://"

_SLOTS = """
SELECT s.job, s.first, s.last, s.count, runs.id, s.reason FROM slots AS s LEFT JOIN runs ON runs.n = s.run
ORDER BY s.job, s.first
"""
_RUNS = "SELECT id, job, cause, fire_time, created_at, finished_at, state, reason FROM runs"
_ATTEMPTS = """
SELECT runs.id, a.subtask, a.number, a.worker_name, a.epoch, a.fence, a.state, a.reason, a.assigned_at, a.finished_at
FROM attempts_now AS a JOIN runs ON runs.n = a.run
"""
_EVENTS = "SELECT seq, time, type, attempt, epoch, detail, job FROM events ORDER BY seq"
_EPOCHS = "SELECT epoch, leader, since FROM epochs ORDER BY epoch"


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything the checker wants of a ledger."""

    slots: tuple[SlotRow, ...]
    runs: tuple[RunRow, ...]
    attempts: tuple[AttemptRow, ...]
    events: tuple[EventRow, ...]
    epochs: tuple[EpochRow, ...]


def read_rows(ledger: str) -> Rows:
    """One look at all of the ledger with this URL."""
    with _reading(ledger) as connection:
        return Rows(
            slots=tuple(
                SlotRow(job=job, first=first / 1e6, last=last / 1e6, count=count, run=run, reason=reason)
                for job, first, last, count, run, reason in connection.execute(_SLOTS)
            ),
            runs=tuple(
                RunRow(
                    id=run,
                    job=job,
                    cause=cause,
                    fire_time=fire / 1e6,
                    created=created / 1e6,
                    finished=None if finished is None else finished / 1e6,
                    state=state,
                    reason=reason,
                )
                for run, job, cause, fire, created, finished, state, reason in connection.execute(_RUNS)
            ),
            attempts=tuple(_attempt(row) for row in connection.execute(_ATTEMPTS)),
            events=tuple(
                EventRow(
                    seq=seq,
                    time=time / 1e6,
                    type=kind,
                    attempt=attempt,
                    epoch=epoch or 0,
                    detail=detail,
                    job=job,
                )
                for seq, time, kind, attempt, epoch, detail, job in connection.execute(_EVENTS)
            ),
            epochs=tuple(
                EpochRow(epoch=epoch, leader=leader, since=since / 1e6)
                for epoch, leader, since in connection.execute(_EPOCHS)
            ),
        )


def open_runs(ledger: str) -> int:
    """How many runs are not final."""
    with _reading(ledger) as connection:
        return int(_one(connection, "SELECT count(*) FROM runs WHERE finished_at IS NULL")[0])


def unfinished(ledger: str, prefix: str) -> tuple[int, int]:
    """(runs, those of them that are not final) of all jobs whose names begin so."""
    with _reading(ledger) as connection:
        which = f"job >= '{prefix}' AND job < '{prefix}~'"
        count, final = _one(connection, f"SELECT count(*), count(finished_at) FROM runs WHERE {which}")
        return int(count), int(count - final)


def size(ledger: str) -> tuple[int, int]:
    """(bytes of the ledger, bytes of an SQLite file's WAL; PostgreSQL keeps its own, of all databases, in bounds)."""
    if not ledger.startswith(SQLITE):
        with _reading(ledger) as connection:
            return int(_one(connection, "SELECT pg_database_size(current_database())")[0]), 0
    file = Path(ledger.removeprefix(SQLITE))
    wal = file.with_name(f"{file.name}-wal")
    return file.stat().st_size, wal.stat().st_size if wal.exists() else 0


def _one(connection: Any, statement: str) -> Any:
    return connection.execute(statement).fetchone()


def _attempt(row: tuple[Any, ...]) -> AttemptRow:
    run, subtask, number, worker, epoch, fence, state, reason, assigned, finished = row
    return AttemptRow(
        id=f"{run}~{subtask}~{number}",
        worker=worker,
        epoch=epoch,
        fence=fence,
        state=state,
        reason=reason or "",
        assigned=assigned / 1e6,
        finished=None if finished is None else finished / 1e6,
    )


@contextmanager
def _reading(ledger: str) -> Iterator[Any]:
    """A connection, in a transaction that sees one state of the ledger."""
    if ledger.startswith(SQLITE):
        file = sqlite3.connect(f"file:{ledger.removeprefix(SQLITE)}?mode=ro", uri=True, timeout=60)
        try:
            file.execute("BEGIN")
            yield file
        finally:
            file.close()
    else:
        with psycopg.connect(ledger, connect_timeout=60, autocommit=True) as server:
            server.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield server
            server.execute("ROLLBACK")
