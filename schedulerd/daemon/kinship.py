"""Whether a standby's ledger is the one that its leader keeps: looked for once for each leader, in a thread of its own.

Two schedulers of one cluster with two ledgers would take turns at firing the same jobs. What follows is the election's.
"""

import logging
import threading
from collections.abc import Callable

from schedulerd.adapters.election import Election
from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.errors import LedgerError, NoLedgerYet, SettingsError

EVERY = 1.0  # seconds between two looks at who leads
AGAIN = 5.0  # seconds after which a ledger that could not be read is tried again

log = logging.getLogger(__name__)


class Kinship:
    """From start() to stop()."""

    def __init__(self, election: Election, open_reader: Callable[[], LedgerReader]) -> None:
        self._election = election
        self._open_reader = open_reader
        self._known = ""  # the leader's ledger that was found to be ours
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kinship", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it; a read under way has its own time-out and is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        pause = EVERY
        while not self._stopping.wait(pause):
            pause = EVERY
            leader = self._election.leader
            is_ours = self._election.lease is not None
            if leader is None or is_ours or leader.ledger_id in ("", self._known):
                continue
            try:
                own = self._own()
            except (LedgerError, SettingsError) as error:
                log.debug("whether the ledger is the leader's is not known: %s", error)
                pause = AGAIN
                continue
            if own == leader.ledger_id:
                self._known = own
            else:
                self._election.refuse(own, leader)
                return

    def _own(self) -> str:
        """Our ledger's id; empty when nobody has led by it."""
        try:
            reader = self._open_reader()
        except NoLedgerYet:
            return ""
        try:
            return reader.identity()
        finally:
            reader.close()
