"""Several schedulerd of one cluster as processes: one ledger, one Consul, a state directory and an API for each."""

import json
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.consul_agent import ConsulAgent
from support.daemons import PROGRAMS, Daemon, clean_environment
from support.fleet import lines
from support.ports import free_ports
from support.waiting import wait_until

from schedulerd.hostkit import failpoint

SHORT = """
[election]
kind = "consul"
ttl_seconds = 2
renew_seconds = 0.4
lease_seconds = 1.4
lock_delay_seconds = 1
"""
TTL, LEASE, LOCK_DELAY = 2.0, 1.4, 1.0  # seconds; of SHORT
USUAL = '[election]\nkind = "consul"\n'


@dataclass
class Scheduler:
    """One of them; `daemon` is its newest process."""

    name: str
    place: Path
    ports: list[int]
    clock: Path  # what it moves its clocks by
    daemon: Daemon | None = None

    @property
    def api(self) -> str:
        """Its API's address."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def process(self) -> Daemon:
        """The process that runs."""
        assert self.daemon is not None
        return self.daemon

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self.place / "log").read_text(errors="replace")

    def get(self, path: str) -> Any:
        """The JSON at `path` of this scheduler's API; its answer's status does not matter."""
        try:
            with urllib.request.urlopen(f"{self.api}{path}", timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"{self.api}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    def leads(self) -> bool:
        """Whether it says that it leads; False while nobody answers."""
        try:
            return bool(self.get("/readyz")["is_leading"])
        except OSError:
            return False

    def is_standby(self) -> bool:
        """Whether it is ready without leading."""
        try:
            found = self.get("/readyz")
        except OSError:
            return False
        return bool(found["ready"]) and not found["is_leading"]

    def ctl(self, *words: str, code: int | None = 0) -> str:
        """What schedulerctl prints when it asks this one; fails when its exit code is not `code` (None: any)."""
        done = self._run(words)
        text = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{words} ended with {done.returncode}:\n{text}"
        return text

    def json(self, *words: str) -> Any:
        """What `schedulerctl -o json` gives."""
        done = self._run(("-o", "json", *words))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _run(self, words: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PROGRAMS / "schedulerctl", *words],
            env={**clean_environment(), "SCHEDULERD_ADDR": self.api},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


class Schedulers:
    """Schedulers and one worker below `place`; whatever is started is stopped at the end."""

    def __init__(
        self, place: Path, consul: ConsulAgent, cluster: str, *, election: str = SHORT, extra: str = ""
    ) -> None:
        """`election` and `extra` go into the settings of every scheduler, `extra` into the worker's too."""
        self.place = place
        self._consul = consul
        self._cluster = cluster
        self._election = election
        self._extra = extra
        self._stack = ExitStack()
        self._made: dict[str, Scheduler] = {}

    @property
    def ledger(self) -> Path:
        """The SQLite file that they share."""
        return self.place / "ledger.db"

    def make(self, name: str, *, table: str = "", advertise: bool = True, ledger: str = "") -> Scheduler:
        """Settings and job files of a scheduler that is not started yet."""
        place = self.place / name
        (place / "jobs.d").mkdir(parents=True, exist_ok=True)
        scheduler = self._made.get(name) or Scheduler(name, place, free_ports(2), place / "clock")
        self._made[name] = scheduler
        (place / "jobs.d/jobs.toml").write_text(table)
        api, results = scheduler.ports
        (place / "schedulerd.toml").write_text(
            f"""
cluster = "{self._cluster}"
name = "{name}"
jobs_dir = "jobs.d"
state_dir = "state"
[api]
listen = "127.0.0.1:{api}"
advertise = "{f"127.0.0.1:{api}" if advertise else ""}"
socket = "{place}/api.sock"
[results]
listen = "tcp://127.0.0.1:{results}"
advertise = "127.0.0.1:{results}"
[ledger]
url = "{ledger or f"sqlite://{self.ledger}"}"
[discovery]
kind = "consul"
[discovery.consul]
address = "{self._consul.address}"
{self._election}
{self._extra}
"""
        )
        return scheduler

    def start(self, scheduler: Scheduler, *, until: str = "READY=1", failpoints: str = "") -> Scheduler:
        """Start it, again too, and wait for what it tells systemd."""
        scheduler.daemon = self._stack.enter_context(
            Daemon(
                [PROGRAMS / "schedulerd", "--config", scheduler.place / "schedulerd.toml"],
                log=scheduler.place / "log",
                env={
                    "SCHEDULERD_FAILPOINT_CLOCK": str(scheduler.clock),
                    **({failpoint.VARIABLE: failpoints} if failpoints else {}),
                },
            )
        )
        if until:
            scheduler.daemon.wait_said(until, 60)
        return scheduler

    def pair(self, table: str) -> tuple[Scheduler, Scheduler]:
        """A leader with this table and a standby whose own job files are others."""
        leader = self.start(self.make("alpha", table=table))
        assert wait_until(leader.leads, 30)
        standby = self.start(self.make("beta", table='[job.never]\nargv = ["false"]\n'))
        assert standby.is_standby()
        return leader, standby

    def start_worker(self, name: str = "w", *, slots: int = 8) -> Daemon:
        """Start a workerd and wait until it is ready."""
        config = self.place / f"{name}.toml"
        config.write_text(
            f"""
cluster = "{self._cluster}"
name = "{name}"
state_dir = "{name}"
slots = {slots}
[listen]
address = "tcp://127.0.0.1:*"
advertise = ""
[discovery]
kind = "consul"
[discovery.consul]
address = "{self._consul.address}"
{self._extra}
"""
        )
        daemon = self._stack.enter_context(
            Daemon([PROGRAMS / "workerd", "--config", config], log=self.place / f"{name}.log")
        )
        daemon.wait_said("READY=1", 60)
        return daemon

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


