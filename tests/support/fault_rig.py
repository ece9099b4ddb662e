"""One schedulerd and two workers under a job table of witnesses; faults are the test's, the account is taken here.

Each process of a job writes one durable line as it begins and one as it ends, with its attempt, pid and boot-time
clock. When all is over, the ledger, these lines and the journal of a killed worker have to tell the same.
"""

import json
import os
import shutil
import sqlite3
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from support.daemons import Daemon
from support.fleet import Fleet
from support.waiting import wait_until

from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.failpoint import VARIABLE
from workerd.adapters.journal import Journal
from workerd.records import AttemptsAccepted, AttemptsEnded, AttemptsStarting

# short where a restart waits for them; nobody is called lost while a loaded machine starts a daemon again
TERMS = """
[timing]
beat_seconds = 0.3
expiry_seconds = 3
margin_seconds = 0.5
suspect_seconds = 1
fence_seconds = 30
fence_kill_seconds = 35
lost_seconds = 45
"""
# short where silence itself is the fault; what they mean to each other stays as it is
SHORT_LEASES = """
[timing]
beat_seconds = 0.3
expiry_seconds = 3
margin_seconds = 0.5
suspect_seconds = 1
fence_seconds = 6
fence_kill_seconds = 7
lost_seconds = 9
"""
AFTER_LEADER, AFTER_WORKER = 30.0, 15.0  # seconds after a fault by which fire times are on time again
ON_TIME = 2.0  # seconds after its fire time at which a run still began on time
PERIODS = {"plain": 1.0, "again": 1.0, "odd": 1.0, "wide": 2.0}
SUBTASKS = {"wide": 5}
ODD_CODE = 3  # what `odd` ends with

_SCRIPT = """\
#!/bin/sh
# witness SECONDS CODE: say that it begins, take so long, say that it ends, and how
read up idle < /proc/uptime
echo "begin $SCHEDULERD_ATTEMPT_ID $$ $up $SCHEDULERD_FIRE_TIME" >> {lines}
sync -d {lines}
if [ "$1" != 0 ]; then sleep "$1"; fi
read up idle < /proc/uptime
echo "end $SCHEDULERD_ATTEMPT_ID $$ $up $2" >> {lines}
sync -d {lines}
exit $2
"""
_TABLE = """
[job.plain]
every = "1s"
misfire = "all"
overlap = "allow"
argv = ["{script}", "0.3", "0"]

[job.again]
every = "1s"
misfire = "all"
on_lost = "retry"
argv = ["{script}", "0.2", "0"]

[job.odd]
every = "1s"
misfire = "all"
on_lost = "retry"
overlap = "allow"
argv = ["{script}", "0", "{code}"]

[job.wide]
every = "2s"
misfire = "all"
on_lost = "retry"
split = {{ shards = {shards} }}
argv = ["{script}", "0.1", "0"]
"""


class Line(Struct, frozen=True):
    """What a process of a job wrote."""

    word: str  # begin | end
    attempt: str
    pid: int
    at: float  # boot-time clock, seconds
    more: str  # of begin: the fire time; of end: the exit code


class Held(Struct):
    """What a worker's journal says that it had in hand."""

    accepted: set[str]
    starting: set[str]
    ended: dict[str, str]  # attempt -> state


