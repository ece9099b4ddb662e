"""A whole ledger at once, for copying, backing up and checking it. Leaves what is done with it to others.

One connection with one transaction: reading, a single state of the ledger; writing, all of it or nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.open import is_postgres, require_psycopg, sqlite_path
from schedulerd.adapters.ledger.sqlite_file import open_reader, open_writer, translated
from schedulerd.errors import LedgerError

AT_ONCE = 500  # rows in memory at a time; an output may be large


class Whole(ABC):
    """A ledger with a transaction open on it."""

    connection: Connection
    shown: str  # its URL without a password

    @abstractmethod
    def tables(self) -> dict[str, list[str]]:
        """Every table and its columns, sorted; without what only this kind of database has."""

    @abstractmethod
    def stream(self, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query, AT_ONCE at a time."""

    @abstractmethod
    def damages(self) -> list[str]:
        """What the database itself finds wrong with its file."""

    @abstractmethod
    def finish_writing(self) -> None:
        """What a copy leaves to do before its commit: numbers go on after the newest one."""

    def count(self, table: str) -> int:
        """How many rows a table has."""
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)


@contextmanager
def reading(url: str) -> Iterator[Whole]:
    """A ledger that exists, as it is at this moment. Raises LedgerError and SettingsError, one sentence."""
    if is_postgres(url):
        require_psycopg()
        from schedulerd.adapters.ledger.postgres_whole import reading as reading_postgres

        with reading_postgres(url) as whole:
            yield whole
        return
    path = sqlite_path(url)
    connection = open_reader(path)
    try:
        with translated(path, "reading the ledger"):
            connection.execute("BEGIN")
            yield WholeFile(connection, f"sqlite://{path}")
    finally:
        connection.close()


@contextmanager
def writing(url: str) -> Iterator[Whole]:
    """A ledger, made if it is not there, locked against other writers; what is done is committed at the end.

    A file that was made and then not filled is removed again. Raises as `reading`.
    """
    if is_postgres(url):
        require_psycopg()
        from schedulerd.adapters.ledger.postgres_whole import writing as writing_postgres

        with writing_postgres(url) as whole:
            yield whole
        return
    path = sqlite_path(url)
    is_new = not path.exists()
    connection = open_writer(path)
    is_filled = False
    try:
        with translated(path, "writing the ledger"):
            connection.execute("BEGIN IMMEDIATE")
            whole = WholeFile(connection, f"sqlite://{path}")
            yield whole
            connection.execute("COMMIT")
            is_filled = True
    finally:
        connection.close()
        if is_new and not is_filled:
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)


class WholeFile(Whole):
    """A SQLite file."""

    def __init__(self, connection: Connection, shown: str) -> None:
        self.connection = connection
        self.shown = shown

    def tables(self) -> dict[str, list[str]]:
        """See `Whole`."""
        found = self.connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        return {
            table: sorted(row[1] for row in self.connection.execute(f"PRAGMA table_info({table})"))
            for (table,) in found
        }

    def stream(self, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        """See `Whole`."""
        rows = iter(self.connection.execute(statement))
        while chunk := list(islice(rows, AT_ONCE)):
            yield chunk

    def damages(self) -> list[str]:
        """See `Whole`."""
        found = self.connection.execute("PRAGMA integrity_check").fetchall()
        return [f"the file is damaged: {text}" for (text,) in found if text != "ok"]

    def finish_writing(self) -> None:
        """See `Whole`; SQLite's numbers go on after the greatest one by themselves."""


def require_same_tables(one: Whole, other: Whole) -> dict[str, list[str]]:
    """The tables of both. Raises LedgerError when they are not alike."""
    tables = one.tables()
    if tables != other.tables():
        raise LedgerError(
            f"{one.shown} and {other.shown} do not have the same tables; start the newest schedulerd with each"
        )
    return tables
