"""What a loop lets the other threads read of itself: single values, each written by the loop's thread alone."""


class Pulse:
    """The public face of a Loop."""

    def __init__(self) -> None:
        self.epoch = 0  # of our newest leadership
        self.is_leading = False
        self.has_workers = False  # discovery has answered once
        self.trouble = ""  # why nobody leads, in a sentence; empty while this one does
        self.is_upkeep_due = False  # set by the alarm: the ledger wants housekeeping
        self.progress = 0.0  # boot-time seconds of the newest finished round
        self.lag = 0.0  # seconds the newest round took, for which what arrived meanwhile had to wait
        self.asked_down = ""  # who asked this leader to step down; set by any thread
