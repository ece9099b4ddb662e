"""What a loop lets the other threads read of itself: single values, each written by the loop's thread alone."""

from schedulerd.hostkit import clock

TAKEOVER = 60.0  # seconds more than usual for a takeover: it reads everything that is open, and settles what was missed


class Pulse:
    """The public face of a Loop."""

    def __init__(self) -> None:
        self.epoch = 0  # of our newest leadership
        self.is_leading = False
        self.has_workers = False  # discovery has answered once
        self.trouble = ""  # why nobody leads, in a sentence; empty while this one does
        self.is_upkeep_due = False  # set by the alarm: the ledger wants housekeeping
        self.progress = 0.0  # boot-time seconds of the newest finished round
        self.allowance = 0.0  # seconds more than usual that the round under way may take
        self.lag = 0.0  # seconds the newest round took, for which what arrived meanwhile had to wait
        self.asked_down = ""  # who asked this leader to step down; set by any thread

    def silence(self) -> float:
        """Seconds since a round was finished; 0 before the first."""
        return clock.boot_seconds() - self.progress if self.progress else 0.0

    def overdue(self) -> float:
        """As `silence`, less what the round under way may take longer than others."""
        return max(0.0, self.silence() - self.allowance)

    def finished(self) -> None:
        """A round is done."""
        self.progress, self.allowance = clock.boot_seconds(), 0.0
