"""A whole PostgreSQL ledger at once: see whole.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schedulerd.adapters.ledger import postgres_lock
from schedulerd.adapters.ledger.postgres_connection import PostgresConnection
from schedulerd.adapters.ledger.postgres_deadline import GRACE
from schedulerd.adapters.ledger.postgres_schema import check, migrate
from schedulerd.adapters.ledger.postgres_server import Server
from schedulerd.adapters.ledger.whole import AT_ONCE, Whole
from schedulerd.errors import LedgerError

# a large ledger takes its time; nothing waits for these connections but whoever started them. A server that answers
# nobody any more is noticed all the same, by the probe of postgres_deadline.py
LIMIT = 1800.0  # seconds for a statement
_PATIENT = {
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": f"{LIMIT:g}s",
    "lock_timeout": "5s",
}

_OWN = {"backend", "backend_start", "batch"}  # columns of the leader's row that a file has not
_COLUMNS = """
SELECT c.table_name::text, c.column_name::text FROM information_schema.columns AS c
JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.table_name <> 'schedulerd_ledger'
ORDER BY 1, 2
"""
_NUMBERED = """
SELECT table_name::text, column_name::text FROM information_schema.columns
WHERE table_schema = current_schema() AND is_identity = 'YES'
"""
_LEADER = """
SELECT l.leader, l.backend, EXISTS (
    SELECT 1 FROM pg_stat_activity AS a WHERE a.pid = l.backend AND a.datname = current_database()
    AND coalesce(CAST(extract(epoch FROM a.backend_start) * 1000000 AS bigint) = l.backend_start,
        a.application_name = 'schedulerd ledger'))  -- another role's: when it started is not for us to see
FROM leadership AS l
"""


@contextmanager
def reading(url: str) -> Iterator[Whole]:
    """See `whole.reading`."""
    with _connected(url) as connection:
        check(connection)
        with connection.server.translated("reading the ledger"):
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield WholeDatabase(connection)
            connection.roll_back()


@contextmanager
def writing(url: str) -> Iterator[Whole]:
    """See `whole.writing`."""
    with _connected(url) as connection:
        migrate(connection)
        with connection.server.translated("writing the ledger"):
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM leadership FOR UPDATE")
            yield WholeDatabase(connection)
            connection.commit()


@contextmanager
def _connected(url: str) -> Iterator[PostgresConnection]:
    connection = PostgresConnection(Server(url), "schedulerd ledger tool", _PATIENT, LIMIT + GRACE)
    connection.probe()
    try:
        yield connection
    finally:
        connection.close()  # whatever is not committed is rolled back


@contextmanager
def alone(url: str) -> Iterator[None]:
    """See `open.alone`; an empty database is nobody's."""
    with _connected(url) as connection:
        with connection.server.translated("looking for a leader"):
            if connection.execute("SELECT to_regclass('leadership') IS NOT NULL").fetchone()[0]:
                _require_nobody_leads(connection)
        yield


def _require_nobody_leads(connection: PostgresConnection) -> None:
    is_ours = postgres_lock.take(connection)
    leader, backend, is_there = connection.execute(_LEADER).fetchone()
    if is_there or not is_ours:  # a leader of an older version has no lock
        who = (
            f'"{leader}" leads by it (backend {backend})'
            if is_there
            else "a scheduler or another copy uses it"
        )
        raise LedgerError(f"{connection.server.shown}: {who}; stop schedulerd first, nothing was copied")


class WholeDatabase(Whole):
    """The tables of a PostgreSQL database."""

    def __init__(self, connection: PostgresConnection) -> None:
        self.connection = self._connection = connection
        self.shown = connection.server.shown
        self._cursors = 0

    def tables(self) -> dict[str, list[str]]:
        """See `Whole`."""
        tables: dict[str, list[str]] = {}
        for table, column in self._connection.execute(_COLUMNS):
            if not (table == "leadership" and column in _OWN):
                tables.setdefault(table, []).append(column)
        return {table: sorted(columns) for table, columns in sorted(tables.items())}

    def stream(self, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        """See `Whole`."""
        self._cursors += 1
        name = f"whole_{self._cursors}"
        self._connection.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {statement}")
        while chunk := self._connection.execute(f"FETCH {AT_ONCE} FROM {name}").fetchall():
            yield chunk
        self._connection.execute(f"CLOSE {name}")

    def damages(self) -> list[str]:
        """See `Whole`; PostgreSQL's own tool for that is pg_amcheck."""
        return []

    def finish_writing(self) -> None:
        """See `Whole`."""
        for table, column in self._connection.execute(_NUMBERED).fetchall():
            (newest,) = self._connection.execute(f"SELECT max({column}) FROM {table}").fetchone()
            if newest is not None:
                self._connection.execute(
                    "SELECT setval(pg_get_serial_sequence(?, ?), ?)", (table, column, newest)
                )
