"""Where the ledger of a seed stands: the real SQLite ledger, in memory for most seeds and in a file for some.

A seed in memory has one connection that all leaders share: transactions never interleave in a simulated world, and
closing costs nothing. A seed with a file has a connection for each process, as in production.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schedulerd.adapters.ledger import invariants, whole
from schedulerd.adapters.ledger.batch import Numbers
from schedulerd.adapters.ledger.load import load_run
from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.adapters.ledger.upkeep import Upkeep
from schedulerd.model.run import OpenRun


class SimulatedLedger(SqliteLedger):
    """The real ledger without its fsyncs, for nobody pulls the plug of this machine."""

    def __init__(self, path: Path, shared: sqlite3.Connection | None) -> None:
        if shared is None:
            super().__init__(path)
            self._connection.execute("PRAGMA synchronous = OFF")
            return
        self._path = path
        self._connection = shared
        self._unusable = ""
        self._epoch = None
        self._upkeep = Upkeep(shared)
        self._numbers = Numbers(shared)
        self._is_shared = True

    def close(self) -> None:
        """See `Ledger`; a shared connection stays."""
        if not hasattr(self, "_is_shared"):
            super().close()
        self._unusable = "closed"


class Shelf:
    """One empty ledger, new for each seed."""

    def __init__(self, directory: Path, is_file: bool, kind: type[SimulatedLedger]) -> None:
        self.file = directory / "ledger.db"
        self._kind = kind
        model = directory / "model.db"  # migrated once: the migration would cost more than the seed
        if not model.exists():
            ledger = SqliteLedger(model)
            ledger._connection.execute("PRAGMA journal_mode = DELETE")
            ledger.close()
        for path in directory.glob(f"{self.file.name}*"):
            path.unlink()
        self._memory: sqlite3.Connection | None = None
        if is_file:
            self.file.write_bytes(model.read_bytes())
            self._reader = sqlite3.connect(self.file, isolation_level=None)
        else:
            self._memory = self._reader = sqlite3.connect(
                ":memory:", isolation_level=None, cached_statements=512
            )
            self._memory.deserialize(model.read_bytes())

    def open(self) -> SimulatedLedger:
        """As a starting scheduler does."""
        return self._kind(self.file, self._memory)

    def ask(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What the ledger's tables say, without any reader of the product that could hide it."""
        return self._reader.execute(statement, values).fetchall()

    def recorded_run(self, run: str) -> OpenRun | None:
        """As the API reads it for a retry."""
        return load_run(self._reader, run)

    def violations(self) -> list[str]:
        """What must not be in any ledger; looked for where it stands in a file."""
        if self._memory is not None:
            return []
        with whole.reading(f"sqlite://{self.file}") as ledger:
            return list(invariants.violations(ledger))

    def close(self) -> None:
        """The seed is over."""
        self._reader.close()
