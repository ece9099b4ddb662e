"""One trial: daemons under load, faults, a quiet tail, and the account of all of it. The verdict is the test's."""

import json
import pickle
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acceptance.faults.kit.checker import Finding, check, kinds, lateness
from acceptance.faults.kit.cluster import Cluster, boot_now
from acceptance.faults.kit.doing import Stage
from acceptance.faults.kit.history import Fault, History, JobPlan, SchedulerClock
from acceptance.faults.kit.ledger_rows import open_runs, read_rows, size
from acceptance.faults.kit.nemesis import Nemesis, Planned
from acceptance.faults.kit.resources import Sampler, disk
from acceptance.faults.kit.scrapes import Scraper
from acceptance.faults.kit.witness import job_text, read_lines, write_script
from support.waiting import wait_until

from schedulerd.adapters.ledger import invariants, whole

WARM_UP = 6.0  # seconds of load before anything is required
CLOSING = 150.0  # seconds in which every open run must end once nothing new comes

# (job, seconds of work)
LOAD: tuple[tuple[JobPlan, float], ...] = (
    (JobPlan(name="tick-a", period=2.0), 0.2),
    (JobPlan(name="tick-b", period=2.0, on_lost="retry"), 0.2),
    (JobPlan(name="tick-c", period=3.0), 0.0),
    (JobPlan(name="wide", period=5.0, subtasks=6, on_lost="retry"), 0.1),
    (JobPlan(name="flaky", period=4.0, retries=1, fails_first=True), 0.1),
    (JobPlan(name="long", period=10.0, overlap="skip", misfire="once"), 6.0),
    (JobPlan(name="queued", period=5.0, overlap="queue", on_lost="retry"), 1.0),
    (JobPlan(name="late-skip", period=3.0, misfire="skip"), 0.1),
)