class Rig:
    """Started by the test; `account` ends everything and checks P1, P2, P3 and P8."""

    def __init__(self, place: Path, terms: str = TERMS) -> None:
        self.place = place
        self.fleet = Fleet(place, None, "faults", terms, listed=("a", "b"))
        self._lines = place / "lines"
        script = place / "witness.sh"
        script.write_text(_SCRIPT.format(lines=self._lines))
        script.chmod(0o755)
        self.fleet.table(_TABLE.format(script=script, code=ODD_CODE, shards=SUBTASKS["wide"]))

    # ---- start and stop

    def scheduler(self, points: str = "", until: str = "READY=1") -> Daemon:
        """Start schedulerd with these failpoints."""
        return self.fleet.start_scheduler(until=until, env=_armed(points))

    def worker(self, name: str, points: str = "", until: str = "READY=1") -> Daemon:
        """Start a worker of two slots with these failpoints."""
        return self.fleet.start_worker(name, slots=2, until=until, env=_armed(points))

    def start(self) -> None:
        """Everything, without faults; returns when work is done at both workers."""
        self.worker("a")
        self.worker("b")
        self.scheduler()
        self.fleet.wait_ready("a", "b")
        self.wait_lines(10)

    # ---- what the jobs say

    def lines(self) -> list[Line]:
        """Everything witnessed so far."""
        found = []
        for text in self._lines.read_text().splitlines() if self._lines.exists() else ():
            word, attempt, pid, at, more = text.split()
            found.append(Line(word, attempt, int(pid), float(at), more))
        return found

    def wait_lines(self, more: int, seconds: float = 60.0) -> None:
        """Return when so many more lines have been written."""
        before = len(self.lines())
        assert wait_until(lambda: len(self.lines()) >= before + more, seconds), self.tail()

    def wait_on_time(self, since: float, within: float) -> float:
        """Return when a fire time later than `since` (boot clock) began on time; the seconds from then until then."""
        offset = time.time() - boot_seconds()

        def is_on_time() -> bool:
            for line in self.lines():
                if line.word == "begin" and line.at > since:
                    fired = datetime.fromisoformat(line.more).timestamp() - offset
                    if fired > since and line.at - fired < ON_TIME:
                        return True
            return False

        assert wait_until(is_on_time, within - (boot_seconds() - since)), self.tail()
        return boot_seconds() - since

    def wait_ready(self, since: float, within: float) -> None:
        """Return when schedulerd gives work to both workers, at the latest `within` seconds after `since`."""

        def are_ready() -> bool:
            found = self._ask("/v1/workers")["items"]
            return {one["name"] for one in found if one["state"] == "ready"} == {"a", "b"}

        assert wait_until(are_ready, within - (boot_seconds() - since), every=0.1), self.tail()

    def wait_gone(self, attempts: set[str]) -> None:
        """Return when no process of these attempts is left."""
        pids = {line.pid for line in self.lines() if line.word == "begin" and line.attempt in attempts}
        assert wait_until(lambda: not pids & self.processes().keys(), 10), self.processes()

    def tail(self) -> str:
        """The ends of all logs, for a failure to show."""
        logs = sorted(self.place.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def has_logged(self, daemon: str, text: str) -> bool:
        """It stands in the log of this daemon ("schedulerd", "a", "b")."""
        return text in (self.place / f"{daemon}.log").read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """Processes that jobs have left, and their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue  # it has just ended
                if f"{self.place}/witness.sh" in command:
                    found[int(entry.name)] = command
        return found

    # ---- what a killed worker had in hand

    def held(self, name: str) -> Held:
        """By the journal of this worker as it lies there, which is not touched."""
        copy = self.place / f"{name}.journal.copy"
        shutil.copy(self.place / name / "journal", copy)
        journal = Journal(copy)
        journal.close()
        held = Held(set(), set(), {})
        for record in journal.records:
            if isinstance(record, AttemptsAccepted):
                held.accepted.update(attempt for attempt, _ in record.attempts)
            elif isinstance(record, AttemptsStarting):
                held.starting.update(record.attempts)
            elif isinstance(record, AttemptsEnded):
                held.ended.update((outcome.attempt, outcome.state) for outcome in record.outcomes)
        return held

    # ---- the account

    def account(self) -> "Account":
        """Let open work end, stop everything, check what holds after every fault; what the ledger says."""
        for job in PERIODS:
            self._ask(f"/v1/jobs/{job}/pause", b"{}")
        until = datetime.now(UTC).timestamp()
        unfinished = "/v1/runs?state=pending&state=running"
        assert wait_until(lambda: not self._ask(unfinished)["items"], 60, every=0.3), self.tail()
        assert self.fleet.scheduler is not None
        assert self.fleet.scheduler.stop() == 0
        for worker in self.fleet.workers.values():
            if worker.process.poll() is None:
                assert worker.stop() == 0
        assert wait_until(lambda: not self.processes(), 10), self.processes()  # P8
        account = Account(self.place / "schedulerd" / "ledger.db")
        account.check_fire_times(until)
        account.check_witnesses(self.lines())
        return account

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        """JSON of the API; a process of schedulerctl for each question would cost more than the question."""
        headers = {"Content-Type": "application/json"}
        question = urllib.request.Request(self.fleet.api + path, body, headers)
        with urllib.request.urlopen(question, timeout=60) as answer:
            return json.load(answer)

    def __enter__(self) -> Self:
        self.fleet.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fleet.__exit__(kind, error, trace)


class Account:
    """What stands in the ledger when all is over."""

    def __init__(self, ledger: Path) -> None:
        connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
        try:
            self.slots = connection.execute("SELECT job, first, count, run IS NULL FROM slots").fetchall()
            self.runs: dict[str, tuple[str, str]] = {
                run: (state, reason)
                for run, state, reason in connection.execute("SELECT id, state, reason FROM runs")
            }
            self.attempts: dict[str, tuple[str, int | None, str, str, str]] = {
                f"{run}~{subtask}~{number}": (state, code, name, nonce, reason)
                for run, subtask, number, state, code, name, nonce, reason in connection.execute(
                    "SELECT r.id, a.subtask, a.number, a.state, a.exit_code, a.worker_name, a.nonce, a.reason"
                    " FROM attempts_now AS a JOIN runs AS r ON r.n = a.run"
                )
            }
            self.boots: list[tuple[str, str]] = connection.execute(
                "SELECT name, nonce FROM boots ORDER BY n"
            ).fetchall()
            self.events: Counter[str] = Counter(
                kind for (kind,) in connection.execute("SELECT type FROM events")
            )
        finally:
            connection.close()

    def of_boot(self, name: str, number: int = 0) -> dict[str, str]:
        """attempt -> state of those that this life of a worker was given."""
        nonce = [nonce for worker, nonce in self.boots if worker == name][number]
        return {attempt: row[0] for attempt, row in self.attempts.items() if row[3] == nonce}

    def in_state(self, state: str) -> list[str]:
        """Attempts that ended so."""
        return [attempt for attempt, row in self.attempts.items() if row[0] == state]

    def check_fire_times(self, until: float) -> None:
        """P1: every fire time from the first on has exactly one row, and no run is open."""
        for job, period in PERIODS.items():
            times = []
            for name, first, count, _ in self.slots:
                if name == job:
                    times += [first + round(step * period * 1e6) for step in range(count)]
            assert len(times) == len(set(times)), f"{job}: a fire time has two rows"
            times.sort()
            assert times, job
            assert times == [times[0] + round(step * period * 1e6) for step in range(len(times))], (
                job,
                times,
            )
            assert times[-1] / 1e6 > until - period - ON_TIME, (job, times[-1], until)
        assert {state for state, _ in self.runs.values()} <= {"succeeded", "failed"}, self.runs

    def check_witnesses(self, said: list[Line]) -> None:
        """P2: no attempt began twice. P3: what is recorded of each is what its own process saw."""
        began = Counter(line.attempt for line in said if line.word == "begin")
        assert began
        assert max(began.values()) == 1, [attempt for attempt, times in began.items() if times > 1]
        assert began.keys() <= self.attempts.keys()
        codes = {line.attempt: int(line.more) for line in said if line.word == "end"}
        assert codes.keys() <= began.keys()
        for attempt, (state, code, _, _, reason) in self.attempts.items():
            context = (attempt, state, code, reason)
            if state in ("succeeded", "failed"):
                assert codes.get(attempt) == code == (ODD_CODE if state == "failed" else 0), context
            elif state == "unstarted":
                assert attempt not in began, context
            else:
                assert state == "lost", context
        self._check_runs()

    def _check_runs(self) -> None:
        """A run is what its subtasks are: `odd` fails by its exit, others only by a loss that may not be retried.

        An attempt called lost whose worker was heard again has its own word by now, which changes no final run.
        """
        late = self.events["late_result"]
        for run, (state, reason) in self.runs.items():
            job = run.partition("@")[0]
            ends = [row[0] for attempt, row in self.attempts.items() if attempt.startswith(f"{run}~")]
            if job == "odd":
                assert (state, reason) == ("failed", "exit"), (run, reason)
            elif job == "plain" and (state, reason) == ("failed", "lost"):
                assert len(ends) == 1 + ends.count("unstarted"), (run, ends)
                assert "lost" in ends or late, (run, ends)
            else:
                assert state == "succeeded", (run, state, reason, ends)
                assert job != "plain" or "lost" not in ends, (run, ends)
                surplus = ends.count("succeeded") - SUBTASKS.get(job, 1)
                assert 0 <= surplus <= late, (run, ends)

    def check_held(self, held: Held, name: str) -> None:
        """What a killed worker had in hand became what its journal says: known ends, losses, and the rest unstarted."""
        given = self.of_boot(name)
        expected = {}
        for attempt in given:
            if attempt in held.ended:
                expected[attempt] = held.ended[attempt]
            else:
                expected[attempt] = "lost" if attempt in held.starting else "unstarted"
        wrong = {attempt: (given[attempt], end) for attempt, end in expected.items() if given[attempt] != end}
        assert not wrong, f"recorded and expected of what {name} had in hand: {wrong}"


def _armed(points: str) -> Mapping[str, str]:
    return {VARIABLE: points} if points else {}


def wait_stopped(daemon: Daemon) -> None:
    """Return when the process is stopped, by itself or by a signal."""
    assert os.waitid(os.P_PID, daemon.pid, os.WSTOPPED | os.WNOWAIT) is not None
