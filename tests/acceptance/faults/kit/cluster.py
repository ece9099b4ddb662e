"""schedulerd, workers, Consul and PostgreSQL as processes, each on a host of its own. Makes no fault itself.

A second scheduler is one more name in `schedulers`; another election is one more line in `scheduler_settings`. The
test speaks to the schedulers over their Unix sockets, which no fault of the network touches.
"""

import http.client
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acceptance.faults.kit.asking import ask
from acceptance.faults.kit.history import Life
from acceptance.faults.kit.network import Network
from acceptance.faults.kit.postgres_host import PostgresHost
from acceptance.faults.kit.settings import Settings
from support.daemons import PROGRAMS, Daemon
from support.waiting import wait_until

CONSUL = "consul"
POSTGRES = "pg"  # the host of a PostgreSQL, where a cluster has one
LEDGER = "ledger"  # the disk of the SQLite ledger
SMALL = {LEDGER: "64m"}  # what a small disk holds; others 16m
READY_SECONDS = 90.0


class Cluster:
    """The daemons below `place`, by host name; whatever was started is gone at the end."""

    def __init__(
        self,
        place: Path,
        consul_program: Path,
        *,
        schedulers: Sequence[str] = ("s1",),
        workers: Sequence[str] = ("w1", "w2", "w3"),
        has_postgres: bool = False,
        settings: str = "",
        scheduler_settings: str = "",
        slots: int = 8,
        has_small_disks: bool = False,
        programs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`has_postgres`: the ledger is in a PostgreSQL on a host of its own, otherwise in an SQLite file.
        `settings` go to the end of every daemon's, `scheduler_settings` of the schedulers'.

        `programs`: how to start the daemon of a host, when it is not the installed program (for mutants).
        """
        self.place = place
        self.schedulers, self.workers = tuple(schedulers), tuple(workers)
        self.network = Network((*schedulers, *workers, CONSUL, *([POSTGRES] if has_postgres else [])))
        self.has_small_disks = (
            has_small_disks  # ledger and state directories each on a disk that can be filled
        )
        self.postgres: PostgresHost | None = None
        self.ledger = f"sqlite://{place / LEDGER / 'ledger.db'}"  # URL under which the tests read it
        self.daemons: dict[str, Daemon] = {}
        self.kills: list[tuple[str, float]] = []  # (host, moment)
        self._births: list[tuple[str, int, float]] = []  # (host, pid, moment) of schedulers' processes
        self._deaths: dict[int, float] = {}  # pid -> moment by which it had ended
        self._consul_program = consul_program
        self._ledger = self.ledger  # as it stands in the schedulers' settings
        self._settings = Settings(
            network=self.network,
            consul=CONSUL,
            slots=slots,
            of_all=settings,
            of_schedulers=scheduler_settings,
        )
        self._programs = dict(programs or {})
        self._consul: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()
        self._database = ExitStack()
        self._offsets: dict[str, float] = {}

    def disk(self, name: str) -> Path:
        """Where the small disk of a worker, or of the ledger, is mounted."""
        return self.place / name

    # ---- start and stop

    def start(self, table: str, schedulers: Sequence[str]) -> None:
        """Everything, of the schedulers these, with this job table; returns when all are ready."""
        (self.place / "jobs.d").mkdir(exist_ok=True)
        self.write_table(table)
        self.start_consul()
        for host in (*self.workers, *schedulers):
            self.start_daemon(host)
        for host in (*self.workers, *schedulers):
            self.daemons[host].wait_said("READY=1", READY_SECONDS)
        assert wait_until(lambda: len(self.ready_workers()) == len(self.workers), 60, every=0.2)

    def write_table(self, table: str, name: str = "jobs") -> None:
        """One file of the job table; schedulerd has to be told (reload)."""
        (self.place / "jobs.d" / f"{name}.toml").write_text(table)

    def start_daemon(self, host: str) -> None:
        """Start the daemon of this host; does not wait."""
        is_worker = host in self.workers
        config = self.place / f"{host}.toml"
        (self.place / host).mkdir(exist_ok=True)
        config.write_text(
            self._settings.of_worker(host) if is_worker else self._settings.of_scheduler(host, self._ledger)
        )
        program = self._programs.get(host, [str(PROGRAMS / ("workerd" if is_worker else "schedulerd"))])
        daemon = Daemon(
            self.network.inside(host, [*program, "--config", config]),
            log=self.place / f"{host}.log",
            env={"SCHEDULERD_FAILPOINT_CLOCK": str(self._clock_file(host))},
        )
        if host in self.daemons:
            self._deaths.setdefault(self.daemons[host].pid, boot_now())  # it ended by itself
        self.daemons[host] = self._stack.enter_context(daemon)
        if not is_worker:
            self._births.append((host, daemon.pid, boot_now()))

    def kill(self, host: str) -> None:
        """kill -9 of the daemon, and of nothing else on its host."""
        self.kills.append((host, boot_now()))
        self.daemons[host].kill()
        self._deaths[self.daemons[host].pid] = boot_now()

    def send(self, host: str, number: signal.Signals) -> None:
        """A signal to the daemon."""
        self.daemons[host].send(number)

    def stop(self, host: str, seconds: float = 60.0) -> None:
        """TERM, and wait for its end."""
        self.daemons[host].stop(seconds)
        self._deaths[self.daemons[host].pid] = boot_now()

    def lives(self) -> tuple[Life, ...]:
        """Every process of a scheduler that there was."""
        return tuple(
            Life(
                host=host,
                leader=(self.place / host / "id").read_text().strip(),
                pid=pid,
                began=began,
                ended=self._deaths.get(pid),
            )
            for host, pid, began in self._births
        )

    def start_consul(self, *, keep: bool = True) -> None:
        """Start Consul; with an empty memory unless `keep`. Returns when the process runs."""
        data = self.place / "consul"
        if not keep:
            shutil.rmtree(data, ignore_errors=True)
        address = self.network.address(CONSUL)
        argv = [
            *("setpriv", "--pdeathsig", "KILL", str(self._consul_program), "agent", "-server"),
            *(
                "-bootstrap-expect=1",
                f"-data-dir={data}",
                f"-bind={address}",
                "-client=0.0.0.0",
                "-node=consul",
            ),
            *("-log-level=warn", "-dns-port=-1", "-grpc-port=-1"),
            *("-hcl", "performance { raft_multiplier = 1 }", "-hcl", "leave_on_terminate = false"),
        ]
        with (self.place / "consul.log").open("ab") as log:
            self._consul = subprocess.Popen(
                self.network.inside(CONSUL, argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.place,
            )

    def _start_postgres(self) -> None:
        host = PostgresHost(self.network, POSTGRES)
        try:
            self.postgres = self._database.enter_context(host)
        except BaseException:
            self.network.close()
            raise
        name = self.postgres.new_database()
        self._ledger, self.ledger = self.postgres.url_inside(name), self.postgres.url(name)

    def kill_consul(self) -> None:
        """kill -9 of Consul."""
        if self._consul is not None:
            self._consul.kill()
            self._consul.wait()
            self._consul = None

    def close(self) -> None:
        """End everything, by TERM where it still runs."""
        for daemon in self.daemons.values():
            if daemon.process.poll() is None:
                daemon.send(signal.SIGCONT)
                daemon.process.terminate()
        self._stack.close()
        self.kill_consul()

    # ---- the hosts' clocks

    def set_clock(self, host: str, ahead: float) -> None:
        """The wall clock of this host is so many seconds ahead of the machine's from now on."""
        path = self._clock_file(host)
        new = path.with_suffix(".new")
        new.write_text(f"{ahead!r} 0\n")
        new.rename(path)
        self._offsets[host] = ahead

    def ahead(self, host: str) -> float:
        """Seconds the host's clock is ahead."""
        return self._offsets.get(host, 0.0)

    def _clock_file(self, host: str) -> Path:
        return self.place / f"{host}.clock"

    # ---- asking

    def ask(self, path: str, method: str = "GET", host: str = "", seconds: float = 30.0) -> Any:
        """JSON of the API of a scheduler, the first one unless named."""
        return ask(self.place / f"{host or self.schedulers[0]}.sock", path, method, seconds)

    def running(self) -> list[str]:
        """Hosts whose daemon runs, schedulers first."""
        hosts = (*self.schedulers, *self.workers)
        return [host for host in hosts if host in self.daemons and self.daemons[host].process.poll() is None]

    def ready_workers(self, host: str = "") -> set[str]:
        """Names of the workers that a scheduler would give work to: `host`, or any; none while nobody answers."""
        for asked in (host,) if host else self.schedulers:
            try:
                items = self.ask("/v1/workers", host=asked)["items"]
            except (OSError, AssertionError, http.client.HTTPException):
                continue
            ready = {one["name"] for one in items if one["state"] == "ready"}
            if ready:
                return ready
        return set()

    def strangers(self) -> list[str]:
        """Processes on the workers' hosts beyond the daemons and their helpers."""
        found = []
        for host in self.workers:
            daemon = self.daemons[host]
            for pid in self.network.pids(host):
                words = _command(pid)
                if pid != daemon.pid and words and "workerd.spawner" not in words:
                    found.append(f"{' '.join(words)[:80]} (pid {pid}) on {host}")
        return found

    def survivors(self) -> list[str]:
        """Processes on the hosts of daemons, once these have been stopped."""
        return [
            f"{' '.join(_command(pid))[:80]} (pid {pid}) on {host}"
            for host in (*self.workers, *self.schedulers)
            for pid in self.network.pids(host)
            if _command(pid)
        ]

    def __enter__(self) -> Self:
        self.network.__enter__()
        if POSTGRES in self.network.hosts:
            self._start_postgres()
        for name in (LEDGER, *self.workers):
            self.disk(name).mkdir()
            if self.has_small_disks:
                size = SMALL.get(name, "16m")
                command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.disk(name)]
                subprocess.run(command, check=True, timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._database.close()
            self.network.close()
            if self.has_small_disks:
                for name in (LEDGER, *self.workers):
                    subprocess.run(["umount", "-l", self.disk(name)], check=False, timeout=60)


def _command(pid: int) -> list[str]:
    """Its words; none for one that has gone or is a zombie."""
    try:
        return [
            word
            for word in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if word
        ]
    except OSError:
        return []


def boot_now() -> float:
    """This machine's boot-time clock, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
