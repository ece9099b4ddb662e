"""The ledger in a SQLite file: one writer, one durable transaction a batch, fenced by the epoch row.

WAL with synchronous=FULL: a batch is on disk when COMMIT returns. After an error nothing of the batch is written and
the connection goes on, unless even the rollback fails: then every later call says so.
"""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from schedulerd.adapters.ledger.batch import Batch, Numbers
from schedulerd.adapters.ledger.load import gather_input, load
from schedulerd.adapters.ledger.records import write_records
from schedulerd.adapters.ledger.rows import micros
from schedulerd.adapters.ledger.sqlite_file import open_writer, tidy, translated
from schedulerd.adapters.ledger.upkeep import Upkeep
from schedulerd.core.effects import Noted, Record
from schedulerd.errors import LedgerError, StaleEpoch
from schedulerd.hostkit import failpoint
from schedulerd.model.run import OpenWork


class SqliteLedger:
    """`Ledger` on a SQLite file; made by one thread, used by one at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises LedgerError, one sentence for the operator."""
        self._path = path
        self._connection = open_writer(path)
        self._unusable = ""  # why nothing can be asked any more
        self._epoch: int | None = None  # of the newest `lead`
        self._upkeep = Upkeep(self._connection)
        with translated(path, "opening the ledger"):
            self._numbers = Numbers(self._connection)

    def lead(self, leader: str, seen: int, now: datetime) -> int:
        """See `Ledger`."""
        with self._transaction("recording the leader"):
            own, ledger = self._connection.execute("SELECT epoch, ledger FROM leadership").fetchone()
            epoch = max(int(own), seen) + 1
            since = micros(now)
            self._connection.execute(
                "UPDATE leadership SET epoch = ?, leader = ?, since = ?, ledger = ?",
                (epoch, leader, since, ledger or str(uuid.uuid4())),
            )
            self._connection.execute(
                "INSERT INTO epochs (epoch, leader, since) VALUES (?, ?, ?)", (epoch, leader, since)
            )
        with self._reading("reading after an election"):
            self._numbers.forget()  # somebody else may have written meanwhile
        self._epoch = epoch
        return epoch

    def identity(self) -> str:
        """See `Ledger`."""
        with self._reading("looking which ledger it is"):
            return str(self._connection.execute("SELECT ledger FROM leadership").fetchone()[0])

    def load(self) -> OpenWork:
        """See `Ledger`."""
        with self._reading("loading open work"):
            return load(self._connection)

    def commit(self, epoch: int, records: Sequence[Record]) -> Noted:
        """See `Ledger`."""
        with self._transaction("writing a batch"):
            self._check_epoch(epoch)
            batch = Batch(self._connection, self._numbers, epoch)
            write_records(batch, records)
        return batch.found()

    def gather_input(self, run: str, limit: int) -> tuple[bytes, int]:
        """See `Ledger`."""
        with self._reading("reading outcomes for a gather step"):
            return gather_input(self._connection, run, limit)

    def maintain(self, now: datetime) -> bool:
        """See `Ledger`."""
        with self._transaction("housekeeping"):
            if self._epoch is None:
                return False
            self._check_epoch(self._epoch)
            is_more = self._upkeep.sweep(now)
        self._numbers.definitions.clear()
        with translated(self._path, "housekeeping"):
            tidy(self._connection)
        return is_more

    def close(self) -> None:
        """See `Ledger`."""
        self._unusable = "closed"
        with translated(self._path, "closing the ledger"):
            self._connection.close()

    def _check_epoch(self, epoch: int) -> None:
        own, leader = self._connection.execute("SELECT epoch, leader FROM leadership").fetchone()
        if own != epoch:
            raise StaleEpoch(
                f'{self._path}: "{leader}" leads in epoch {own}, this batch is of epoch {epoch}; nothing was written'
            )

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        """One write transaction: all of it or nothing."""
        self._require_usable()
        with translated(self._path, doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                failpoint.at("ledger.before_commit")
                self._connection.execute("COMMIT")
                failpoint.at("ledger.after_commit")
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        """Several reads that see one state of the file."""
        self._require_usable()
        with translated(self._path, doing):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:  # after some errors SQLite has rolled back by itself
                self._connection.execute("ROLLBACK")
            self._numbers.forget()
        except sqlite3.Error:
            # the caller gets the error that led here; this one shows at the next call
            self._unusable = "unusable after a failed rollback"

    def _require_usable(self) -> None:
        if self._unusable:
            raise LedgerError(f"{self._path}: the ledger is {self._unusable}; open it again")
