"""Whether another scheduler leads the same workers, though its election let both of us lead: told by what ends us.

Two hosts with `[election] kind = "file"` and one cluster name know nothing of each other. Their workers do: each of the
two is refused for the other's newer epoch, takes a higher one, and so has the other refused. Decides nothing.
"""

import logging
from collections import deque

from schedulerd.hostkit import clock

COUNT = 4  # ends by a newer epoch; a restored ledger meets one for each old epoch that some worker has seen
WITHIN = 60.0  # seconds for so many of them, and for which it is said after the newest

log = logging.getLogger(__name__)


class Rivals:
    """Noted by the loop's thread; `words` may be asked by any."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=COUNT)
        self._is_told = False

    def deposed(self) -> None:
        """A leadership of ours has ended because somebody has seen a newer epoch than its own."""
        self._ends.append(clock.boot_seconds())
        words = self.words()
        if words and not self._is_told:
            log.error("%s", words)
        self._is_told = bool(words)

    def words(self) -> str:
        """A sentence for log, STATUS and an event; empty: there is no sign of one."""
        ends = list(self._ends)
        if len(ends) < COUNT or clock.boot_seconds() - ends[0] > 2 * WITHIN or ends[-1] - ends[0] > WITHIN:
            return ""
        return (
            f"another schedulerd leads the same workers: {COUNT} leaderships ended by a newer epoch within "
            f'{ends[-1] - ends[0]:.0f} s; with [election] kind = "file" a cluster has one host: stop one of the two, '
            'give it another `cluster`, or let both use kind = "consul" and one PostgreSQL ledger'
        )
