"""The reading side of a SQLite ledger: its connection and its short transactions. Leaves what is read to reader.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schedulerd.adapters.ledger.reader import Reader
from schedulerd.adapters.ledger.sqlite_file import open_reader, translated


class SqliteReader(Reader):
    """`LedgerReader` on a SQLite file that exists."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises LedgerError, one sentence for the operator."""
        self._path = path
        self._file = self._connection = open_reader(path)

    def close(self) -> None:
        """Release the file."""
        with translated(self._path, "closing the ledger"):
            self._file.close()

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        """Reads that see one state of the file, ended at once so that no checkpoint waits for them."""
        with translated(self._path, doing):
            self._file.execute("BEGIN")
            try:
                yield
            finally:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
