"""Whose a PostgreSQL database is, and its migrations. Leaves rows to others.

The table `schedulerd_ledger` says that the database is ours and which migrations it has had. Whoever migrates holds
an advisory lock, and all of it is one transaction.
"""

from schedulerd.adapters.ledger import postgres_sql
from schedulerd.adapters.ledger.migrations import newest_version, scripts, statements
from schedulerd.adapters.ledger.postgres_connection import PostgresConnection
from schedulerd.errors import LedgerError, NoLedgerYet

LOCK = 0x53434844  # "SCHD"

# One statement, so that what another opener has just migrated is seen as a whole.
_WHOSE = """
SELECT current_schema()::text, current_setting('server_encoding'), to_regclass('schedulerd_ledger') IS NOT NULL, (
SELECT count(*) FROM pg_class AS c WHERE c.relnamespace = current_schema()::regnamespace
AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (
    SELECT 1 FROM pg_depend AS d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'))
"""


def migrate(connection: PostgresConnection) -> None:
    """Make or bring up to date the tables. Raises LedgerError, one sentence, for a database that is not ours."""
    if version(connection) == newest_version():
        return
    with connection.server.translated("migrating the ledger"):
        connection.execute("BEGIN")
        try:
            connection.execute("SET LOCAL lock_timeout = '20s'")  # another opener may be at it
            connection.execute("SELECT pg_advisory_xact_lock(?)", (LOCK,))
            _migrate(connection, version(connection))
            connection.commit()
        finally:
            connection.roll_back()


def check(connection: PostgresConnection) -> None:
    """Raise LedgerError, one sentence, unless the database is a ledger of this version."""
    found = version(connection)
    if found == 0:
        raise NoLedgerYet(
            f"{connection.server.shown}: there is no ledger yet; a scheduler that leads creates it"
        )
    if found != newest_version():
        raise LedgerError(
            f"{connection.server.shown}: has schema version {found}, expected {newest_version()}; "
            "it can be read when a leading scheduler has opened it"
        )


def version(connection: PostgresConnection) -> int:
    """How many migrations the database has had; 0 for an empty one. Raises LedgerError for one of others or newer."""
    shown = connection.server.shown
    with connection.server.translated("opening the ledger"):
        schema, encoding, is_ours, others = connection.execute(_WHOSE).fetchone()
        if schema is None:
            raise LedgerError(f"{shown}: the search_path names no schema of it; nothing was opened")
        if encoding != "UTF8":
            raise LedgerError(f"{shown}: has the encoding {encoding}, expected UTF8; nothing was opened")
        if not is_ours:
            if others:
                raise LedgerError(
                    f'{shown}: its schema "{schema}" has {others} tables, but they are not a ledger of schedulerd; '
                    "give schedulerd a database of its own, this one is left untouched"
                )
            return 0
        (found,) = connection.execute("SELECT version FROM schedulerd_ledger").fetchone()
    if found > newest_version():
        raise LedgerError(
            f"{shown}: has schema version {found}, this schedulerd knows versions up to {newest_version()}; "
            "start the newer schedulerd, the database is left untouched"
        )
    return int(found)


def _migrate(connection: PostgresConnection, have: int) -> None:
    if have == 0:
        connection.script("CREATE TABLE schedulerd_ledger (version BIGINT NOT NULL)")
        connection.script("INSERT INTO schedulerd_ledger VALUES (0)")
    own = scripts("postgres")
    for number, script in scripts().items():
        if number <= have:
            continue
        for statement in statements(script):
            connection.script(postgres_sql.ddl(statement))
        for statement in statements(own.get(number, "")):
            connection.script(statement)
    connection.execute("UPDATE schedulerd_ledger SET version = ?", (newest_version(),))
