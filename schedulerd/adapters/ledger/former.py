"""Who led before the newest leadership, and what it said at its end. Reads only."""

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.model.run import Former

_FORMER = """
SELECT epoch, leader FROM epochs WHERE epoch < (SELECT epoch FROM leadership) ORDER BY epoch DESC LIMIT 1
"""
# a leadership that has just ended has its words among the newest events: not all of a million are read for them
_WORDS = """
SELECT type, detail FROM events
WHERE seq > (SELECT max(seq) FROM events) - 200000 AND epoch = ? AND type IN ('leader_gained', 'leader_lost')
ORDER BY seq
"""


def former(connection: Connection) -> Former | None:
    """The leadership before the newest; None: there was none."""
    row = connection.execute(_FORMER).fetchone()
    if row is None:
        return None
    epoch, leader = row
    name, farewell = leader, ""
    for kind, detail in connection.execute(_WORDS, (epoch,)):
        if kind == "leader_gained":
            name = detail.partition(f" leads in epoch {epoch}")[0]
        elif (said := detail.partition(f" led in epoch {epoch} until now: "))[1]:
            farewell = said[2]
    return Former(epoch=epoch, leader=leader, name=name, farewell=farewell)
