"""What one write transaction knows while its records are written. Leaves the records' own SQL to their functions.

`Numbers` outlives the transaction: row numbers of open runs and of workers' boots, and the next free ones. Only the
leader adds rows and every transaction checks the epoch, so what is remembered stays true; after a rollback it is
forgotten.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from schedulerd.adapters.ledger.connection import Connection, each
from schedulerd.adapters.ledger.rows import micros
from schedulerd.core.effects import Noted, RecordEvent
from schedulerd.errors import LedgerContentError

# Running totals of one run inside a batch: positions in the list `Batch.deltas` keeps.
TOTAL, RUNNING, SUCCEEDED, FAILED, IS_RUNNING, IS_SPLIT, STARTED_AT = range(7)

_NOTHING = Noted()

Key = tuple[int, int, int]  # of an attempt: number of its run, subtask, number from 1

_MOST_REMEMBERED = 200_000

_FLUSH = """
UPDATE runs SET total = total + ?1, running = running + ?2, succeeded = succeeded + ?3, failed = failed + ?4,
    state = CASE WHEN ?5 = 1 AND state = 'pending' THEN 'running' ELSE state END,
    is_split = CASE WHEN ?6 = 1 THEN 1 ELSE is_split END,
    started_at = CASE WHEN finished_at IS NULL THEN coalesce(started_at, ?7) ELSE started_at END
WHERE n = ?8
"""
_EVENT = """
INSERT INTO events (time, type, job, run, subtask, attempt, worker, epoch, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RECOUNT = """
UPDATE runs SET (total, running, succeeded, failed) = (
    SELECT count(*), count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'succeeded'),
        count(*) FILTER (WHERE state IN ('failed', 'timeout', 'cancelled', 'lost'))
    FROM subtasks WHERE run = runs.n AND idx >= 0)
WHERE n = ?
"""


class Numbers:
    """Row numbers the writer remembers between transactions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.runs: dict[str, int] = {}  # open runs only
        self.open_attempts: dict[str, Key] = {}  # id -> key; not all that are open
        self.boots: dict[tuple[str, str, str], int] = {}
        self.definitions: set[tuple[str, str]] = set()  # known to be there
        self.next_run = 0
        self.next_output = 0
        self.forget()

    def forget(self) -> None:
        """Start again from what the ledger says."""
        self.runs.clear()
        self.open_attempts.clear()
        self.boots.clear()
        self.definitions.clear()
        one = self._connection.execute
        self.next_run = one("SELECT coalesce(max(n), 0) + 1 FROM runs").fetchone()[0]
        self.next_output = one("SELECT coalesce(max(n), 0) + 1 FROM outputs").fetchone()[0]


class Batch:
    """One transaction: looks up numbers and gathers each run's changes, so that its row is written once."""

    def __init__(self, connection: Connection, numbers: Numbers, epoch: int) -> None:
        self.connection = connection
        self.numbers = numbers
        self.epoch = epoch
        self.highest_fence = 0
        self.deltas: dict[int, list[Any]] = {}
        self.recounts: dict[int, None] = {}
        self.noted: list[RecordEvent] = []  # events that the core did not ask for
        self.repeated: list[str] = []  # attempts whose result came again

    def write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Execute for each row; how many rows of the table it changed."""
        if not rows:
            return 0
        return self.connection.executemany(statement, rows).rowcount

    def run(self, run: str) -> tuple[int, bool]:
        """(number, is open) of a recorded run. Raises LedgerContentError."""
        found = self.find_run(run)
        if found is None:
            raise LedgerContentError(f'run "{run}" is not in the ledger; the batch is not written')
        return found

    def find_run(self, run: str) -> tuple[int, bool] | None:
        """As `run`, None for one that is not recorded."""
        known = self.numbers.runs.get(run)
        if known is not None:
            return known, True
        row = self.connection.execute(
            "SELECT n, finished_at IS NULL FROM runs WHERE id = ?", (run,)
        ).fetchone()
        if row is None:
            return None
        if row[1]:
            self.numbers.runs[run] = row[0]
        return row[0], bool(row[1])

    def boot(self, worker: str, nonce: str, name: str) -> int:
        """Number of one life of a worker; recorded when it is new."""
        key = (worker, nonce, name)
        known = self.numbers.boots.get(key)
        if known is None:
            self.connection.execute(
                "INSERT INTO boots (worker, nonce, name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key
            )
            (known,) = self.connection.execute(
                "SELECT n FROM boots WHERE worker = ? AND nonce = ? AND name = ?", key
            ).fetchone()
            self.numbers.boots[key] = known
        return int(known)

    def require_definitions(self, keys: Iterable[tuple[str, str]]) -> None:
        """Raise LedgerContentError unless these versions of these jobs, (job, version), are recorded."""
        known = self.numbers.definitions
        unknown = [key for key in dict.fromkeys(keys) if key not in known]
        found = each(self.connection, "SELECT 1 FROM definitions WHERE job = ? AND version = ?", unknown)
        for (job, version), row in zip(unknown, found, strict=True):
            if row is None:
                raise LedgerContentError(f'version "{version}" of job "{job}" is not in the ledger')
        known.update(unknown)

    def delta(self, run: int) -> list[Any]:
        """The running totals of a run, to be changed in place."""
        found = self.deltas.get(run)
        if found is None:
            found = self.deltas[run] = [0, 0, 0, 0, 0, 0, None]
        return found

    def started(self, run: int, at: int | None) -> None:
        """Note when a process of the run started; the earliest of the first batch that tells stays."""
        if at is not None:
            delta = self.delta(run)
            if delta[STARTED_AT] is None or at < delta[STARTED_AT]:
                delta[STARTED_AT] = at

    def event(
        self,
        time: int,
        type: str,
        job: str | None,
        run: str | None,
        subtask: int | None,
        attempt: str | None,
        worker: str | None,
        detail: str,
    ) -> None:
        """One row of the events; `time` in microseconds."""
        self.connection.execute(_EVENT, (time, type, job, run, subtask, attempt, worker, self.epoch, detail))

    def note(self, events: Sequence[RecordEvent]) -> None:
        """Write events that the core did not ask for, all at once; the leader is told of them."""
        rows = [
            (micros(event.time), event.type, event.job, event.run, event.subtask, event.attempt, event.worker)
            for event in events
        ]
        self.write(
            _EVENT, [(*row, self.epoch, event.detail) for row, event in zip(rows, events, strict=True)]
        )
        self.noted.extend(events)

    def found(self) -> Noted:
        """What the leader is told once the transaction is written."""
        return Noted(tuple(self.noted), tuple(self.repeated)) if self.noted or self.repeated else _NOTHING

    def finish(self) -> None:
        """Write what was gathered."""
        if len(self.numbers.open_attempts) > _MOST_REMEMBERED:  # those of closed runs stay behind
            self.numbers.open_attempts.clear()
        if self.deltas:
            self.write(_FLUSH, [(*delta, run) for run, delta in self.deltas.items()])
        if self.recounts:
            self.write(_RECOUNT, [(run,) for run in self.recounts])
        if self.highest_fence:
            self.connection.execute(
                "UPDATE leadership SET next_fence = ?1 WHERE next_fence < ?1", (self.highest_fence + 1,)
            )
