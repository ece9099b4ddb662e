"""Copies a whole ledger into an empty one, whatever kinds they are. Leaves opening them to whole.py."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from schedulerd.adapters.ledger.open import is_postgres, sqlite_path
from schedulerd.adapters.ledger.sqlite_file import create, open_reader, translated
from schedulerd.adapters.ledger.whole import Whole, reading, require_same_tables, writing
from schedulerd.errors import LedgerError


def copy(source_url: str, target_url: str) -> dict[str, int]:
    """Copy every row, in one transaction; rows by table, counted in both.

    Raises LedgerError, and then the target is as it was: when it is not empty, when anything fails, and when the counts
    differ afterwards.
    """
    with reading(source_url) as source, writing(target_url) as target:
        tables = require_same_tables(source, target)
        _require_empty(target, tables)
        target.connection.execute("DELETE FROM leadership")
        for table, columns in tables.items():
            names = ", ".join(columns)
            insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"
            for rows in source.stream(f"SELECT {names} FROM {table}"):
                target.connection.executemany(insert, rows)
        target.finish_writing()
        return _counted(source, target, tables)


def back_up(url: str, file: Path) -> int:
    """Write the ledger as it is at this moment into a new SQLite file, while it is written to; the file's size.

    The file appears when it is whole and on disk. Raises LedgerError when it is there already or anything fails.
    """
    if file.exists():
        raise LedgerError(f"{file}: is there already; name another file, nothing was written")
    part = file.with_name(f"{file.name}.part")
    _remove(part)  # of a backup that was interrupted
    try:
        if is_postgres(url):
            copy(url, f"sqlite://{part.absolute()}")
        else:
            _back_up_file(sqlite_path(url), part)
        _require_whole(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.link(part, file)  # unlike a rename, never over a file that came meanwhile
        _sync_directory(file.absolute().parent)
    except OSError as error:
        raise LedgerError(f"{file}: cannot be written: {error.strerror}") from error
    finally:
        _remove(part)
    return file.stat().st_size


def _back_up_file(source: Path, target: Path) -> None:
    with closing(open_reader(source)) as connection:
        create(target)
        with translated(target, "backing up"), closing(sqlite3.connect(target)) as copied:
            connection.backup(copied)  # all pages in one step: a reader, for which no writer waits


def _require_whole(part: Path) -> None:
    """SQLite says nothing when it could not write the log into the file at the end (a full disk): look for the log."""
    log = part.with_name(f"{part.name}-wal")
    if log.exists() and log.stat().st_size:
        raise LedgerError(
            f"{part}: {log.stat().st_size} bytes are still in its write-ahead log, which could not be written into the "
            "file (is the disk full?); there is no backup"
        )


def _require_empty(target: Whole, tables: dict[str, list[str]]) -> None:
    (epoch,) = target.connection.execute("SELECT epoch FROM leadership").fetchone()
    filled = [table for table in tables if table != "leadership" and target.count(table)]
    if epoch or filled:
        what = ", ".join(filled[:3]) or "leadership"
        raise LedgerError(
            f"{target.shown}: is not empty ({what}); a copy goes into a new ledger, nothing was copied"
        )


def _counted(source: Whole, target: Whole, tables: dict[str, list[str]]) -> dict[str, int]:
    counts = {}
    for table in tables:
        counts[table] = target.count(table)
        if counts[table] != source.count(table):
            raise LedgerError(
                f"{target.shown}: {table} has {counts[table]} rows, expected {source.count(table)}; nothing was copied"
            )
    return counts


def _remove(part: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        part.with_name(part.name + ending).unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
