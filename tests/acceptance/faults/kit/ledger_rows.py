"""The ledger's rows as the checker wants them, read from its file: no reader of the product can hide any."""

import sqlite3
from pathlib import Path

from acceptance.faults.kit.history import AttemptRow, RunRow, SlotRow


def read_rows(
    file: Path,
) -> tuple[tuple[SlotRow, ...], tuple[RunRow, ...], tuple[AttemptRow, ...]]:
    """Slots, runs and attempts."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)
    try:
        connection.execute("BEGIN")  # one look at all of it
        slots = tuple(
            SlotRow(job=job, first=first / 1e6, last=last / 1e6, count=count, run=run, reason=reason)
            for job, first, last, count, run, reason in connection.execute(
                "SELECT s.job, s.first, s.last, s.count, runs.id, s.reason"
                " FROM slots AS s LEFT JOIN runs ON runs.n = s.run ORDER BY s.job, s.first"
            )
        )
        runs = tuple(
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
            for run, job, cause, fire, created, finished, state, reason in connection.execute(
                "SELECT id, job, cause, fire_time, created_at, finished_at, state, reason FROM runs"
            )
        )
        attempts = tuple(
            AttemptRow(
                id=f"{run}~{subtask}~{number}",
                worker=worker,
                epoch=epoch,
                fence=fence,
                state=state,
                reason=reason or "",
                assigned=assigned / 1e6,
                finished=None if finished is None else finished / 1e6,
            )
            for run, subtask, number, worker, epoch, fence, state, reason, assigned, finished in connection.execute(
                "SELECT runs.id, a.subtask, a.number, a.worker_name, a.epoch, a.fence, a.state, a.reason,"
                " a.assigned_at, a.finished_at FROM attempts_now AS a JOIN runs ON runs.n = a.run"
            )
        )
        return slots, runs, attempts
    finally:
        connection.close()


def open_runs(file: Path) -> int:
    """How many runs are not final."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)
    try:
        return int(connection.execute("SELECT count(*) FROM runs WHERE finished_at IS NULL").fetchone()[0])
    finally:
        connection.close()


def unfinished(file: Path, prefix: str) -> tuple[int, int]:
    """(runs, those of them that are not final) of all jobs whose names begin so."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)
    try:
        count, final = connection.execute(
            "SELECT count(*), count(finished_at) FROM runs WHERE job >= ? AND job < ?", (prefix, prefix + "~")
        ).fetchone()
        return int(count), int(count - final)
    finally:
        connection.close()
