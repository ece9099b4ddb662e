"""What happened, as values: the jobs and their fire times, the faults, the witnesses' lines, the ledger's rows.

Moments are seconds of this machine's boot-time clock, which nothing steps; wall times are Unix seconds. Judging is
for checker.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

NOTICED = 0.5  # seconds that a step of the clock may take to be in force everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """One job as the test wrote it into the table."""

    name: str
    period: float = 0.0  # seconds between fire times, multiples of it since 1970; 0: `instants` alone
    instants: tuple[float, ...] = ()  # Unix seconds
    subtasks: int = 1
    misfire: str = "all"  # all: every fire time runs; once, skip: those missed may be skipped
    overlap: str = "allow"
    on_lost: str = "fail"
    retries: int = 0
    fails_first: bool = False  # attempt 1 of every subtask ends with 1 by itself

    def fire_times(self, first: float, last: float) -> list[float]:
        """Those in [first, last], ascending."""
        if not self.period:
            return [instant for instant in self.instants if first <= instant <= last]
        low, high = math.ceil(first / self.period), math.floor(last / self.period)
        return [number * self.period for number in range(low, high + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault that was made."""

    name: str
    kind: str
    began: float
    ended: float
    recovery: float  # seconds after its end in which things may still be late
    args: dict[str, object] = field(default_factory=dict)

    @property
    def over(self) -> float:
        """From here on it excuses nothing."""
        return self.ended + self.recovery


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A process of a job said that it begins."""

    attempt: str  # RUN~SUBTASK~N
    job: str
    fire_time: float  # as it was told, Unix seconds
    host: str
    pid: int
    epoch: int
    moment: float
    wall: float = 0.0

    @property
    def run(self) -> str:
        """The run it is part of."""
        return self.attempt.rsplit("~", 2)[0]

    @property
    def subtask(self) -> tuple[str, str]:
        """(run, index)."""
        run, index, _ = self.attempt.rsplit("~", 2)
        return run, index


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The same process said that it ends, and with which exit code."""

    attempt: str
    host: str
    pid: int
    code: int
    moment: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """A row of the ledger that accounts for fire times."""

    job: str
    first: float
    last: float
    count: int
    run: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run of the ledger; times by the scheduler's wall clock."""

    id: str
    job: str
    cause: str
    fire_time: float
    created: float
    finished: float | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """An attempt of the ledger."""

    id: str
    worker: str
    epoch: int
    fence: int
    state: str
    reason: str
    assigned: float
    finished: float | None

    @property
    def number(self) -> int:
        """From 1, within its subtask."""
        return int(self.id.rsplit("~", 1)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event of the ledger; time by the scheduler's wall clock."""

    seq: int
    time: float
    type: str
    attempt: str | None
    epoch: int
    detail: str = ""
    job: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """A leadership of the ledger: who began it, and when by its wall clock."""

    epoch: int
    leader: str  # the scheduler's id
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """The counters of one process of a scheduler as they were at a moment, by name and label."""

    host: str
    pid: int
    moment: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process of a scheduler, from its start to its end; with no end it lived to the last look."""

    host: str
    leader: str  # the scheduler's id, as in EpochRow
    pid: int
    began: float
    ended: float | None = None


class SchedulerClock:
    """The wall clock of the scheduler's host: this machine's, moved in steps."""

    def __init__(self, base: float, steps: Sequence[tuple[float, float]] = ()) -> None:
        """`base`: Unix seconds at moment 0; `steps`: (moment, seconds it is ahead from then on), ascending."""
        self._segments = [(-math.inf, base), *((moment, base + ahead) for moment, ahead in steps)]

    def wall(self, moment: float) -> float:
        """What it showed."""
        return moment + [offset for since, offset in self._segments if since <= moment][-1]

    def due(self, instant: float) -> float:
        """The moment at which it first showed `instant` or later."""
        ends = [later for (_, _), (later, _) in pairwise(self._segments)] + [math.inf]
        for (since, offset), until in zip(self._segments, ends, strict=True):
            moment = max(since, instant - offset)
            if moment < until:
                return moment
        raise AssertionError("the last segment has no end")

    def moments(self, wall: float) -> list[float]:
        """Every moment at which it showed `wall`, ascending; several after a step back, at least one."""
        ends = [since for since, _ in self._segments[1:]] + [math.inf]
        shown = [
            wall - offset
            for (since, offset), until in zip(self._segments, ends, strict=True)
            if since - NOTICED <= wall - offset < until + NOTICED
        ]
        return sorted(shown) or [wall - self._segments[0][1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything the checker judges by."""

    jobs: tuple[JobPlan, ...]
    faults: tuple[Fault, ...]
    clock: SchedulerClock
    since: float  # moment from which on every fire time counts
    until: float  # and until which
    starts: tuple[Start, ...]
    ends: tuple[End, ...]
    slots: tuple[SlotRow, ...]
    runs: tuple[RunRow, ...]
    attempts: tuple[AttemptRow, ...]
    kills: tuple[tuple[str, float], ...] = ()  # (host, moment) of every daemon that was killed
    left_over: tuple[str, ...] = ()  # processes found after everything had ended
    events: tuple[EventRow, ...] = ()
    epochs: tuple[EpochRow, ...] = ()
    lives: tuple[Life, ...] = ()  # of the schedulers' processes
    scrapes: tuple[Scrape, ...] = ()
