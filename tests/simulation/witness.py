"""What the children themselves say: which attempt began and ended when. The truth that the ledger is compared with."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Sight:
    """One process that existed."""

    attempt: str
    job: str
    worker: str
    started: float  # seconds of the world
    is_guarded: bool
    late_ms: int  # how long its expiry was over when it began; below 0 as it ought to be
    ended: float | None = None
    end: str = ""  # succeeded | failed | timeout | killed
    output: bytes = b""


@dataclass
class Witness:
    """Everything that was seen, in order, and what was wrong with it at once."""

    sights: list[Sight] = field(default_factory=list)
    by_attempt: dict[str, list[Sight]] = field(default_factory=dict)

    def began(self, sight: Sight) -> None:
        """A process exists."""
        self.sights.append(sight)
        self.by_attempt.setdefault(sight.attempt, []).append(sight)
