"""Which ledger a URL means. Leaves everything else to it."""

from pathlib import Path

from schedulerd.adapters.ledger.base import Ledger, LedgerReader
from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.adapters.ledger.sqlite_reader import SqliteReader
from schedulerd.errors import SettingsError


def open_ledger(url: str) -> Ledger:
    """The writing side; a SQLite file is created or migrated.

    Raises SettingsError for a URL that names no ledger, LedgerError when it cannot be opened.
    """
    return SqliteLedger(_path(url))


def open_reader(url: str) -> LedgerReader:
    """A reading side of its own, for one thread at a time. Raises as `open_ledger`; creates nothing."""
    return SqliteReader(_path(url))


def _path(url: str) -> Path:
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator and rest.strip("/"):
        return Path("/" + rest.lstrip("/"))
    if scheme in ("postgresql", "postgres"):
        raise SettingsError(
            f'[ledger] url: "{scheme}" is not supported yet, expected sqlite:///ABSOLUTE/PATH; nothing was opened'
        )
    raise SettingsError(
        f'[ledger] url: "{url}" names no ledger, expected sqlite:///ABSOLUTE/PATH; nothing was opened'
    )