WITNESSED = """
[job.tick]
every = "1s"
overlap = "allow"
misfire = "all"
command = '''echo "$SCHEDULERD_RUN_ID $SCHEDULERD_EPOCH" >> {seen}'''
"""


def take_account(scheduler: Scheduler, seen: Path) -> list[str]:
    """Pause the job `tick`, let it end, and check that each of its fire times ran exactly once, as `seen` witnesses.

    Returns the run ids in order. `scheduler` is any that answers.
    """
    scheduler.ctl("pause", "tick", "--reason", "the account is taken")
    open_runs = ("runs", "tick", "--state", "pending", "--state", "running")
    assert wait_until(lambda: not scheduler.json(*open_runs)["items"], 60, every=0.3), scheduler.json(
        *open_runs
    )
    witnessed = Counter(line.split()[0] for line in seen.read_text().splitlines())
    slots = scheduler.json("slots", "tick", "--limit", "100000")["items"]
    slots = [slot for slot in reversed(slots) if slot["reason"] != "paused"]
    times = [datetime.fromisoformat(slot["fire_time"]) for slot in slots]
    assert len(times) >= 3
    assert [b - a for a, b in pairwise(times)] == [timedelta(seconds=1)] * (len(times) - 1)
    assert [slot["outcome"] for slot in slots] == ["run"] * len(slots), slots
    runs = {run["id"]: run for run in scheduler.json("runs", "tick", "--limit", "100000")["items"]}
    for slot in slots:
        run = runs[slot["run_id"]]
        assert run["state"] == "succeeded", run
        assert witnessed[run["id"]] == 1, (run, witnessed[run["id"]])
    assert set(witnessed) == set(runs), set(witnessed) ^ set(runs)
    return [slot["run_id"] for slot in slots]


def took_over(scheduler: Scheduler, seconds: float) -> float:
    """How long it takes from now until this one leads."""
    began = time.monotonic()
    assert wait_until(scheduler.leads, seconds, every=0.005), scheduler.log[-3000:]
    return time.monotonic() - began


def fires_on(seen: Path, more: int = 2) -> bool:
    count = len(lines(seen)) + more
    return wait_until(lambda: len(lines(seen)) >= count, 30)


def events(scheduler: Scheduler, kind: str) -> list[dict[str, Any]]:
    """Events of one type, newest first."""
    return [event for event in scheduler.get("/v1/events?limit=1000")["items"] if event["type"] == kind]


def stop_between_commits(scheduler: Scheduler, ledger: Path) -> None:
    """SIGSTOP at a moment when it has no transaction open: SQLite's lock would be stopped with it."""

    def is_between() -> bool:
        scheduler.process.send(signal.SIGSTOP)
        connection = sqlite3.connect(ledger, timeout=0.2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            scheduler.process.send(signal.SIGCONT)
            return False
        finally:
            connection.close()
        return True

    assert wait_until(is_between, 20)


def pair(schedulers: Schedulers, seen: Path) -> tuple[Scheduler, Scheduler]:
    """A leader that fires a witnessed job every second, and its standby."""
    schedulers.start_worker()
    leader, standby = schedulers.pair(WITNESSED.format(seen=seen))
    assert wait_until(lambda: len(lines(seen)) >= 1, 30)
    return leader, standby
