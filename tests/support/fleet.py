"""The production shape on loopback: schedulerd, workers and Consul as processes, and schedulerctl to speak to them."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.consul_agent import ConsulAgent
from support.daemons import PROGRAMS, Daemon, clean_environment
from support.ports import free_ports
from support.waiting import wait_until


class Fleet:
    """One schedulerd and named workers below `place`; whatever is started is stopped at the end."""

    def __init__(
        self,
        place: Path,
        consul: ConsulAgent | None,
        cluster: str,
        extra: str = "",
        *,
        listed: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`extra` goes to the end of every settings file, `env` into the environment of every daemon.

        Without a Consul the workers `listed` by name are found by a list in the settings.
        """
        self._extra = extra
        self._env = env
        self._listed = dict(zip(listed, free_ports(len(listed)), strict=True))
        self.of_scheduler = ""  # goes to the end of schedulerd's settings alone
        self.place = place
        self.jobs = place / "jobs.d"
        self.jobs.mkdir(parents=True, exist_ok=True)
        self.workers: dict[str, Daemon] = {}
        self.scheduler: Daemon | None = None
        self._consul = consul
        self._cluster = cluster
        self._stack = ExitStack()
        self._ports = free_ports(2)

    @property
    def api(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def results_port(self) -> int:
        """Where schedulerd's PULL socket listens."""
        return self._ports[1]

    @property
    def ledger(self) -> str:
        """URL of the ledger, for readers."""
        return f"sqlite://{self.place}/schedulerd/ledger.db"

    def port_of(self, name: str) -> int:
        """Where a worker that is found by a list listens."""
        return self._listed[name]

    def table(self, text: str) -> None:
        """The whole job table; schedulerd has to be told (reload)."""
        (self.jobs / "jobs.toml").write_text(text)

    def start_scheduler(self, *, until: str = "READY=1", env: Mapping[str, str] | None = None) -> Daemon:
        """Start schedulerd and wait for what it tells systemd (empty: do not wait); `env` is for this start alone."""
        config = self.place / "schedulerd.toml"
        config.write_text(
            f"""
cluster = "{self._cluster}"
jobs_dir = "jobs.d"
state_dir = "schedulerd"
[api]
listen = "127.0.0.1:{self._ports[0]}"
socket = ""
[clock]
sync_wait_seconds = 0
[results]
listen = "tcp://127.0.0.1:{self._ports[1]}"
advertise = "127.0.0.1:{self._ports[1]}"
[ledger]
url = "{self.ledger}"
{self._discovery()}
{self._extra}
{self.of_scheduler}
"""
        )
        (self.place / "schedulerd").mkdir(exist_ok=True)
        daemon = self._stack.enter_context(
            Daemon(
                [PROGRAMS / "schedulerd", "--config", config],
                log=self.place / "schedulerd.log",
                env={**(self._env or {}), **(env or {})},
            )
        )
        if until:
            daemon.wait_said(until)
        self.scheduler = daemon
        return daemon

    def start_worker(
        self,
        name: str,
        *,
        slots: int = 4,
        labels: tuple[str, ...] = (),
        until: str = "READY=1",
        env: Mapping[str, str] | None = None,
    ) -> Daemon:
        """Start a workerd with a state directory of its own and wait until it is ready; the rest as above."""
        config = self.place / f"{name}.toml"
        quoted = ", ".join(f'"{label}"' for label in labels)
        config.write_text(
            f"""
cluster = "{self._cluster}"
name = "{name}"
state_dir = "{name}"
slots = {slots}
labels = [{quoted}]
[listen]
address = "tcp://127.0.0.1:{self._listed.get(name, "*")}"
advertise = ""
{self._discovery()}
{self._extra}
"""
        )
        daemon = self._stack.enter_context(
            Daemon(
                [PROGRAMS / "workerd", "--config", config],
                log=self.place / f"{name}.log",
                env={**(self._env or {}), **(env or {})},
            )
        )
        if until:
            daemon.wait_said(until)
        self.workers[name] = daemon
        return daemon

    def _discovery(self) -> str:
        if self._consul is not None:
            return f'[discovery]\nkind = "consul"\n[discovery.consul]\naddress = "{self._consul.address}"'
        workers = ", ".join(f'"127.0.0.1:{port}"' for port in self._listed.values())
        return f'[discovery]\nkind = "static"\n[discovery.static]\nworkers = [{workers}]'

    def ctl(self, *words: str, code: int | None = 0, seconds: float = 60.0) -> str:
        """What `schedulerctl` prints; fails when its exit code is not `code` (None: any)."""
        done = subprocess.run(
            [PROGRAMS / "schedulerctl", *words],
            env={**clean_environment(), "SCHEDULERD_ADDR": self.api},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if code is not None and done.returncode != code:
            raise AssertionError(
                f"schedulerctl {' '.join(words)} ended with {done.returncode}, not {code}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def json(self, *words: str, code: int | None = 0) -> Any:
        """What `schedulerctl -o json` gives."""
        return json.loads(self.ctl("-o", "json", *words, code=code))

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"{self.api}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    def ready_workers(self) -> set[str]:
        """Names of the workers that schedulerd would give work to."""
        return {worker["name"] for worker in self.json("workers")["items"] if worker["state"] == "ready"}

    def wait_ready(self, *names: str, seconds: float = 30.0) -> None:
        """Return once exactly these workers are ready."""
        assert wait_until(lambda: self.ready_workers() == set(names), seconds, every=0.2), self.json(
            "workers"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def lines(path: Path) -> list[str]:
    """The lines that jobs wrote to a file; none when it is not there."""
    return path.read_text().splitlines() if os.path.exists(path) else []
