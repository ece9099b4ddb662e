"""A SQLite file as a ledger: opening, whose file it is, migrations, errors in our words. Leaves rows to others."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schedulerd.adapters.ledger.migrations import newest_version, scripts, statements
from schedulerd.errors import LedgerContentError, LedgerError, NoLedgerYet, SchedulerdError

APPLICATION_ID = 0x53434844  # "SCHD"
BUSY_TIMEOUT_S = 5.0  # below the leadership lease, so that a waiting writer still resigns in time

_CONTENT_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,  # an integer of more than 64 bits
    ValueError,  # text with lone surrogates, an attempt id that is none
)


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn what sqlite3 raises into LedgerContentError (about content) or LedgerError (all else)."""
    try:
        yield
    except SchedulerdError:
        raise
    except _CONTENT_ERRORS as error:
        raise LedgerContentError(f"{path}: {doing}: refused: {error}; nothing was written") from error
    except (sqlite3.Error, OSError) as error:  # OSError: a failpoint's
        raise LedgerError(f"{path}: {doing}: {error}") from error


def open_writer(path: Path) -> sqlite3.Connection:
    """The writing connection, migrated to the newest schema.

    Raises LedgerError, one sentence, when the file cannot be opened and written or is not a ledger of this version.
    The connection is in autocommit: whoever writes says BEGIN IMMEDIATE and COMMIT.
    """
    if not path.parent.is_dir():
        raise LedgerError(f"{path}: there is no directory {path.parent}; create it, the ledger is not opened")
    create(path)
    connection = _connect(path, f"file:{_quoted(path)}?mode=rw")
    try:
        with translated(path, "opening the ledger"):
            _check_owner(connection, path, is_new_allowed=True)
            _check_writable(connection, path)
            _set_up(connection, path)
            _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection to a ledger that exists. Raises LedgerError, one sentence."""
    if not path.exists():
        raise NoLedgerYet(f"{path}: there is no ledger yet; a scheduler that leads creates it")
    connection = _connect(path, f"file:{_quoted(path)}?mode=ro")
    try:
        with translated(path, "opening the ledger for reading"):
            _check_owner(connection, path, is_new_allowed=False)
            connection.execute("PRAGMA query_only = 1")
    except BaseException:
        connection.close()
        raise
    return connection


def tidy(connection: sqlite3.Connection) -> None:
    """Statistics and a checkpoint that waits for nobody; outside any transaction."""
    connection.execute("PRAGMA analysis_limit = 400")
    connection.execute("PRAGMA optimize")
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def create(path: Path) -> None:
    """Make an empty file that others cannot read, since output may be private; SQLite's own files follow its mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640))
    except FileExistsError:
        return
    except OSError as error:
        raise LedgerError(f"{path}: cannot be created: {error.strerror}; {_who(path)}") from error


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
            cached_statements=256,
            check_same_thread=False,  # made by one thread, used by another; never by two at once
        )
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: cannot be opened: {error}; {_who(path)}") from error


def _check_owner(connection: sqlite3.Connection, path: Path, *, is_new_allowed: bool) -> None:
    """Refuse files of others and of newer versions before anything in them is touched."""
    try:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{path}: cannot be read: {error}; {_who(path)}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path}: is not a SQLite file ({error}); it is left untouched") from error
    if (owner, version, tables) == (0, 0, 0) and is_new_allowed:
        return
    if owner != APPLICATION_ID:
        raise LedgerError(
            f"{path}: is a SQLite file, but not a ledger of schedulerd "
            f"(application_id {owner:#x}, expected {APPLICATION_ID:#x}); it is left untouched"
        )
    if version > newest_version():
        raise LedgerError(
            f"{path}: has schema version {version}, this schedulerd knows versions up to {newest_version()}; "
            "start the newer schedulerd, the file is left untouched"
        )
    if version < newest_version() and not is_new_allowed:
        raise LedgerError(
            f"{path}: has schema version {version}, expected {newest_version()}; "
            "it can be read when a leading scheduler has opened it"
        )


def _check_writable(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{path}: cannot be written: {error}; {_who(path)}") from error


def _who(path: Path) -> str:
    return f"user id {os.geteuid()} needs to read and write this file and its directory {path.parent}"


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerError(
            f"{path}: its file system allows no write-ahead log (journal mode {mode}); use a local one"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = OFF")  # see migrations/0001_first.sql
    connection.execute("PRAGMA secure_delete = OFF")  # some builds zero freed pages by default
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -32768")  # KiB
    connection.execute(
        "PRAGMA wal_autocheckpoint = 4000"
    )  # pages; rewritten pages are copied once, not each time
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, each migration in a transaction of its own."""
    for number, script in scripts().items():
        connection.execute("BEGIN IMMEDIATE")
        try:
            # read inside the transaction: another opener may have been first
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < number:
                with translated(path, f"migration {number}"):
                    for statement in statements(script):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
