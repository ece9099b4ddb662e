"""What every ledger can do. The write side belongs to the loop's thread; readers have their own connections."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from schedulerd.core.backfill import SlotRow
from schedulerd.core.effects import Noted, Record
from schedulerd.model.run import OpenRun, OpenWork
from schedulerd.protocol import api_types as shapes
from schedulerd.protocol.api_accounts import FireAccount, RunAccount


class Ledger(Protocol):
    """The one writer."""

    def lead(self, leader: str, seen: int, now: datetime) -> int:
        """Record `leader` as leader in one transaction and return its epoch: max(own, seen) + 1."""

    def identity(self) -> str:
        """Which ledger this is: a UUID that copies and backups keep; empty as long as nobody has led by it."""

    def load(self) -> OpenWork:
        """Everything that is not final, and the job table."""

    def commit(self, epoch: int, records: Sequence[Record]) -> Noted:
        """Write all `records` in one durable transaction, or nothing; returns what only the ledger could know.

        Raises StaleEpoch when a newer leader has recorded itself, LedgerContentError when the content is refused,
        LedgerError for I/O. Rows that are there already (same run, skip, subtask, attempt, result) are left alone,
        but a slot that something else fills is refused content. A final attempt keeps its outcome, except that
        `lost` gives way to what its worker says later; an outcome of an attempt that is not recorded becomes an
        event `unknown_result`.
        """

    def gather_input(self, run: str, limit: int) -> tuple[bytes, int]:
        """NDJSON for the gather step of `run`, in order of subtask, and its whole size.

        When the whole is larger than `limit` bytes the text is empty and only the size is told, or a lower bound of
        it that is larger than `limit` as well. Raises LedgerError for a run that is not recorded.
        """

    def maintain(self, now: datetime) -> bool:
        """Housekeeping in a bite of milliseconds: retention, statistics, WAL checkpoint.

        True when there is more to remove: call again soon. Does nothing before `lead`; raises StaleEpoch as `commit`.
        """

    def close(self) -> None:
        """Release the file or connection."""


class LedgerReader(Protocol):
    """What the API reads; usable from any one thread at a time, never blocks the writer."""

    def identity(self) -> str: ...  # as `Ledger.identity`
    def jobs(self, after: str, limit: int) -> list[shapes.JobFacts]: ...
    def job(self, name: str) -> shapes.JobFacts | None: ...
    def job_names(self) -> list[str]: ...
    def runs(self, query: shapes.RunQuery) -> tuple[list[shapes.Run], str | None]: ...
    def run(self, run: str, most: int | None = None) -> shapes.RunDetail | None: ...
    def subtasks(self, run: str, cursor: str, limit: int) -> tuple[list[shapes.Subtask], str | None]: ...
    def recorded_run(self, run: str) -> OpenRun | None: ...
    def run_ids(self, prefix: str, limit: int) -> list[str]: ...
    def slots(self, job: str, cursor: str, limit: int) -> tuple[list[shapes.Slot], str | None]: ...
    def events(self, before_seq: int, limit: int) -> list[shapes.Event]: ...
    def find_events(self, query: shapes.EventQuery) -> list[shapes.Event]: ...
    def newest_event(self) -> int: ...
    def manual_run(self, job: str, key: str) -> str | None: ...
    def has_slot(self, job: str, fire_time: datetime) -> bool: ...
    def accounted_to(self) -> datetime | None: ...
    def slot_rows(self, job: str, first: datetime, last: datetime) -> list[SlotRow]: ...
    def fire_account(self, job: str, fire_time: datetime) -> FireAccount: ...
    def run_account(self, run: str) -> RunAccount | None: ...
    def output(self, run: str, subtask: int | None) -> list[shapes.AttemptOutput]: ...
    def close(self) -> None: ...
