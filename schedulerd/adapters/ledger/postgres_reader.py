"""The reading side of a PostgreSQL ledger: connection and short transactions. Leaves what is read to reader.py."""

from collections.abc import Iterator
from contextlib import contextmanager

from schedulerd.adapters.ledger.postgres_connection import PostgresConnection
from schedulerd.adapters.ledger.postgres_deadline import GRACE
from schedulerd.adapters.ledger.postgres_schema import check
from schedulerd.adapters.ledger.postgres_server import Server
from schedulerd.adapters.ledger.reader import Reader
from schedulerd.errors import LedgerError

ANSWER = 15.0  # seconds for a statement; whoever asked waits for it, and nobody else

READER = {
    "statement_timeout": f"{ANSWER:g}s",
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "2s",
    "default_transaction_read_only": "on",
}


class PostgresReader(Reader):
    """`LedgerReader` on a PostgreSQL ledger that exists."""

    def __init__(self, url: str) -> None:
        """Connect. Raises LedgerError or SettingsError, one sentence for the operator."""
        self._server = Server(url)
        self._line = self._connection = PostgresConnection(
            self._server, "schedulerd reader", READER, ANSWER + GRACE
        )
        try:
            check(self._line)
        except BaseException:
            self._line.close()
            raise

    def close(self) -> None:
        """Release the connection."""
        self._line.close()

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        """Reads that see one state of the ledger; connects anew when the server was restarted since the last."""
        with self._server.translated(doing):
            self._begin()
            try:
                yield
            finally:
                self._line.roll_back()

    def _begin(self) -> None:
        try:
            with self._server.translated("beginning to read"):
                self._line.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        except LedgerError:
            if not self._line.is_lost:
                raise
            self._line.connect()
            self._line.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
