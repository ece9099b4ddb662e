"""A history made ready to be judged: who began what when, which fire times there are, and what faults excuse.

The judging is for fire_times.py, attempts.py and telling.py; all stand on this.
"""

from collections import defaultdict
from dataclasses import dataclass

from acceptance.faults.kit.history import AttemptRow, End, Fault, History, JobPlan, SlotRow, Start

ON_TIME = 3.0  # seconds within which a run has begun; the product calls missed what is found 10 s late
EARLY = 0.05  # seconds: a witness tells its moment in hundredths
IN_HAND = (
    1.0  # seconds after which a fire time that came due before a fault is no longer in hand when it begins
)
EDGE = 10.0  # seconds before and after the time looked at whose fire times are optional
REQUIRED, EXCUSED, OPTIONAL = "required", "excused", "optional"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be: `kind` is missed, late, early, doubled, repeated, unexplained, unaccounted, skipped,
    differs, lost, stale, overlapped, stuck, orphan, untold, uncounted or unsound.
    """

    kind: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.text}"


@dataclass(frozen=True, slots=True)
class Fire:
    """One fire time: its instant in Unix seconds, the moment it came due, and what it had to become."""

    instant: float
    due: float
    duty: str


class Evidence:
    """Everything by job, by attempt and by fire time; `findings` is what a judge has found."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.findings: list[Finding] = []
        self.jobs = {job.name: job for job in history.jobs}
        self.runs = {run.id: run for run in history.runs}
        self.attempts: dict[str, AttemptRow] = {attempt.id: attempt for attempt in history.attempts}
        self.starts: dict[str, list[Start]] = defaultdict(list)  # attempt -> its starts
        self.starts_of: dict[str, list[Start]] = defaultdict(list)  # job -> all starts, by moment
        self.slots_of: dict[str, list[SlotRow]] = defaultdict(list)  # job -> its rows, by fire time
        self.ends: dict[tuple[str, str, int], End] = {}
        self.first_start: dict[tuple[str, float], Start] = {}  # (job, claimed fire time) -> earliest
        for start in sorted(history.starts, key=lambda start: start.moment):
            self.starts[start.attempt].append(start)
            self.starts_of[start.job].append(start)
            self.first_start.setdefault((start.job, start.fire_time), start)
        for end in history.ends:
            self.ends[(end.attempt, end.host, end.pid)] = end
        for row in sorted(history.slots, key=lambda row: row.first):
            self.slots_of[row.job].append(row)
        self.fires = {job.name: self._fires_of(job) for job in history.jobs}

    def found(self, kind: str, subject: str, text: str) -> None:
        """Note what must not be."""
        self.findings.append(Finding(kind, subject, text))

    def _fires_of(self, job: JobPlan) -> list[Fire]:
        history = self.history
        low = history.clock.wall(history.since) - 3_600 - EDGE  # the clock may have been ahead before
        high = history.clock.wall(history.until) + 3_600 + EDGE
        found = []
        for instant in job.fire_times(low, high):
            due = history.clock.due(instant)
            if history.since - EDGE <= due <= history.until + EDGE:
                found.append(Fire(instant, due, self._duty(due)))
        return found

    def _duty(self, due: float) -> str:
        if not self.history.since <= due <= self.history.until:
            return OPTIONAL
        if any(fault.began - IN_HAND <= due <= fault.over for fault in self.history.faults):
            return EXCUSED
        return REQUIRED

    def excuses(self, first: float, last: float) -> list[Fault]:
        """Faults, with their recovery, that touch this stretch of moments."""
        return [fault for fault in self.history.faults if fault.began <= last and first <= fault.over]

    def lives(self, created: float, finished: float | None) -> list[tuple[float, float]]:
        """From when to when something lasted, by the ledger's wall times: every stretch that these may mean."""
        clock, found = self.history.clock, []
        for begun in clock.moments(created):
            after = (
                [] if finished is None else [end for end in clock.moments(finished) if end >= begun - EARLY]
            )
            found.append((begun, after[0] if after else self.history.until))
        return found
