"""The ledger in PostgreSQL: one writer at a time, one transaction a batch, fenced by the epoch row.

Every write transaction begins by putting its number into the epoch row, on condition of the epoch: that checks it,
holds off any other leader until the end, and tells afterwards whether a COMMIT that got no answer was done. A server
that stands still with its connections open gives no answer either: each wait has an end. What a leader leaves behind -
a lost connection, a frozen process - the next `lead` ends by the backend that the row names.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import psycopg

from schedulerd.adapters.ledger import postgres_lock
from schedulerd.adapters.ledger.batch import Batch, Numbers
from schedulerd.adapters.ledger.load import gather_input, load
from schedulerd.adapters.ledger.postgres_connection import PostgresConnection
from schedulerd.adapters.ledger.postgres_deadline import GRACE
from schedulerd.adapters.ledger.postgres_schema import migrate
from schedulerd.adapters.ledger.postgres_server import Server
from schedulerd.adapters.ledger.records import write_records
from schedulerd.adapters.ledger.rows import micros
from schedulerd.adapters.ledger.upkeep import Upkeep
from schedulerd.core.effects import Noted, Record
from schedulerd.errors import LedgerError, SchedulerdError, StaleEpoch
from schedulerd.hostkit import failpoint
from schedulerd.model.run import OpenWork

# a leader that stands still in a transaction holds nothing after the first; a statement may outlast a lease, but
# whoever leads next ends its backend, and what it would commit is fenced by the epoch
WRITER = {
    "idle_in_transaction_session_timeout": "3s",
    "lock_timeout": "2s",
}
LOADING = (
    60.0  # seconds for a statement that reads what is open: it holds no lock, and there may be much of it
)

_BACKEND = """
(SELECT CAST(extract(epoch FROM backend_start) * 1000000 AS bigint) FROM pg_stat_activity WHERE pid = pg_backend_pid())
"""
_END_FORMER = """
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a JOIN leadership AS l ON a.pid = l.backend
WHERE a.pid <> pg_backend_pid() AND CAST(extract(epoch FROM a.backend_start) * 1000000 AS bigint) = l.backend_start
"""
_LEAD = f"""
UPDATE leadership SET epoch = ?, leader = ?, since = ?, ledger = ?, backend = pg_backend_pid(),
    backend_start = {_BACKEND}
