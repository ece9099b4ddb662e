"""A real PostgreSQL on loopback, in a temporary directory, as an unprivileged user; a fresh database for every test."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import psycopg
from support.ports import free_ports
from support.postgres_binaries import environment, tree_of
from support.waiting import wait_until

START_SECONDS = 120.0
ROLE = "schedulerd"
PASSWORD = "s3cret-of-the-tests"


class PostgresServer:
    """One cluster, ready when it answers; `stop` and `start` keep its data and its port."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # not pytest's own directory: other users cannot enter that
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._home / "data"
        self.log = self._home / "log"
        self.address = "127.0.0.1"  # where it listens
        (self.port,) = free_ports(1)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: set[int] = set()
        self._user = _unprivileged() if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._home, self._user.pw_uid, self._user.pw_gid)
            self._make_reachable()

    def __enter__(self) -> Self:
        password = self._home / "password"
        password.write_text(PASSWORD)
        if self._user is not None:
            os.chown(password, self._user.pw_uid, self._user.pw_gid)
        done = subprocess.run(
            [self._binaries / "initdb", "-D", self._data, "-U", "owner", "-A", "scram-sha-256", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync", f"--pwfile={password}"],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            **self._as_user(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        self.start()
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start the server; returns when it answers. A port another program took meanwhile is drawn anew."""
        for _ in range(5):
            self._launch()
            if wait_until(lambda: self._has_ended() or self.answers(), START_SECONDS) and self.answers():
                return
            self.stop()
            if "already in use" not in self.text():
                break
            (self.port,) = free_ports(1)
        raise AssertionError(f"PostgreSQL did not come up:\n{self.text()[-4000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends it in order, SIGQUIT as `pg_ctl stop -m immediate` does, a crash."""
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(how)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop and start on the same port with the same data."""
        self.stop(how)
        self.start()

    def freeze(self, *backends: int) -> None:
        """SIGSTOP these backends, or every process of the server: it holds its connections and says nothing."""
        for pid in backends or self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            self._frozen.add(pid)

    def thaw(self) -> None:
        """SIGCONT whatever was frozen."""
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen.clear()

    def database(self) -> str:
        """URL of a new, empty database that the role owns."""
        name = f"ledger_{os.getpid()}_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
        return self.url(name)

    def schema(self) -> str:
        """URL of a new, empty schema that the role owns: as good as a database of its own, and a tenth of its cost."""
        name = f"ledger_{os.getpid()}_{next(self._numbers)}"
        self.sql(f"CREATE SCHEMA {name} AUTHORIZATION {ROLE}")
        return f"{self.url('postgres')}?options=-csearch_path%3D{name}"

    def url(self, name: str, port: int | None = None, role: str = ROLE) -> str:
        """URL of a database, password included, of another port if one is named."""
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{port or self.port}/{name}"

    def sql(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement as the cluster's owner; its rows, if it gives any."""
        with self.session(url) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def session(self, url: str | None = None) -> psycopg.Connection:
        """A connection of the cluster's owner in autocommit, to the database that `url` names."""
        name = "postgres" if url is None else url.rpartition("/")[2]
        return psycopg.connect(self.url(name, role="owner"), autocommit=True, connect_timeout=10)

    def answers(self) -> bool:
        """Somebody can log in."""
        try:
            self.session().close()
        except psycopg.OperationalError:
            return False
        return True

    def text(self) -> str:
        """What the server wrote into its log."""
        return self.log.read_text(errors="replace")

    def _processes(self) -> list[int]:
        """The postmaster first, so that it starts no more of them."""
        assert self._process is not None
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def _launch(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": self.address,
            "unix_socket_directories": self._home,
            "fsync": "off",  # nobody pulls the plug; a crash of the server alone loses nothing
            "max_connections": 60,
            "logging_collector": "off",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with self.log.open("ab") as log:
            self._process = self._spawn([self._binaries / "postgres", "-D", self._data, *options], log)

    def _spawn(self, argv: list[str | Path], log: BinaryIO) -> "subprocess.Popen[bytes]":
        """Start the server's process; it ends with us even if we are killed (setpriv is part of every Debian)."""
        guard = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
        return subprocess.Popen(
            [*guard, *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            **self._as_user(),
        )

    def _make_reachable(self) -> None:
        """A copy of the programs, when they were fetched to where only root may go."""
        try:
            subprocess.run(
                [self._binaries / "postgres", "--version"], capture_output=True, check=True, **self._as_user()
            )
        except (OSError, subprocess.CalledProcessError):
            root = tree_of(self._binaries)
            if root is None:
                raise
            shutil.copytree(root, self._home / "tree", symlinks=True)
            self._binaries = self._home / "tree" / self._binaries.relative_to(root)

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _as_user(self) -> dict[str, Any]:
        """initdb and postgres refuse root."""
        given: dict[str, Any] = {"cwd": self._home, "env": environment(self._binaries)}
        if self._user is None:
            return given
        return {**given, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("this system has neither the user postgres nor nobody, and PostgreSQL refuses root")
