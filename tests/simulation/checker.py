"""After the quiet end of a seed: the ledger against the children's own witness and an independent count of fire times.

Reads the ledger's file directly, so that no reader of the product can hide what is in it.
"""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from simulation.chronicle import Chronicle, Reign
from simulation.table import POOLS, fire_times
from simulation.witness import Sight, Witness

from schedulerd.model.job import At, Definition, OnLost, Overlap

MAX_LOSSES = 2  # on_lost = "retry"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Slot:
    """A row that accounts for fire times."""

    first: datetime
    last: datetime
    count: int
    run: str | None
    reason: str | None


class Checker:
    """One pass over everything; what it finds goes to the chronicle."""

    def __init__(self, file: Path, chronicle: Chronicle, witness: Witness, is_calm: bool) -> None:
        self._chronicle = chronicle
        self._witness = witness
        self._is_calm = is_calm  # no fault was made
        self._db = sqlite3.connect(file)
        self._definitions = {
            (job, version): msgspec.json.decode(document, type=Definition).job
            for job, version, document in self._db.execute("SELECT job, version, document FROM definitions")
        }
        self._runs = {
            row[0]: row
            for row in self._db.execute("SELECT n, id, job, version, state, reason, cause FROM runs")
        }
        self._attempts = {
            f"{self._runs[row[0]][1]}~{row[1]}~{row[2]}": row
            for row in self._db.execute(
                "SELECT run, subtask, number, state, reason, stdout_head, started_at FROM attempts_now"
                " LEFT JOIN outputs ON outputs.n = output ORDER BY run, subtask, number"
            )
        }

    def check(self) -> None:
        """Every property."""
        self._fire_times()
        self._starts()
        self._results()
        self._ends()
        self._overlaps()
        self._pools()
        self._promises()
        if self._is_calm:
            self._calm()
        self._db.close()

    def _bad(self, prop: str, text: str) -> None:
        self._chronicle.violation(prop, text)

    # ---- P1: every fire time is exactly one row

    def _fire_times(self) -> None:
        slots: dict[str, list[Slot]] = defaultdict(list)
        for job, first, last, count, run, reason in self._db.execute(
            "SELECT job, first, last, count, run, reason FROM slots ORDER BY job, first"
        ):
            slots[job].append(Slot(_instant(first), _instant(last), count, run, reason))
        end = self._chronicle.newest_utc
        assert end is not None
        for job in sorted({*slots, *self._chronicle.reigns}):
            reigns = self._chronicle.reigns.get(job, [])
            self._account(job, reigns, slots.get(job, []), end)

    def _account(self, job: str, reigns: list[Reign], slots: list[Slot], end: datetime) -> None:
        expected: dict[datetime, None] = {}
        past: dict[datetime, None] = {}  # instants that were past when they were first told of
        for reign in reigns:
            until = end if reign.until is None else reign.until
            for instant in fire_times(reign.definition.job, reign.anchor, reign.since, until):
                expected[instant] = None
            if isinstance(reign.definition.job.trigger, At):
                past.update(dict.fromkeys(fire_times(reign.definition.job, None, _EPOCH, reign.since)))
        rows: dict[datetime, int] = dict.fromkeys((*expected, *past), 0)
        for slot in slots:
            covered = [instant for instant in rows if slot.first <= instant <= slot.last]
            for instant in covered:
                rows[instant] += 1
            if slot.run is None and not slot.reason:
                self._bad("P1", f"{job}: a skip at {slot.first} has no reason")
            # a past instant may lie in a range that an older definition's fire times made
            least = sum(instant in expected for instant in covered)
            if not least <= slot.count <= len(covered):
                text = f"{job}: a row of {slot.count} from {slot.first} to {slot.last} ({slot.reason or slot.run})"
                self._bad("P1", f"{text} stands for {least} to {len(covered)} fire times")
        for instant, count in rows.items():
            if count != 1:
                self._bad("P1", f"{job}: {count} rows for the fire time {instant}")

    # ---- P2: nothing starts twice

    def _starts(self) -> None:
        by_subtask: dict[tuple[str, str], list[Sight]] = defaultdict(list)
        for attempt, sights in self._witness.by_attempt.items():
            if len(sights) > 1:
                where = [(sight.worker, round(sight.started, 3)) for sight in sights]
                self._bad("P2", f"{attempt} started {len(sights)} times: {where}")
            if attempt not in self._attempts:
                self._bad("P2", f"{attempt} started and is not in the ledger")
            run, subtask, _ = attempt.rsplit("~", 2)
            by_subtask[(run, subtask)].extend(sights)
        runs = {row[1]: row for row in self._runs.values()}
        for (run, subtask), sights in by_subtask.items():
            if len(sights) > 1 and run in runs:
                job = self._definitions[(runs[run][2], runs[run][3])]
                self._repeated(run, subtask, sights, job.on_lost, job.retry_max)

    def _repeated(self, run: str, subtask: str, sights: list[Sight], on_lost: OnLost, retry_max: int) -> None:
        # as first recorded: what a lost one's worker tells later gives the ledger a better word, and no more retries
        ends = [
            self._chronicle.ends.get(sight.attempt, "open")
            for sight in sorted(sights, key=lambda sight: sight.started)
        ]
        failures = sum(end in ("failed", "timeout") for end in ends[:-1])
        losses = sum(end in ("lost", "unstarted", "cancelled", "succeeded", "open") for end in ends[:-1])
        if failures > retry_max:
            self._bad("P2", f"{run}~{subtask} was retried {failures} times, retry.max is {retry_max}: {ends}")
        allowed = MAX_LOSSES if on_lost is OnLost.RETRY else 0
        if losses > allowed:
            self._bad("P2", f"{run}~{subtask} ran again without a known failure ({on_lost.value}): {ends}")

    def _end_of(self, attempt: str) -> str:
        row = self._attempts.get(attempt)
        if row is None:
            return "open"
        state = str(row[3])
        return "open" if state in ("assigned", "accepted", "running") else state

    # ---- P3: one recorded result, the witness's own

    def _results(self) -> None:
        for attempt in self._attempts:
            told = self._end_of(attempt)
            sights = self._witness.by_attempt.get(attempt, [])
            if not sights:
                if told not in ("unstarted", "cancelled", "lost"):
                    self._bad("P3", f"{attempt} is {told} in the ledger and never started")
                continue
            seen = sights[0]
            allowed = {
                "succeeded": ("succeeded", "lost"),
                "failed": ("failed", "lost", "cancelled"),
                "timeout": ("timeout", "lost", "cancelled"),
                "killed": ("cancelled", "lost"),
            }.get(seen.end, ())
            if told not in allowed:
                self._bad(
                    "P3", f"{attempt} is {told} in the ledger, its witness says {seen.end or 'running'}"
                )
            elif told == "succeeded" and (self._attempts[attempt][5] or b"") != seen.output:
                self._bad("P3", f"{attempt}: the ledger's output is not the witness's")

    # ---- nothing is stuck

    def _ends(self) -> None:
        for _, run, _, _, state, _, cause in self._runs.values():
            if state in ("pending", "running"):
                self._bad("stuck", f"{run} ({cause}) is {state} long after the last fault")
            else:
                self._closed(run)

    def _closed(self, run: str) -> None:
        rows = self._db.execute(
            "SELECT idx, subtasks.state FROM subtasks JOIN runs ON n = run WHERE id = ?", (run,)
        ).fetchall()
        for index, state in rows:
            if state in ("pending", "running"):
                self._bad("stuck", f"{run} is final and its subtask {index} is {state}")

    # ---- runs of a job that may not overlap

    def _overlaps(self) -> None:
        by_job: dict[str, list[Sight]] = defaultdict(list)
        for sight in self._witness.sights:
            by_job[sight.job].append(sight)
        versions = {row[1]: self._definitions[(row[2], row[3])] for row in self._runs.values()}
        for job, sights in by_job.items():
            last: Sight | None = None  # of those that are guarded, the one that ends last
            for sight in sorted(sights, key=lambda sight: sight.started):
                run = sight.attempt.rsplit("~", 2)[0]
                definition = versions.get(run)
                if definition is None or definition.overlap is Overlap.ALLOW:
                    continue
                is_other = last is not None and last.attempt.rsplit("~", 2)[0] != run
                if last is not None and is_other and (last.ended is None or sight.started < last.ended):
                    text = (
                        f"{sight.attempt} began at {sight.started:.3f}, {last.attempt} ended at {last.ended}"
                    )
                    self._bad("overlap", f"{job}: {text}")
                if last is None or (sight.ended or 1e9) > (last.ended or 1e9):
                    last = sight

    def _pools(self) -> None:
        """Never more processes at once of all jobs in a pool than its number."""
        versions = {row[1]: self._definitions[(row[2], row[3])] for row in self._runs.values()}
        for pool in POOLS:
            moments: list[tuple[float, int, str]] = []
            for sight in self._witness.sights:
                job = versions.get(sight.attempt.rsplit("~", 2)[0])
                if job is not None and pool.name in job.pools:
                    moments.append((sight.started, 1, sight.attempt))
                    moments.append((1e9 if sight.ended is None else sight.ended, -1, sight.attempt))
            count = 0
            for when, change, attempt in sorted(moments):  # at one moment ends come first
                count += change
                if count > pool.max:
                    self._bad(
                        "pool", f"{pool.name}: {attempt} at {when:.3f} is number {count}, max is {pool.max}"
                    )

    def _promises(self) -> None:
        known = {row[1] for row in self._runs.values()}
        for run in self._chronicle.promised:
            if run not in known:
                self._bad("promise", f"a caller was told of {run}, which is not in the ledger")

    def _calm(self) -> None:
        """Without a fault nothing is lost, late or sent back."""
        for attempt, row in self._attempts.items():
            if row[3] in ("lost", "unstarted"):
                self._bad("calm", f"{attempt} is {row[3]} ({row[4]}) though nothing went wrong")
        for kind, detail in self._db.execute(
            "SELECT type, detail FROM events WHERE type IN"
            " ('worker_suspect', 'worker_lost', 'late_result', 'unknown_result', 'rejected')"
        ):
            self._bad("calm", f"event {kind} {detail} though nothing went wrong")


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