"""
_TAKE_UP = f"""
UPDATE leadership SET backend = pg_backend_pid(), backend_start = {_BACKEND} WHERE epoch = ? RETURNING batch
"""
_FENCE = "UPDATE leadership SET batch = batch + 1 WHERE epoch = ? RETURNING batch"


class PostgresLedger:
    """`Ledger` in a PostgreSQL database; made by one thread, used by one at a time."""

    def __init__(self, url: str, answer: float) -> None:
        """Connect, and create or migrate the tables. Raises LedgerError or SettingsError, one sentence.

        `answer`: seconds the server may take for a statement. It ends a longer one by itself; if it does not, and says
        nothing, the connection counts as lost a second later.
        """
        self._server = Server(url)
        self._answer = answer
        self._connection = PostgresConnection(
            self._server,
            "schedulerd ledger",
            {**WRITER, "statement_timeout": f"{answer * 1000:.0f}ms"},
            answer + GRACE,
            target_session_attrs="read-write",
        )
        self._is_closed = False
        self._epoch: int | None = None  # of the newest `lead`
        self._upkeep = Upkeep(self._connection)
        try:
            migrate(self._connection)
            with self._server.translated("opening the ledger"):
                self._numbers = Numbers(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def lead(self, leader: str, seen: int, now: datetime) -> int:
        """See `Ledger`. Connects anew when the connection was lost, and ends the backend of who led before."""
        self._require_open()
        self._renew()
        with self._server.translated("recording the leader"):
            self._end_former()
            self._share()
            self._connection.execute("BEGIN")
            try:
                own, ledger = self._connection.execute(
                    "SELECT epoch, ledger FROM leadership FOR UPDATE"
                ).fetchone()
                epoch = max(int(own), seen) + 1
                row = (epoch, leader, micros(now))
                self._connection.execute(_LEAD, (*row, ledger or str(uuid.uuid4())))
                self._connection.execute("INSERT INTO epochs (epoch, leader, since) VALUES (?, ?, ?)", row)
                failpoint.at("ledger.before_commit")
                self._connection.commit()
                failpoint.at("ledger.after_commit")
            finally:
                self._connection.roll_back()
            self._numbers.forget()  # somebody else may have written meanwhile
        self._epoch = epoch
        return epoch

    def identity(self) -> str:
        """See `Ledger`."""
        self._require_open()
        with self._server.translated("looking which ledger it is"):
            return str(self._connection.execute("SELECT ledger FROM leadership").fetchone()[0])

    def load(self) -> OpenWork:
        """See `Ledger`."""
        with self._reading("loading open work", LOADING):
            return load(self._connection)

    def commit(self, epoch: int, records: Sequence[Record]) -> Noted:
        """See `Ledger`."""
        with self._transaction(epoch, "writing a batch"):
            batch = Batch(self._connection, self._numbers, epoch)
            write_records(batch, records)
        return batch.found()

    def gather_input(self, run: str, limit: int) -> tuple[bytes, int]:
        """See `Ledger`."""
        with self._reading("reading outcomes for a gather step", self._answer):
            return gather_input(self._connection, run, limit)

    def maintain(self, now: datetime) -> bool:
        """See `Ledger`. Statistics and dead rows are autovacuum's."""
        self._require_open()
        if self._epoch is None:
            return False
        with self._transaction(self._epoch, "housekeeping"):
            is_more = self._upkeep.sweep(now)
        self._numbers.definitions.clear()
        return is_more

    def close(self) -> None:
        """See `Ledger`."""
        self._is_closed = True
        self._connection.close()

    @contextmanager
    def _transaction(self, epoch: int, doing: str) -> Iterator[None]:
        """One write transaction of that epoch: all of it or nothing, also when COMMIT gets no answer."""
        self._require_open()
        batch: int | None = None  # known once COMMIT is on its way
        try:
            with self._server.translated(doing):
                self._connection.execute("BEGIN")
                number = self._fence(epoch)
                yield
                failpoint.at("ledger.before_commit")
                batch = number
                self._connection.commit()
                failpoint.at("ledger.after_commit")
        except LedgerError as error:
            if not self._connection.is_lost:
                self._roll_back()
                raise
            self._look_up(epoch, batch, error)
        except BaseException:
            self._roll_back()
            raise

    def _fence(self, epoch: int) -> int:
        """Number of this transaction, in the epoch row until its end. Raises StaleEpoch."""
        row = self._connection.execute(_FENCE, (epoch,)).fetchone()
        if row is None:
            raise self._stale(epoch, "nothing was written")
        return int(row[0])

    def _look_up(self, epoch: int, batch: int | None, error: LedgerError) -> None:
        """After a lost connection: return when `batch` is in the ledger all the same.

        Raises StaleEpoch when somebody else leads by now, and else `error`: then the batch is not in, or nobody can
        tell yet; the next `lead` waits for what is left of it, so that `load` shows which.
        """
        try:
            with self._server.translated("looking for a batch after a lost connection"):
                self._connection.connect()
                self._share()
                row = self._connection.execute(_TAKE_UP, (epoch,)).fetchone()  # waits for the old transaction
                if row is None:
                    raise self._stale(epoch, "the connection was lost meanwhile")
        except StaleEpoch:
            raise
        except SchedulerdError as second:
            raise LedgerError(f"{error}; and then {second}") from error
        if batch is None or row[0] != batch:
            self._roll_back()
            raise error

    def _stale(self, epoch: int, what: str) -> StaleEpoch:
        own, leader = self._connection.execute("SELECT epoch, leader FROM leadership").fetchone()
        return StaleEpoch(
            f'{self._server.shown}: "{leader}" leads in epoch {own}, this batch is of epoch {epoch}; {what}'
        )

    def _roll_back(self) -> None:
        try:
            with self._server.translated("rolling back"):
                self._connection.roll_back()
                self._numbers.forget()
        except LedgerError:
            self._connection.close()  # the caller gets the error that led here; the next `lead` connects anew

    def _renew(self) -> None:
        """A connection that answers."""
        if not self._connection.is_lost:
            try:
                with self._server.translated("looking for the server"):
                    self._connection.roll_back()
                    self._connection.execute("SELECT 1")
            except LedgerError:
                self._connection.close()
        if self._connection.is_lost:
            self._connection.connect()
            migrate(self._connection)  # what came back may be older than what was lost

    def _end_former(self) -> None:
        try:
            self._connection.execute(_END_FORMER).fetchall()
        except psycopg.errors.InsufficientPrivilege:
            pass  # it led as another role: its own time-outs end it, and the lock below waits for that

    def _share(self) -> None:
        if not postgres_lock.share(self._connection):
            raise LedgerError(
                f"{self._server.shown}: `schedulerd ledger copy` has it alone; nobody leads by it meanwhile"
            )

    @contextmanager
    def _reading(self, doing: str, seconds: float) -> Iterator[None]:
        """Several reads that see one state of the ledger; each may take so many seconds."""
        self._require_open()
        with self._server.translated(doing):
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                # holds no lock, and what is read is long: 10,000 open runs take seconds to decode
                limit = f"{seconds * 1000:.0f}ms"
                self._connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{limit}'")
                self._connection.execute(f"SET LOCAL statement_timeout = '{limit}'")
                with self._connection.patient(seconds + GRACE):
                    yield
            finally:
                self._connection.roll_back()

    def _require_open(self) -> None:
        if self._is_closed:
            raise LedgerError(f"{self._server.shown}: the ledger is closed; open it again")
