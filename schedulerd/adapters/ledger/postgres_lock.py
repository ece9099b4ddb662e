"""The lock by which leaders of a ledger and whoever needs it alone keep clear of each other. Leaves fencing to epochs.

It belongs to a session, so that it ends with it, and everybody sees it, whoever's role the session is of: of other
roles' backends PostgreSQL tells next to nothing. Leaders share it, for a new one must not wait for a frozen one.
"""

from schedulerd.adapters.ledger.postgres_connection import PostgresConnection

# the table's own number, as a signed one: schemas of one database are ledgers of their own
_KEY = "1396918340, CAST(CAST(CAST('leadership' AS regclass) AS oid) AS bigint) - 2147483648"
_SHARE = (
    f"SELECT pg_try_advisory_lock_shared(k.one, CAST(k.two AS integer)) FROM (SELECT {_KEY}) AS k (one, two)"
)
_TAKE = f"SELECT pg_try_advisory_lock(k.one, CAST(k.two AS integer)) FROM (SELECT {_KEY}) AS k (one, two)"


def share(connection: PostgresConnection) -> bool:
    """Until the connection ends, for a leader; False while somebody has the ledger alone."""
    return bool(connection.execute(_SHARE).fetchone()[0])


def take(connection: PostgresConnection) -> bool:
    """Until the connection ends, alone; False while somebody leads by this ledger or has it alone."""
    return bool(connection.execute(_TAKE).fetchone()[0])
