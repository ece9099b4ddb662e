"""Judges a history: which fire times had to run, which did, and whether the ledger says what the witnesses say.

Fire times and witnessed runs are matched without believing what either claims; then the claims are looked at.
A fire time is *required* when no fault and no recovery was under way as it came due: it has to run, on time.
It is *excused* otherwise: it may be late, and be skipped where its job's policy says so. It is *optional* at the
edges of the time that is looked at. Makes no history itself.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from acceptance.faults.kit.history import AttemptRow, End, Fault, History, JobPlan, RunRow, SlotRow, Start
from acceptance.faults.kit.matching import maximum_matching

ON_TIME = 3.0  # seconds within which a run has begun; the product calls missed what is found 10 s late
FOUND = 10.0  # seconds after its due within which a fire time that is found late still counts as on time
EARLY = 0.05  # seconds: a witness tells its moment in hundredths
EDGE = 10.0  # seconds before and after the time looked at whose fire times are optional
EXPIRY = 10.0  # seconds that an accepted attempt may wait to start; default of [timing] expiry_seconds
UNWRITTEN = 0.5  # seconds after a process's end in which its worker may not have written it down yet
LONG = 55.0  # seconds of a fault after which the leader may have called a worker lost that still lives
MAX_LOSSES = 2  # with on_lost = "retry"

REQUIRED, EXCUSED, OPTIONAL = "required", "excused", "optional"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be: `kind` is missed, late, early, doubled, repeated, unexplained, unaccounted, skipped,
    differs, lost, stale, overlapped, stuck or orphan.
    """

    kind: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.text}"


def check(history: History) -> list[Finding]:
    """Every finding; none means that the history is clean."""
    return _Checker(history).check()


def kinds(findings: Sequence[Finding]) -> Counter[str]:
    """How many of each."""
    return Counter(finding.kind for finding in findings)


def lateness(history: History) -> list[float]:
    """Seconds from due to begun of every required fire time that ran, ascending."""
    checker = _Checker(history)
    found = []
    for job in history.jobs:
        for fire in checker.fires[job.name]:
            start = checker.first_start.get((job.name, fire.instant))
            if fire.duty == REQUIRED and start is not None:
                found.append(start.moment - fire.due)
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _Fire:
    instant: float
    due: float  # moment
    duty: str


