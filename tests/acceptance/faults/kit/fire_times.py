"""Judges fire times: each had to run, or to be skipped for a reason, once, neither early nor late nor beside another.

Fire times and witnessed runs are matched without believing what either claims; then the claims are looked at.
Attempts and their results are for attempts.py.
"""

from acceptance.faults.kit.evidence import EARLY, EXCUSED, ON_TIME, OPTIONAL, REQUIRED, Evidence, Fire
from acceptance.faults.kit.history import JobPlan, SlotRow, Start
from acceptance.faults.kit.matching import maximum_matching

FOUND = 10.0  # seconds after its due within which a fire time that is found late still counts as on time


class FireTimes(Evidence):
    """`judge` fills `findings`."""

    def judge(self) -> None:
        """Every job."""
        for job in self.history.jobs:
            self._match(job)
            self._account(job)
            self._punctuality(job)
            self._overlap(job)

    # ---- missed and unexplained runs

    def _match(self, job: JobPlan) -> None:
        runs: dict[str, Start] = {}
        for start in self.starts_of[job.name]:
            runs.setdefault(start.run, start)
        witnessed = sorted(runs.values(), key=lambda start: start.moment)
        fires = self.fires[job.name]
        edges = [[place for place, run in enumerate(witnessed) if _may_be(fire, run)] for fire in fires]
        required = [
            place
            for place, fire in enumerate(fires)
            if fire.duty == REQUIRED and not self._gave_way(job, fire)
        ]
        found = maximum_matching(edges, len(witnessed), required)
        for place in required:
            fire = fires[place]
            # runs may stand in for each other where ON_TIME is longer than the period: then the claim tells
            if found[place] is None or (job.name, fire.instant) not in self.first_start:
                self.found("missed", job.name, f"no run began within {ON_TIME:g} s of {fire.instant:.3f}")
        matched = {right for right in found if right is not None}
        for place, run in enumerate(witnessed):
            is_inside = self.history.since <= run.moment <= self.history.until
            if place not in matched and is_inside:
                self.found(
                    "unexplained", run.run, f"it began at {run.moment:.2f}; no fire time is left for it"
                )

    # ---- one row for each fire time, and the right one

    def _account(self, job: JobPlan) -> None:
        covered: dict[float, list[SlotRow]] = {fire.instant: [] for fire in self.fires[job.name]}
        for row in self.slots_of[job.name]:
            times = job.fire_times(row.first, row.last)
            if len(times) != row.count or times[:1] != [row.first] or times[-1:] != [row.last]:
                text = f"a row of {row.count} from {row.first:.3f} to {row.last:.3f}"
                self.found("unaccounted", job.name, f"{text} stands for {len(times)} fire times")
            for instant in times:
                covered.setdefault(instant, []).append(row)
        for fire in self.fires[job.name]:
            found = covered[fire.instant]
            if len(found) > 1 or (not found and fire.duty != OPTIONAL):
                self.found("unaccounted", job.name, f"{len(found)} rows for {fire.instant:.3f}")
            elif found and found[0].run is None:
                self._skipped(job, fire, found[0])
            elif found:
                self._ran(job, fire, str(found[0].run))

    def _skipped(self, job: JobPlan, fire: Fire, row: SlotRow) -> None:
        if fire.duty == OPTIONAL:
            return
        is_excused = fire.duty == EXCUSED and job.misfire != "all" and row.reason in ("misfire", "too_old")
        if row.reason == "overlap" and job.overlap == "skip":
            is_excused = self._was_in_the_way(job, fire)
        if not is_excused:
            self.found("skipped", job.name, f"{fire.instant:.3f} ({fire.duty}) was skipped: {row.reason}")

    def _gave_way(self, job: JobPlan, fire: Fire) -> bool:
        """It was skipped for an older run that a fault had held up: caught up late, it may last beyond the recovery."""
        rows = (row for row in self.slots_of[job.name] if row.first <= fire.instant <= row.last)
        is_skipped = any(row.run is None and row.reason == "overlap" for row in rows)
        return is_skipped and job.overlap == "skip" and self._was_in_the_way(job, fire)

    def _was_in_the_way(self, job: JobPlan, fire: Fire) -> bool:
        """An older run of the job was open as this fire time came due, or was found, and a fault had held it up."""
        for run in self.history.runs:
            if run.job != job.name or run.fire_time >= fire.instant:
                continue
            for begun, ended in self.lives(run.created, run.finished):
                is_open = begun - EARLY <= fire.due + FOUND and fire.due <= ended + EARLY
                if is_open and self.excuses(begun, ended):
                    return True
        return False

    def _ran(self, job: JobPlan, fire: Fire, run_id: str) -> None:
        run = self.runs.get(run_id)
        if run is None:
            self.found("unaccounted", run_id, "a slot row names it and there is no such run")
            return
        if run.fire_time != fire.instant:
            self.found(
                "unaccounted", run_id, f"it is the run of {run.fire_time:.3f}, its slot {fire.instant:.3f}"
            )
        if run.state == "failed" and fire.duty != OPTIONAL:
            lives = self.lives(run.created, run.finished)
            if not any(self.excuses(min(begun, fire.due), ended) for begun, ended in lives):
                self.found("lost", run_id, f"it failed ({run.reason}) though no fault touched it")

    # ---- late and early, by what each run claims to be

    def _punctuality(self, job: JobPlan) -> None:
        for fire in self.fires[job.name]:
            start = self.first_start.get((job.name, fire.instant))
            if start is None:
                continue
            late = start.moment - fire.due
            if late < -EARLY:
                self.found("early", start.run, f"it began {-late:.2f} s before it was due")
            elif late > ON_TIME and fire.duty == REQUIRED:
                self.found("late", start.run, f"it began {late:.2f} s after it was due")

    # ---- runs that may not be beside each other

    def _overlap(self, job: JobPlan) -> None:
        if job.overlap == "allow":
            return
        latest: tuple[float, Start] | None = None
        for start in self.starts_of[job.name]:
            end = self.ends.get((start.attempt, start.host, start.pid))
            if latest is not None and start.moment < latest[0] and start.run != latest[1].run:
                self.found("overlapped", start.attempt, f"it began before {latest[1].attempt} had ended")
            # without a last word it was killed, nobody here knows when: it bars nothing
            if end is not None and (latest is None or end.moment > latest[0]):
                latest = (end.moment, start)


def _may_be(fire: Fire, run: Start) -> bool:
    late = run.moment - fire.due
    return late >= -EARLY and (fire.duty != REQUIRED or late <= ON_TIME)
