"""The numbered scripts that make the ledger's tables, one text for both databases. Leaves running them to each.

A script keeps to what SQLite and `postgres_sql.ddl` take: INTEGER, TEXT and BLOB columns, STRICT tables, no function
but the aggregates. What only PostgreSQL needs stands under the same number in `migrations/postgres/`.
"""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from schedulerd.errors import LedgerError


def scripts(kind: str = "") -> dict[int, str]:
    """Number -> SQL text, from files named `0001_what.sql`; of one database alone if it is named."""
    found = {}
    directory = files("schedulerd.adapters.ledger") / "migrations"
    for entry in (directory / kind if kind else directory).iterdir():
        if entry.name.endswith(".sql"):
            found[int(entry.name[:4])] = entry.read_text("utf-8")
    return dict(sorted(found.items()))


def newest_version() -> int:
    """The schema version that this program writes."""
    return max(scripts())


def statements(script: str) -> Iterator[str]:
    """The script's statements one by one; run as a whole it would commit the transaction around it."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        raise LedgerError(f"a migration ends in the middle of a statement: {pending.strip()[:80]!r}")
