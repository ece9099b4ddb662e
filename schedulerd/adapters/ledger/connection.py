"""What the ledger's SQL is spoken to: one text for both databases. Leaves opening and transactions to each of them.

The text keeps to what SQLite and PostgreSQL both take. Placeholders are `?`, or `?1 ?2` where a value stands twice;
truth values are the integers 0 and 1; `ON CONFLICT ... DO UPDATE` names its columns; the greater of two values is a
CASE, for `max` of two is SQLite's alone; blobs are cut with a first byte from 1; a text is compared byte by byte.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int: ...  # rows that it changed, over all of an executemany
    def fetchone(self) -> Any: ...  # a tuple, or None when there is no more
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """`sqlite3.Connection` as it is, and PostgreSQL's behind a translation of the text."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Rows: ...
    def executemany(self, statement: str, rows: Sequence[tuple[Any, ...]], /) -> Rows: ...


@runtime_checkable
class Pipeline(Protocol):
    """A connection to a server, for which the way there and back is what a query costs."""

    def each(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]: ...


def each(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The first row that the query gives for each of `rows`, None where it gives none."""
    if isinstance(connection, Pipeline):
        return connection.each(statement, rows)
    return [connection.execute(statement, row).fetchone() for row in rows]