# What is put under faults: arguments of Cluster.
SHAPES: dict[str, dict[str, Any]] = {
    "one-scheduler": {},
    "standby": {"schedulers": ("s1", "s2"), "scheduler_settings": '[election]\nkind = "consul"\n'},
    "postgres": {"schedulers": ("s1", "s2"), "has_postgres": True},
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial came to."""

    history: History
    findings: list[Finding]
    growth: list[str]
    late: list[float]  # seconds from due to begun of all that was required, ascending
    place: Path

    def report(self) -> str:
        """For people: counts, the slowest, the first findings."""
        late = self.late or [0.0]
        since = self.history.since
        lines = [
            f"{len(self.history.runs)} runs, {len(self.history.starts)} starts, {len(self.history.faults)} faults",
        ]
        half, most = late[len(late) // 2], late[len(late) * 99 // 100]
        lines.append(
            f"{len(late)} required fire times began after {half:.2f} s (half of them), {most:.2f} s (99 %), "
            f"{late[-1]:.2f} s (all)"
        )
        for fault in self.history.faults:
            lines.append(
                f"  {fault.began - since:6.1f} - {fault.ended - since:6.1f} s {fault.kind} {fault.args}"
            )
        if self.findings:
            lines.append(f"findings: {dict(kinds(self.findings))}; all in {self.place / 'findings.txt'}")
            lines += [f"  {finding}" for finding in self.findings[:40]]
        lines += [f"  {line}" for line in self.growth]
        return "\n".join(lines)


class Trial:
    """Load on a cluster, from `begin` to `close`."""

    def __init__(self, cluster: Cluster, load: Sequence[tuple[JobPlan, float]] = LOAD) -> None:
        self.cluster = cluster
        self._script = write_script(cluster.place)
        self._load = load
        self.stage = Stage(cluster, self._script, {}, [])
        self.nemesis = Nemesis(self.stage, cluster.place / "faults.jsonl")
        self.sampler = Sampler(cluster)
        self.scraper = Scraper(cluster)
        self._base = time.time() - boot_now()  # nothing steps this machine's own clock meanwhile
        self._since = 0.0
        self.host = ""  # the scheduler that is asked; empty: whichever leads

    def begin(self, only: str = "", warm_up: float = WARM_UP) -> None:
        """Start everything (`only` one of the schedulers) and let the load run until it is warm."""
        table = "\n".join(job_text(job, self._script, seconds) for job, seconds in self._load)
        self.cluster.start(table, (only,) if only else self.cluster.schedulers)
        self.sampler.start()
        self.scraper.start()
        self.rest(warm_up)
        self._since = boot_now()

    def leader(self) -> str:
        """The scheduler to ask."""
        return self.host or self.stage.leader()

    def faults(self, planned: Sequence[Planned], *, in_a_hurry: bool = False) -> None:
        """Make them; returns when the last has ended. `in_a_hurry`: nothing has the time to recover in between."""
        self.nemesis.run(planned, in_a_hurry=in_a_hurry)

    def recover(self) -> None:
        """Wait until no fault excuses anything any more."""
        over = max((fault.over for fault in self.nemesis.done), default=boot_now())
        self.rest(over - boot_now())

    def be_served(self) -> None:
        """Wait until a scheduler leads and all workers are ready; for when there is no time for a recovery."""
        assert wait_until(
            lambda: self.cluster.ready_workers(self.leader()) == set(self.cluster.workers), 90, every=0.2
        )

    def rest(self, seconds: float) -> None:
        """Let it run: the load itself takes time."""
        threading.Event().wait(max(seconds, 0.0))

    def close(self, baseline: float = 0.0, tail: float = 20.0) -> Outcome:
        """Stop the load, let all end, stop the daemons, judge. `baseline`: seconds of the beginning without faults."""
        until = boot_now()
        self.sampler.stop()
        self.be_served()
        for job in [job for job, _ in self._load]:
            self.cluster.ask(f"/v1/jobs/{job.name}/pause", "POST", self.leader())
        wait_until(lambda: open_runs(self.cluster.ledger) == 0, CLOSING, every=0.5)
        left_over: list[str] = []
        if not wait_until(lambda: not self.cluster.strangers(), 10, every=0.5):
            left_over = self.cluster.strangers()
        self.scraper.stop()
        for host in self.cluster.running():
            self.cluster.stop(host)
        left_over += self.cluster.survivors()
        history = self._history(until - 1.0, left_over)
        growth = disk(self.cluster, len(history.runs))
        if baseline:
            growth += self.sampler.growth((self._since, self._since + baseline), (until - tail, until))
        findings = check(history) + [Finding("unsound", "ledger", text) for text in self._violations()]
        outcome = Outcome(history, findings, growth, lateness(history), self.cluster.place)
        (self.cluster.place / "findings.txt").write_text(
            "\n".join(str(one) for one in outcome.findings) + "\n"
        )
        with (self.cluster.place / "history.pickle").open("wb") as file:
            pickle.dump(history, file)
        peaks = {**self.sampler.peaks(), "ledger": size(self.cluster.ledger)[0]}
        (self.cluster.place / "peaks.json").write_text(json.dumps(peaks) + "\n")
        return outcome

    def _violations(self) -> list[str]:
        """What `schedulerd ledger check` would say."""
        with whole.reading(self.cluster.ledger) as ledger:
            return list(invariants.violations(ledger))

    def _history(self, until: float, left_over: list[str]) -> History:
        starts, ends = read_lines(self.cluster.place)
        rows = read_rows(self.cluster.ledger)
        faults: list[Fault] = self.nemesis.done
        return History(
            jobs=tuple([job for job, _ in self._load] + self.stage.extra_jobs),
            faults=tuple(faults),
            clock=SchedulerClock(self._base, self.nemesis.clock_steps),
            since=self._since,
            until=until,
            starts=starts,
            ends=ends,
            slots=rows.slots,
            runs=rows.runs,
            attempts=rows.attempts,
            events=rows.events,
            epochs=rows.epochs,
            lives=self.cluster.lives(),
            scrapes=tuple(self.scraper.found),
            kills=tuple(self.cluster.kills),
            left_over=tuple(left_over),
        )
