"""The ledger's SQL in PostgreSQL's words: placeholders, statements over arrays, tables of the migrations."""

import pytest

from schedulerd.adapters.ledger import postgres_bulk, postgres_sql
from schedulerd.adapters.ledger.migrations import scripts, statements

TYPES = {("t", "a"): "bigint", ("t", "b"): "text", ("t", "c"): "bytea"}


def test_placeholders_are_numbered_or_keep_their_number() -> None:
    assert postgres_sql.text("SELECT ? WHERE x = ?") == "SELECT $1 WHERE x = $2"
    assert postgres_sql.text("SELECT ?2, ?1, ?2") == "SELECT $2, $1, $2"


VALUES = "INSERT INTO t (a, b, c) VALUES (?, 'x', ?) ON CONFLICT DO NOTHING"
SELECT = "INSERT INTO t (a, b) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM t WHERE a > ?1)"
UPDATE = "UPDATE t SET a = ?, b = ? WHERE a = ? AND b = 'y'"
OVER_ARRAYS = {
    VALUES: "INSERT INTO t (a, b, c) SELECT many.c1, 'x', many.c2 FROM unnest($1::bigint[], $2::bytea[]) AS many"
    " (c1, c2) ON CONFLICT DO NOTHING",
    SELECT: "INSERT INTO t (a, b) SELECT many.c1, many.c2 FROM unnest($1::bigint[], $2::text[]) AS many (c1, c2)"
    " WHERE NOT EXISTS (SELECT 1 FROM t WHERE a > many.c1)",
    UPDATE: "UPDATE t SET a = many.c1, b = many.c2 FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS many"
    " (c1, c2, c3) WHERE a = many.c3 AND b = 'y'",
}
ROWS: dict[str, list[list[object]]] = {
    VALUES: [[1], [None]],
    SELECT: [[1], ["x"]],
    UPDATE: [[None], ["x"], [3]],
}


@pytest.mark.parametrize("statement", OVER_ARRAYS)
def test_statements_of_many_rows_are_one_over_arrays(statement: str) -> None:
    bulk = postgres_bulk.bulk(statement, TYPES)
    assert bulk is not None
    assert bulk.text(ROWS[statement]) == OVER_ARRAYS[statement]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT (a) DO UPDATE SET b = excluded.b",  # the same row twice fails
        "UPDATE t SET a = (SELECT 1) WHERE b = ?",
        "UPDATE t SET a = ? WHERE b IS NULL",  # no key
        "DELETE FROM t WHERE a = ?",
    ],
)
def test_what_has_no_such_form_goes_row_by_row(statement: str) -> None:
    assert postgres_bulk.bulk(statement, TYPES) is None


def test_an_update_of_one_row_by_several_goes_row_by_row() -> None:
    bulk = postgres_bulk.bulk("UPDATE t SET a = ?1 WHERE b = ?2 AND a < ?1", TYPES)
    assert bulk is not None
    assert bulk.key == (1,)
    assert bulk.is_fit([[1, 2], ["x", "y"]])
    assert not bulk.is_fit([[1, 2], ["x", "x"]])


def test_migrations_have_nothing_left_that_is_sqlites_alone() -> None:
    for script in scripts().values():
        for statement in statements(script):
            text = postgres_sql.ddl(statement)
            for word in ("STRICT", "ROWID", "AUTOINCREMENT", "BLOB", "INTEGER", "REFERENCES", "--"):
                assert word not in text, text
