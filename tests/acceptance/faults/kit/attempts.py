"""Judges attempts: nothing twice, the ledger's word is the witness's, no old leader is obeyed, nothing stays open.

Fire times are for fire_times.py.
"""

from collections import defaultdict

from acceptance.faults.kit.evidence import Evidence
from acceptance.faults.kit.history import AttemptRow, End, RunRow, Start

EXPIRY = 10.0  # seconds that an accepted attempt may wait to start; default of [timing] expiry_seconds
UNWRITTEN = 0.5  # seconds after a process's end in which its worker may not have written it down yet
LONG = 55.0  # seconds of a fault after which the leader may have called a worker lost that still lives
MAX_LOSSES = 2  # with on_lost = "retry"


class Attempts(Evidence):
    """`judge` fills `findings`."""

    def judge(self) -> None:
        """Every attempt, and the runs they belong to."""
        self._doubled()
        self._repeated()
        self._results()
        self._epochs()
        self._open()
        for process in self.history.left_over:
            self.found("orphan", process, "is still there though everything of it has ended")

    # ---- nothing twice

    def _doubled(self) -> None:
        for attempt, starts in self.starts.items():
            if len(starts) > 1:
                where = ", ".join(f"{start.host} at {start.moment:.2f} (pid {start.pid})" for start in starts)
                self.found("doubled", attempt, f"it began {len(starts)} times: {where}")

    def _repeated(self) -> None:
        subtasks: dict[tuple[str, str], list[Start]] = defaultdict(list)
        for starts in self.starts.values():
            subtasks[starts[0].subtask].append(starts[0])
        for (run, index), begun in subtasks.items():
            job = self.jobs.get(begun[0].job)
            if job is None or len(begun) < 2:
                continue
            begun.sort(key=lambda start: start.moment)
            before = [self._state(start.attempt) for start in begun[:-1]]
            failures = sum(state in ("failed", "timeout") for state in before)
            losses = sum(state in ("lost", "succeeded") for state in before)  # a late success came too late
            unknown = len(before) - failures - losses
            if failures > job.retries or losses > (MAX_LOSSES if job.on_lost == "retry" else 0) or unknown:
                text = f"it ran {len(begun)} times, and the ledger knows of the earlier ones: {before}"
                self.found("repeated", f"{run}~{index}", text)

    def _state(self, attempt: str) -> str:
        row = self.attempts.get(attempt)
        return row.state if row is not None else "not recorded"

    # ---- the ledger's word against the witness's

    def _results(self) -> None:
        for attempt, starts in self.starts.items():
            if attempt not in self.attempts:
                self.found("unexplained", attempt, f"it began on {starts[0].host} and is not in the ledger")
            elif starts[0].job in self.jobs and starts[0].run not in self.runs:
                self.found("unexplained", attempt, "its run is not in the ledger")
        for attempt in self.history.attempts:
            self._result(attempt)

    def _result(self, row: AttemptRow) -> None:
        starts = self.starts.get(row.id, [])
        ends = [self.ends.get((start.attempt, start.host, start.pid)) for start in starts]
        end = ends[0] if ends else None
        said = "never began" if not starts else "began" if end is None else f"ended with {end.code}"
        is_true = {
            "succeeded": end is not None and end.code == 0,
            "failed": (end is not None and end.code != 0) or (not starts and row.reason == "spawn"),
            "unstarted": not starts,
        }.get(row.state, True)
        if not is_true:
            self.found("differs", row.id, f"the ledger says {row.state} ({row.reason}), its witness: {said}")
        if row.state == "lost" and end is not None and not self._may_lose_word(end):
            text = f"it is lost ({row.reason}), its witness {said} and its worker lived on"
            self.found("differs", row.id, text)
        is_excused = any(self.excuses(*life) for life in self.lives(row.assigned, row.finished))
        if row.state in ("lost", "timeout", "cancelled") and not is_excused:
            self.found("lost", row.id, f"it is {row.state} ({row.reason}) though no fault touched it")

    def _may_lose_word(self, end: End) -> bool:
        """Its worker was killed before it can have written this end down, had no room to, or was cut off for long."""
        for host, moment in self.history.kills:
            if host == end.host and end.moment - 0.1 <= moment <= end.moment + UNWRITTEN:
                return True
        for fault in self.history.faults:
            is_full = fault.kind == "full_journal" and fault.args["disk"] == end.host
            if is_full and fault.began - UNWRITTEN <= end.moment <= fault.ended:
                return True
        return any(fault.ended - fault.began >= LONG for fault in self.excuses(end.moment, end.moment))

    # ---- old leaders

    def _epochs(self) -> None:
        newest = 0
        for row in sorted(self.history.attempts, key=lambda row: row.fence):
            if row.epoch < newest:
                self.found("stale", row.id, f"epoch {row.epoch} wrote after epoch {newest}")
            newest = max(newest, row.epoch)
        seen: dict[str, dict[int, float]] = defaultdict(dict)  # host -> epoch -> its first start there
        starts = [start for starts in self.starts.values() for start in starts]
        for start in sorted(starts, key=lambda start: start.moment):
            newer = [moment for epoch, moment in seen[start.host].items() if epoch > start.epoch]
            if newer and start.moment > min(newer) + EXPIRY:
                self.found(
                    "stale", start.attempt, f"{start.host} started it of epoch {start.epoch} after a newer"
                )
            seen[start.host].setdefault(start.epoch, start.moment)

    # ---- nothing stays open

    def _open(self) -> None:
        for run in self.history.runs:
            if run.finished is None:
                self.found("stuck", run.id, f"it is {run.state} long after the last fault")
            elif run.state == "succeeded" and run.job in self.jobs:
                self._whole(run)
        for row in self.history.attempts:
            if row.state in ("assigned", "accepted", "running"):
                self.found("stuck", row.id, f"it is {row.state} long after the last fault")

    def _whole(self, run: RunRow) -> None:
        """A run that succeeded has run all its subtasks, as its witnesses say."""
        for index in range(self.jobs[run.job].subtasks):
            began = [row for row in self._tries(run.id, index) if row.id in self.starts]
            if not began:
                self.found("differs", run.id, f"it succeeded and its subtask {index} never began")

    def _tries(self, run: str, index: int) -> list[AttemptRow]:
        found = []
        number = 1
        while (row := self.attempts.get(f"{run}~{index}~{number}")) is not None:
            found.append(row)
            number += 1
        return found
