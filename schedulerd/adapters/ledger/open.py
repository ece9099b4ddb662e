"""Which ledger a URL means. Leaves everything else to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schedulerd.adapters.ledger.base import Ledger, LedgerReader
from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.adapters.ledger.sqlite_reader import SqliteReader
from schedulerd.errors import SettingsError
from schedulerd.hostkit.ledger import ANSWER


def open_ledger(url: str, answer: float = ANSWER) -> Ledger:
    """The writing side; a SQLite file or the tables of a PostgreSQL database are created or migrated.

    `answer`: seconds that a PostgreSQL server may take for one statement; after that its connection counts as lost.
    Raises SettingsError for a URL that names no ledger, LedgerError when it cannot be opened.
    """
    if is_postgres(url):
        require_psycopg()
        from schedulerd.adapters.ledger.postgres import PostgresLedger

        return PostgresLedger(url, answer)
    return SqliteLedger(sqlite_path(url))


def open_reader(url: str) -> LedgerReader:
    """A reading side of its own, for one thread at a time. Raises as `open_ledger`; creates nothing."""
    if is_postgres(url):
        require_psycopg()
        from schedulerd.adapters.ledger.postgres_reader import PostgresReader

        return PostgresReader(url)
    return SqliteReader(sqlite_path(url))


def is_postgres(url: str) -> bool:
    """Whether the URL names a PostgreSQL database."""
    return url.startswith(("postgresql://", "postgres://"))


def sqlite_path(url: str) -> Path:
    """The file that a sqlite:// URL names. Raises SettingsError for any other URL."""
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator and rest.strip("/"):
        return Path("/" + rest.lstrip("/"))
    raise SettingsError(
        f'[ledger] url: "{url}" names no ledger, expected sqlite:///ABSOLUTE/PATH or '
        "postgresql://USER@HOST/DATABASE; nothing was opened"
    )


def require_psycopg() -> None:
    """psycopg is an extra: a host that keeps its ledger in a file does without, hence the imports above."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"[ledger] url: a PostgreSQL ledger needs psycopg ({error}); install schedulerd[postgres]"
        ) from error


def look_at(url: str) -> tuple[str, float]:
    """(what is wrong with a PostgreSQL URL, seconds that connecting by it may take); for the settings.

    What is wrong is a sentence, or empty; the password does not stand in it. Connects to nothing.
    """
    try:
        require_psycopg()
        from schedulerd.adapters.ledger.postgres_server import Server

        return "", Server(url).connecting()
    except SettingsError as error:
        return str(error).removeprefix("[ledger] url: ").removesuffix("; nothing was opened"), 0.0


@contextmanager
def alone(url: str) -> Iterator[None]:
    """A PostgreSQL ledger by which nobody leads until the end. Raises LedgerError when somebody does."""
    require_psycopg()
    from schedulerd.adapters.ledger.postgres_whole import alone as alone_in_postgres

    with alone_in_postgres(url):
        yield
