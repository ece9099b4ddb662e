"""What is told of leaderships that begin and end: to the ledger as events, to the others by the election.

The end of one that lost its lease cannot be recorded by itself: whoever leads next records whom it follows, and how
that one ended, as far as the ledger and the election tell. What has not begun has no end: a try to lead that the ledger
refused is a line of the log. Decides nothing.
"""

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime

from msgspec import structs

from schedulerd.adapters.election import Election, LeaderCard
from schedulerd.core.effects import RecordEvent
from schedulerd.hostkit import clock
from schedulerd.model.run import Former
from schedulerd.protocol.ids import rfc3339

OF_OWN_WILL = ("stepped_down", "stopping")
HANDED_OVER, LOST, EXPIRED, RESTARTED = (
    "handed_over",
    "lost",
    "expired",
    "restarted",
)  # how the former one ended
UNRECORDED = 100  # ends at most that wait to be recorded: a ledger that fails at each first commit

log = logging.getLogger(__name__)


class Succession:
    """Used by the loop's thread."""

    def __init__(
        self,
        election: Election,
        card: LeaderCard,
        on_lost: Callable[[str], None],
        on_followed: Callable[[str], None] = lambda how: None,
    ) -> None:
        """`on_followed` gets, when it is recorded, in a word how the leadership before ours ended."""
        self._election = election
        self._card = card
        self._on_lost = on_lost
        self._on_followed = on_followed
        self._is_begun = False
        self._ends: deque[RecordEvent] = deque(
            maxlen=UNRECORDED
        )  # of our leaderships, until they are recorded
        self._warning = ""  # what is to be recorded at the next begin
        self._warned = ""  # as it was said last
        self._how = ""  # how the one before ours ended, until that is recorded

    @property
    def before(self) -> LeaderCard | None:
        """Who had led when we were elected, as the election tells."""
        return self._election.before

    def begin(self, epoch: int, now: datetime, former: Former | None, ledger_id: str) -> list[RecordEvent]:
        """We lead: tell the others, and what is to be recorded; call `recorded` when it is."""
        self._is_begun = True
        after = ""
        if former is not None:
            self._how, how = self._end_of(former)
            after = f", after {self._name_of(former)} in epoch {former.epoch}: {how}"
        self._card = structs.replace(
            self._card, epoch=epoch, since=rfc3339(now), ledger_id=ledger_id, ended=""
        )
        self._election.announce(self._card)
        gained = RecordEvent(
            type="leader_gained", time=now, detail=f"{self._card.name} leads in epoch {epoch}{after}"
        )
        told = [RecordEvent(type="rival_leader", time=now, detail=self._warning)] if self._warning else []
        return [*self.farewell(), gained, *told]

    def end(self, reason: str, why: str, epoch: int) -> bool:
        """Our leadership ended: `reason` in a word, `why` in a sentence. False: it had not begun, nothing ended."""
        if not self._is_begun:
            log.warning("leading did not begin  reason=%s detail=%s", reason, why)
            return False
        self._is_begun = False
        self._on_lost(reason)
        level = logging.INFO if reason in OF_OWN_WILL else logging.WARNING
        log.log(level, "leading no more  epoch=%d reason=%s detail=%s", epoch, reason, why)
        detail = f"{self._card.name} led in epoch {epoch} until now: {reason}: {why}"
        self._ends.append(RecordEvent(type="leader_lost", time=clock.utc_now(), detail=detail))
        self._card = structs.replace(self._card, ended=f"{reason}: {why}")
        self._election.announce(self._card)  # whoever is elected next finds it in the key
        return True

    def farewell(self) -> list[RecordEvent]:
        """The ends of our leaderships that are not recorded yet."""
        return list(self._ends)

    def warn(self, words: str) -> None:
        """To be recorded at our next begin, if it is more than nothing and was not said before."""
        self._warning = "" if words[:40] == self._warned[:40] else words
        self._warned = words

    def recorded(self) -> None:
        """What was to be recorded is in the ledger."""
        self._ends.clear()
        self._warning = ""
        if self._how:
            self._on_followed(self._how)
            self._how = ""

    def _end_of(self, former: Former) -> tuple[str, str]:
        """How the leadership before ours ended, in a word and in words."""
        card = self._card_of(former)
        said = former.farewell or (card.ended if card is not None else "")
        if not said and former.leader == self._card.id and former.epoch == self._card.epoch:
            said = self._card.ended  # our own, of which the ledger has nothing yet
        if said.partition(":")[0] in OF_OWN_WILL:
            return HANDED_OVER, f"handed over ({said})"
        if said:
            return LOST, f"it gave the lead up ({said})"
        if former.leader == self._card.id:
            return RESTARTED, "it ended without a word, and is this scheduler itself"
        if card is not None:
            return EXPIRED, "its lease ran out without a word of it"
        return LOST, "it ended without a word"

    def _card_of(self, former: Former) -> LeaderCard | None:
        """What the election knows of that leadership."""
        card = self._election.before
        return card if card is not None and (card.id, card.epoch) == (former.leader, former.epoch) else None

    def _name_of(self, former: Former) -> str:
        card = self._card_of(former)
        return card.words() if card is not None else former.name
