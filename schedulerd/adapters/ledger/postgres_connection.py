"""One connection to PostgreSQL that takes the ledger's shared SQL and can be made anew. Knows nothing of leadership."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from schedulerd.adapters.ledger import postgres_bulk, postgres_sql
from schedulerd.adapters.ledger.connection import Rows
from schedulerd.adapters.ledger.postgres_deadline import Connection
from schedulerd.adapters.ledger.postgres_server import Server
from schedulerd.errors import LedgerError

_AT_ONCE = 5000  # rows in one statement over arrays

_COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema()
"""


class PostgresConnection:
    """`Connection` to a server; after a loss `connect` makes it anew under the same object."""

    def __init__(
        self, server: Server, application: str, settings: Mapping[str, str], patience: float, **more: Any
    ) -> None:
        """Connect. `patience`: seconds that the server may be silent. Raises LedgerError."""
        self.server = server
        self._application = application
        self._settings = settings
        self._patience = patience
        self._more = more
        self._inner: Connection | None = None
        self._texts: dict[str, str] = {}
        self._bulks: dict[str, postgres_bulk.Bulk | None] = {}
        self._types: dict[tuple[str, str], str] = {}
        self.connect()

    def connect(self) -> None:
        """Leave the old connection and make a new one. Raises LedgerError."""
        self.close()
        self._inner = self.server.connect(self._application, self._settings, self._patience, **self._more)

    def close(self) -> None:
        """Let go of the connection; closing a lost or closed one is no error."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """What is asked meanwhile may take longer: the server may be silent for so many seconds."""
        connection = self._open()
        before, connection.patience = connection.patience, seconds
        try:
            yield
        finally:
            connection.patience = before

    def probe(self) -> None:
        """From now on ask, whenever the server has been silent for a while, whether it answers others."""
        self._open().probe = self.server.prober()

    @property
    def is_lost(self) -> bool:
        """There is no connection, or nothing can be asked over it any more."""
        return self._inner is None or self._inner.closed

    @property
    def in_transaction(self) -> bool:
        """A transaction is open, be it a failed one."""
        return (
            self._inner is not None
            and not self._inner.closed
            and self._inner.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
        )

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        """See `Connection`."""
        return self._open().execute(self._text(statement), values or None, binary=True)

    def executemany(self, statement: str, rows: Sequence[tuple[Any, ...]], /) -> Rows:
        """See `Connection`."""
        bulk = self._bulk(statement)
        if bulk is not None and len(rows) > 1:
            changed = self._at_once(bulk, rows)
            if changed is not None:
                return changed
        cursor = self._open().cursor()
        cursor.executemany(self._text(statement), rows)
        return cursor

    def each(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The first row that the query gives for each of `rows`, or None."""
        found: list[Any] = []
        for first in range(0, len(rows), _AT_ONCE):
            columns = [list(column) for column in zip(*rows[first : first + _AT_ONCE], strict=True)]
            answer = self._open().execute(postgres_bulk.each(statement, columns), columns, binary=True)
            found += [row[1:] if row[0] else None for row in answer]
        return found

    def script(self, statement: str) -> None:
        """Run a statement as it stands, without values."""
        self._open().execute(statement)
        self._bulks.clear()
        self._types.clear()

    def commit(self) -> None:
        """COMMIT. Raises LedgerError when the server says that it rolled back instead."""
        status = self._open().execute("COMMIT").statusmessage
        if status != "COMMIT":
            raise LedgerError(f"{self.server.shown}: COMMIT was answered by {status}; nothing was written")

    def roll_back(self) -> None:
        """End a transaction, if one is open and the connection stands."""
        if self.in_transaction:
            self._open().execute("ROLLBACK")

    def _open(self) -> Connection:
        if self._inner is None:
            raise LedgerError(f"{self.server.shown}: is not connected; nothing was done")
        return self._inner

    def _text(self, statement: str) -> str:
        text = self._texts.get(statement)
        if text is None:
            text = self._texts[statement] = postgres_sql.text(statement)
        return text

    def _bulk(self, statement: str) -> postgres_bulk.Bulk | None:
        if statement not in self._bulks:
            if not self._types:
                found = self._open().execute(_COLUMNS).fetchall()
                self._types = {(table, column): kind for table, column, kind in found}
            self._bulks[statement] = postgres_bulk.bulk(statement, self._types)
        return self._bulks[statement]

    def _at_once(self, bulk: postgres_bulk.Bulk, rows: Sequence[tuple[Any, ...]]) -> Rows | None:
        """The statement over all rows; None when they have to go one by one."""
        changed = 0
        columns = [list(column) for column in zip(*rows, strict=True)]
        if not bulk.is_fit(columns):
            return None
        for first in range(0, len(rows), _AT_ONCE):
            part = [column[first : first + _AT_ONCE] for column in columns]
            changed += self._open().execute(bulk.text(part), part, binary=True).rowcount
        return _Changed(changed)


class _Changed:
    """The outcome of several statements over arrays: a count and no rows."""

    def __init__(self, rowcount: int) -> None:
        self.rowcount = rowcount

    def fetchone(self) -> None:
        """Nothing."""

    def fetchall(self) -> list[Any]:
        """Nothing."""
        return []

    def __iter__(self) -> Any:
        return iter(())
