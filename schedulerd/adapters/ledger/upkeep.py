"""Housekeeping: what is older than is kept goes, in small bites. Leaves statistics and files to each database."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.rows import micros

KEEP_RUNS = 1000  # final runs of a job
KEEP_AGE = timedelta(days=90)  # of runs, skips and events
KEEP_EVENTS = 1_000_000

_BITE = 2000  # rows a sweep removes at most, about; so that the loop waits milliseconds
_JOBS_A_SWEEP = 250  # jobs a sweep looks at

_NEXT_JOB = "SELECT min(job) FROM slots WHERE job > ?"
_NEXT_RUN_JOB = "SELECT min(job) FROM runs WHERE job > ?"
_PARTS = (
    "DELETE FROM outputs WHERE n IN (SELECT output FROM outcomes WHERE run = ? AND subtask < ?)",
    "DELETE FROM outcomes WHERE run = ? AND subtask < ?",
    "DELETE FROM attempts WHERE run = ? AND subtask < ?",
    "DELETE FROM subtasks WHERE run = ? AND idx < ?",
)
_REMOVE_SLOT = """
DELETE FROM slots WHERE job = ?1 AND run = ?2 AND first = (SELECT fire_time FROM runs WHERE n = ?2)
"""
_MOST_SKIPS = 500
_REMOVE_SKIPS = f"""
DELETE FROM slots WHERE (job, first) IN (
    SELECT job, first FROM slots WHERE job = ?1 AND first < ?2 AND last < ?2 AND run IS NULL LIMIT {_MOST_SKIPS})
"""
_OUTDATED = """
SELECT n FROM runs WHERE job = ?1 AND finished_at IS NOT NULL AND (fire_time < ?2 OR fire_time < (
    SELECT fire_time FROM runs WHERE job = ?1 ORDER BY fire_time DESC LIMIT 1 OFFSET ?3))
ORDER BY fire_time LIMIT 1000
"""


class Upkeep:
    """Goes round the jobs, a few at each sweep, and remembers where it stopped."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._after = ""  # the job that the newest sweep ended with

    def sweep(self, now: datetime) -> bool:
        """Remove what is older than is kept, inside the caller's transaction; True when the bite was not enough."""
        before = micros(now - KEEP_AGE)
        left = _BITE - self._trim_events(before)
        for job in self._next_jobs():
            removed, is_done = self._trim_job(job, before, left)
            left -= removed
            if is_done:
                self._after = job
            if left <= 0 or not is_done:
                return True
        return False

    def _next_jobs(self) -> Iterator[str]:
        """Up to a sweep's number of names after the last one, then from the beginning; removed jobs too."""
        for _ in range(_JOBS_A_SWEEP):
            names = [
                self._connection.execute(statement, (self._after,)).fetchone()[0]
                for statement in (_NEXT_JOB, _NEXT_RUN_JOB)
            ]
            found = min((name for name in names if name is not None), default=None)
            if found is None:
                self._after = ""
                return
            yield found

    def _trim_events(self, before: int) -> int:
        """Remove outdated events, oldest first; how many."""
        oldest, newest = self._connection.execute("SELECT min(seq), max(seq) FROM events").fetchone()
        if oldest is None:
            return 0
        # seq follows the order of writing, and so nearly that of time
        return self._connection.execute(
            "DELETE FROM events WHERE seq < ? AND (time < ? OR seq <= ?)",
            (oldest + _BITE // 2, before, newest - KEEP_EVENTS),
        ).rowcount

    def _trim_job(self, job: str, before: int, left: int) -> tuple[int, bool]:
        """Remove outdated runs and skips of a job, oldest first; (how many rows, nothing is left to remove)."""
        count = 0
        for (run,) in self._connection.execute(_OUTDATED, (job, before, KEEP_RUNS - 1)).fetchall():
            if count >= left:
                return count, False
            removed, is_gone = self._remove_run(job, run, left - count)
            count += removed
            if not is_gone:
                return count, False
        skips = self._connection.execute(_REMOVE_SKIPS, (job, before)).rowcount
        if count or skips:
            self._forget_definitions(job)
        return count + skips, skips < _MOST_SKIPS

    def _remove_run(self, job: str, run: int, left: int) -> tuple[int, bool]:
        """Remove up to about `left` rows of a final run, its own row last; (how many, it is gone)."""
        row = self._connection.execute(
            "SELECT idx FROM subtasks WHERE run = ? ORDER BY idx LIMIT 1 OFFSET ?", (run, max(left // 4, 1))
        ).fetchone()
        below = 1 << 62 if row is None else row[0]  # a run of thousands of subtasks goes in several sweeps
        count = sum(self._connection.execute(statement, (run, below)).rowcount for statement in _PARTS)
        if row is not None:
            return count, False
        self._connection.execute("DELETE FROM results WHERE run = ?", (run,))
        self._connection.execute(_REMOVE_SLOT, (job, run))
        self._connection.execute("DELETE FROM runs WHERE n = ?", (run,))
        return count + 2, True

    def _forget_definitions(self, job: str) -> None:
        """Remove versions that nothing refers to any more."""
        self._connection.execute(
            "DELETE FROM definitions WHERE job = ?1"
            " AND version NOT IN (SELECT version FROM jobs WHERE name = ?1)"
            " AND version NOT IN (SELECT version FROM runs WHERE job = ?1)"
            " AND version NOT IN (SELECT version FROM slots WHERE job = ?1 AND version IS NOT NULL)",
            (job,),
        )
