"""What is told of leaderships that begin and end: to the ledger as events, to the others by the election.

The end of one that lost its lease cannot be recorded by itself: it is told at its next begin. What has not begun has
no end: a try to lead that the ledger refused is a line of the log. Decides nothing.
"""

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime

from msgspec import structs

from schedulerd.adapters.election import Election, LeaderCard
from schedulerd.core.effects import RecordEvent
from schedulerd.hostkit import clock
from schedulerd.protocol.ids import rfc3339

OF_OWN_WILL = ("stepped_down", "stopping")
UNRECORDED = 100  # ends at most that wait to be recorded: a ledger that fails at each first commit

log = logging.getLogger(__name__)


class Succession:
    """Used by the loop's thread."""

    def __init__(self, election: Election, card: LeaderCard, on_lost: Callable[[str], None]) -> None:
        self._election = election
        self._card = card
        self._on_lost = on_lost
        self._is_begun = False
        self._ends: deque[RecordEvent] = deque(
            maxlen=UNRECORDED
        )  # of our leaderships, until they are recorded
        self._before: LeaderCard | None = None  # whom we saw lead before us

    def notice(self) -> None:
        """Remember who leads, for the day on which we follow."""
        leader = self._election.leader
        if leader is not None and leader.epoch:  # without one it was elected and has not begun to lead
            self._before = leader

    def begin(self, epoch: int, now: datetime) -> list[RecordEvent]:
        """We lead: tell the others, and what is to be recorded; call `recorded` when it is."""
        self._is_begun = True
        self._card = structs.replace(self._card, epoch=epoch, since=rfc3339(now))
        self._election.announce(self._card)
        after = f", after {self._before.words()} in epoch {self._before.epoch}" if self._before else ""
        gained = RecordEvent(
            type="leader_gained", time=now, detail=f"{self._card.name} leads in epoch {epoch}{after}"
        )
        return [*self.farewell(), gained]

    def end(self, reason: str, why: str, epoch: int) -> bool:
        """Our leadership ended: `reason` in a word, `why` in a sentence. False: it had not begun, nothing ended."""
        if not self._is_begun:
            log.warning("leading did not begin  reason=%s detail=%s", reason, why)
            return False
        self._is_begun = False
        self._before = None
        self._on_lost(reason)
        level = logging.INFO if reason in OF_OWN_WILL else logging.WARNING
        log.log(level, "leading no more  epoch=%d reason=%s detail=%s", epoch, reason, why)
        detail = f"{self._card.name} led in epoch {epoch} until now: {reason}: {why}"
        self._ends.append(RecordEvent(type="leader_lost", time=clock.utc_now(), detail=detail))
        return True

    def farewell(self) -> list[RecordEvent]:
        """The ends of our leaderships that are not recorded yet."""
        return list(self._ends)

    def recorded(self) -> None:
        """What was to be recorded is in the ledger."""
        self._ends.clear()
