"""What both elections have in common: the lease they give, who leads, how leading is given up. Knows nothing of epochs.

An election says who may act; that nobody else has acted meanwhile is what the ledger's epoch makes sure of.
"""

import math
from collections.abc import Callable
from typing import Protocol

from schedulerd.hostkit import clock
from schedulerd.protocol.leader_card import LeaderCard

__all__ = ["Election", "LeaderCard", "Lease", "who_leads"]


class Lease:
    """One leadership, as long as the election vouches for it. Once it is over it stays over.

    Extended by the election's thread, asked by the loop's at each commit and at each send.
    """

    def __init__(self, sent_at: float = 0.0, term: float = math.inf) -> None:
        """`sent_at`: when the renewal it rests on was sent, boot-time seconds; `term`: seconds it lasts from then."""
        self.lost = ""  # why it ended before its time
        self.sent_at = sent_at
        self._until = sent_at + term

    def holds(self) -> bool:
        """Whether its owner may act now; counts the time of a suspend, and of a process that was stopped."""
        if self.lost:
            return False
        if clock.boot_seconds() < self._until:
            return True
        self.lost = "the lease ran out"
        return False

    def extend(self, sent_at: float, term: float) -> None:
        """A renewal sent at `sent_at` succeeded; changes nothing once the lease is over."""
        if self.holds():
            self.sent_at, self._until = sent_at, sent_at + term

    def end(self, why: str) -> None:
        """It is over; the first reason counts."""
        self.lost = self.lost or why

    def left(self) -> float:
        """Seconds until it runs out; 0 when it is over."""
        return 0.0 if self.lost else max(0.0, self._until - clock.boot_seconds())


class Election(Protocol):
    """Finds the one scheduler that may act. Fields may be read, and methods called, from any thread."""

    kind: str  # "file" | "consul"
    trouble: str  # why nothing is known at the moment, in a sentence; empty: all is well
    fault: str  # why this scheduler must not take part at all, in a sentence; empty: it may

    @property
    def lease(self) -> Lease | None:
        """Ours, if this scheduler was elected; it may be over by now."""

    @property
    def standbys(self) -> tuple[str, ...] | None:
        """Names of those that would take over; None: not known."""

    @property
    def leader(self) -> LeaderCard | None:
        """Who leads, as it was heard last; ourselves while our lease holds."""

    @property
    def before(self) -> LeaderCard | None:
        """Who had the lead when we were elected last, as it left its card; None: nobody, or not known."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Take part from now on; `on_change` is called from other threads when lease or leader have changed.

        Raises SettingsError when this scheduler cannot take part.
        """

    def announce(self, card: LeaderCard) -> None:
        """Tell the others what they should know of us; when we lead, at once."""

    def refuse(self, own: str, theirs: LeaderCard) -> None:
        """Our ledger, which has the id `own`, is not that of who leads or led: take no part, and say so in `fault`."""

    def give_up(self, why: str, aside: float) -> bool:
        """End our lease and let another lead: for `aside` seconds we do not stand. False: there can be no other."""

    def stop(self) -> None:
        """End our lease and take part no more, so that another can lead at once."""


def who_leads(election: Election) -> str:
    """For those who want something of the leader while this scheduler does not lead."""
    leader = election.leader
    if leader is not None:
        return f"this schedulerd is a standby; the leader is {leader.words()}"
    if election.trouble:
        return f"nobody is known to lead: {election.trouble}"
    return "nobody leads at the moment; try again"