class _Checker:
    def __init__(self, history: History) -> None:
        self._history = history
        self._findings: list[Finding] = []
        self._jobs = {job.name: job for job in history.jobs}
        self._runs = {run.id: run for run in history.runs}
        self._attempts = {attempt.id: attempt for attempt in history.attempts}
        self._starts: dict[str, list[Start]] = defaultdict(list)  # attempt -> its starts
        self._ends: dict[tuple[str, str, int], End] = {}
        for start in sorted(history.starts, key=lambda start: start.moment):
            self._starts[start.attempt].append(start)
        for end in history.ends:
            self._ends[(end.attempt, end.host, end.pid)] = end
        self.fires = {job.name: self._fires_of(job) for job in history.jobs}
        self.first_start: dict[tuple[str, float], Start] = {}  # (job, claimed fire time) -> earliest
        for starts in self._starts.values():
            for start in starts:
                known = self.first_start.get((start.job, start.fire_time))
                if known is None or start.moment < known.moment:
                    self.first_start[(start.job, start.fire_time)] = start

    def check(self) -> list[Finding]:
        for job in self._history.jobs:
            self._match(job)
            self._account(job)
            self._punctuality(job)
            self._overlap(job)
        self._doubled()
        self._repeated()
        self._results()
        self._epochs()
        self._open()
        for process in self._history.left_over:
            self._found("orphan", process, "is still there though everything of it has ended")
        return self._findings

    def _found(self, kind: str, subject: str, text: str) -> None:
        self._findings.append(Finding(kind, subject, text))

    # ---- what had to happen

    def _fires_of(self, job: JobPlan) -> list[_Fire]:
        history = self._history
        low = history.clock.wall(history.since) - 3_600 - EDGE  # the clock may have been ahead before
        high = history.clock.wall(history.until) + 3_600 + EDGE
        found = []
        for instant in job.fire_times(low, high):
            due = history.clock.due(instant)
            if history.since - EDGE <= due <= history.until + EDGE:
                found.append(_Fire(instant, due, self._duty(due)))
        return found

    def _duty(self, due: float) -> str:
        if not self._history.since <= due <= self._history.until:
            return OPTIONAL
        if any(fault.began <= due <= fault.over for fault in self._history.faults):
            return EXCUSED
        return REQUIRED

    def _excuses(self, first: float, last: float) -> list[Fault]:
        """Faults, with their recovery, that touch this stretch of moments."""
        return [fault for fault in self._history.faults if fault.began <= last and first <= fault.over]

    # ---- missed and unexplained runs

    def _match(self, job: JobPlan) -> None:
        runs: dict[str, Start] = {}
        for starts in self._starts.values():
            for start in starts:
                if start.job == job.name and (start.run not in runs or start.moment < runs[start.run].moment):
                    runs[start.run] = start
        witnessed = sorted(runs.values(), key=lambda start: start.moment)
        fires = self.fires[job.name]
        edges = [[place for place, run in enumerate(witnessed) if _may_be(fire, run)] for fire in fires]
        required = [place for place, fire in enumerate(fires) if fire.duty == REQUIRED]
        found = maximum_matching(edges, len(witnessed), required)
        for place in required:
            fire = fires[place]
            # runs may stand in for each other where ON_TIME is longer than the period: then the claim tells
            if found[place] is None or (job.name, fire.instant) not in self.first_start:
                self._found("missed", job.name, f"no run began within {ON_TIME:g} s of {fire.instant:.3f}")
        matched = {right for right in found if right is not None}
        for place, run in enumerate(witnessed):
            is_inside = self._history.since <= run.moment <= self._history.until
            if place not in matched and is_inside:
                self._found(
                    "unexplained", run.run, f"it began at {run.moment:.2f}; no fire time is left for it"
                )

    # ---- one row for each fire time, and the right one

    def _account(self, job: JobPlan) -> None:
        rows = sorted((row for row in self._history.slots if row.job == job.name), key=lambda row: row.first)
        covered: dict[float, list[SlotRow]] = {fire.instant: [] for fire in self.fires[job.name]}
        for row in rows:
            times = job.fire_times(row.first, row.last)
            if len(times) != row.count or times[:1] != [row.first] or times[-1:] != [row.last]:
                text = f"a row of {row.count} from {row.first:.3f} to {row.last:.3f}"
                self._found("unaccounted", job.name, f"{text} stands for {len(times)} fire times")
            for instant in times:
                covered.setdefault(instant, []).append(row)
        for fire in self.fires[job.name]:
            found = covered[fire.instant]
            if len(found) > 1 or (not found and fire.duty != OPTIONAL):
                self._found("unaccounted", job.name, f"{len(found)} rows for {fire.instant:.3f}")
            elif found and found[0].run is None:
                self._skipped(job, fire, found[0])
            elif found:
                self._ran(job, fire, str(found[0].run))

    def _skipped(self, job: JobPlan, fire: _Fire, row: SlotRow) -> None:
        if fire.duty == OPTIONAL:
            return
        is_excused = fire.duty == EXCUSED and job.misfire != "all" and row.reason in ("misfire", "too_old")
        if row.reason == "overlap" and job.overlap == "skip":
            is_excused = self._was_in_the_way(job, fire)
        if not is_excused:
            self._found("skipped", job.name, f"{fire.instant:.3f} ({fire.duty}) was skipped: {row.reason}")

    def _was_in_the_way(self, job: JobPlan, fire: _Fire) -> bool:
        """A run of the job was open as this fire time came due, or was found, and a fault had held it up."""
        for run in self._history.runs:
            if run.job != job.name or run.fire_time == fire.instant:
                continue
            begun = self._history.clock.moment(run.created)
            ended = (
                self._history.clock.moment(run.finished) if run.finished is not None else self._history.until
            )
            if (
                begun - EARLY <= fire.due + ON_TIME
                and fire.due <= ended + EARLY
                and self._excuses(begun, ended)
            ):
                return True
        return False

    def _ran(self, job: JobPlan, fire: _Fire, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            self._found("unaccounted", run_id, "a slot row names it and there is no such run")
            return
        if run.fire_time != fire.instant:
            self._found(
                "unaccounted", run_id, f"it is the run of {run.fire_time:.3f}, its slot {fire.instant:.3f}"
            )
        if run.state == "failed" and fire.duty != OPTIONAL:
            begun = self._history.clock.moment(run.created)
            ended = (
                self._history.clock.moment(run.finished) if run.finished is not None else self._history.until
            )
            if not self._excuses(min(begun, fire.due), ended):
                self._found("lost", run_id, f"it failed ({run.reason}) though no fault touched it")

    # ---- late and early, by what each run claims to be

    def _punctuality(self, job: JobPlan) -> None:
        for fire in self.fires[job.name]:
            start = self.first_start.get((job.name, fire.instant))
            if start is None:
                continue
            late = start.moment - fire.due
            if late < -EARLY:
                self._found("early", start.run, f"it began {-late:.2f} s before it was due")
            elif late > ON_TIME and fire.duty == REQUIRED:
                self._found("late", start.run, f"it began {late:.2f} s after it was due")

    # ---- runs that may not be beside each other

    def _overlap(self, job: JobPlan) -> None:
        if job.overlap == "allow":
            return
        latest: tuple[float, Start] | None = None
        starts = [start for starts in self._starts.values() for start in starts if start.job == job.name]
        for start in sorted(starts, key=lambda start: start.moment):
            end = self._ends.get((start.attempt, start.host, start.pid))
            if latest is not None and start.moment < latest[0] and start.run != latest[1].run:
                self._found("overlapped", start.attempt, f"it began before {latest[1].attempt} had ended")
            # without a last word it was killed, nobody here knows when: it bars nothing
            if end is not None and (latest is None or end.moment > latest[0]):
                latest = (end.moment, start)

    # ---- nothing twice

    def _doubled(self) -> None:
        for attempt, starts in self._starts.items():
            if len(starts) > 1:
                where = ", ".join(f"{start.host} at {start.moment:.2f} (pid {start.pid})" for start in starts)
                self._found("doubled", attempt, f"it began {len(starts)} times: {where}")

    def _repeated(self) -> None:
        subtasks: dict[tuple[str, str], list[Start]] = defaultdict(list)
        for starts in self._starts.values():
            subtasks[starts[0].subtask].append(starts[0])
        for (run, index), begun in subtasks.items():
            job = self._jobs.get(begun[0].job)
            if job is None or len(begun) < 2:
                continue
            begun.sort(key=lambda start: start.moment)
            before = [self._state(start.attempt) for start in begun[:-1]]
            failures = sum(state in ("failed", "timeout") for state in before)
            losses = sum(state in ("lost", "succeeded") for state in before)  # a late success came too late
            unknown = len(before) - failures - losses
            if failures > job.retries or losses > (MAX_LOSSES if job.on_lost == "retry" else 0) or unknown:
                text = f"it ran {len(begun)} times, and the ledger knows of the earlier ones: {before}"
                self._found("repeated", f"{run}~{index}", text)

    def _state(self, attempt: str) -> str:
        row = self._attempts.get(attempt)
        return row.state if row is not None else "not recorded"

    # ---- the ledger's word against the witness's

    def _results(self) -> None:
        for attempt, starts in self._starts.items():
            if attempt not in self._attempts:
                self._found("unexplained", attempt, f"it began on {starts[0].host} and is not in the ledger")
            elif starts[0].job in self._jobs and starts[0].run not in self._runs:
                self._found("unexplained", attempt, "its run is not in the ledger")
        for attempt in self._history.attempts:
            self._result(attempt)

    def _result(self, row: AttemptRow) -> None:
        starts = self._starts.get(row.id, [])
        ends = [self._ends.get((start.attempt, start.host, start.pid)) for start in starts]
        end = ends[0] if ends else None
        said = "never began" if not starts else "began" if end is None else f"ended with {end.code}"
        is_true = {
            "succeeded": end is not None and end.code == 0,
            "failed": (end is not None and end.code != 0) or (not starts and row.reason == "spawn"),
            "unstarted": not starts,
        }.get(row.state, True)
        if not is_true:
            self._found("differs", row.id, f"the ledger says {row.state} ({row.reason}), its witness: {said}")
        if row.state == "lost" and end is not None and not self._may_lose_word(end):
            text = f"it is lost ({row.reason}), its witness {said} and its worker lived on"
            self._found("differs", row.id, text)
        if row.state in ("lost", "timeout", "cancelled"):
            clock = self._history.clock
            ended = clock.moment(row.finished) if row.finished is not None else self._history.until
            if not self._excuses(clock.moment(row.assigned), ended):
                self._found("lost", row.id, f"it is {row.state} ({row.reason}) though no fault touched it")

    def _may_lose_word(self, end: End) -> bool:
        """Its worker was killed before it can have written down how this process ended, or was cut off for long."""
        for host, moment in self._history.kills:
            if host == end.host and end.moment - 0.1 <= moment <= end.moment + UNWRITTEN:
                return True
        return any(fault.ended - fault.began >= LONG for fault in self._excuses(end.moment, end.moment))

    # ---- old leaders

    def _epochs(self) -> None:
        newest = 0
        for row in sorted(self._history.attempts, key=lambda row: row.fence):
            if row.epoch < newest:
                self._found("stale", row.id, f"epoch {row.epoch} wrote after epoch {newest}")
            newest = max(newest, row.epoch)
        seen: dict[str, dict[int, float]] = defaultdict(dict)  # host -> epoch -> its first start there
        starts = [start for starts in self._starts.values() for start in starts]
        for start in sorted(starts, key=lambda start: start.moment):
            newer = [moment for epoch, moment in seen[start.host].items() if epoch > start.epoch]
            if newer and start.moment > min(newer) + EXPIRY:
                self._found(
                    "stale", start.attempt, f"{start.host} started it of epoch {start.epoch} after a newer"
                )
            seen[start.host].setdefault(start.epoch, start.moment)

    # ---- nothing stays open

    def _open(self) -> None:
        for run in self._history.runs:
            if run.finished is None:
                self._found("stuck", run.id, f"it is {run.state} long after the last fault")
            elif run.state == "succeeded" and run.job in self._jobs:
                self._whole(run)
        for row in self._history.attempts:
            if row.state in ("assigned", "accepted", "running"):
                self._found("stuck", row.id, f"it is {row.state} long after the last fault")

    def _whole(self, run: RunRow) -> None:
        """A run that succeeded has run all its subtasks, as its witnesses say."""
        for index in range(self._jobs[run.job].subtasks):
            began = [row for row in self._tries(run.id, index) if row.id in self._starts]
            if not began:
                self._found("differs", run.id, f"it succeeded and its subtask {index} never began")

    def _tries(self, run: str, index: int) -> list[AttemptRow]:
        found = []
        number = 1
        while (row := self._attempts.get(f"{run}~{index}~{number}")) is not None:
            found.append(row)
            number += 1
        return found


def _may_be(fire: _Fire, run: Start) -> bool:
    late = run.moment - fire.due
    return late >= -EARLY and (fire.duty != REQUIRED or late <= ON_TIME)
