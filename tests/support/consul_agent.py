"""A real Consul agent on loopback, on ports nobody else has; stopped by its process id."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from support.ports import free_ports
from support.waiting import wait_until

from schedulerd.hostkit.consul_client import ConsulClient, ConsulError

START_SECONDS = 60.0
STOP_SECONDS = 10.0


class ConsulAgent:
    """`consul agent -dev`, ready when it has a leader and answers health queries.

    `stop` and `start` give an agent that lost its memory, on the same address: -dev keeps nothing. With `keeps_data`
    it is a server of its own that remembers. Sessions may be shorter than Consul's usual 10 s.
    """

    def __init__(self, binary: Path, directory: Path, *, keeps_data: bool = False) -> None:
        self._binary = binary
        self._data = directory / "consul-data" if keeps_data else None
        self.log = directory / "consul.log"
        self._ports = free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int:
        """Of the running agent."""
        assert self._process is not None
        return self._process.pid

    def client(self, timeout_seconds: float = 5.0) -> ConsulClient:
        """A client of its own for the caller's thread."""
        return ConsulClient(self.address, timeout_seconds=timeout_seconds)

    def start(self) -> None:
        """Start the agent; returns when it serves. Ports another program took meanwhile are drawn anew."""
        for _ in range(5):
            self._launch()
            if wait_until(self._is_ready_or_gone, START_SECONDS) and self._is_ready():
                return
            self.stop()
            if "address already in use" not in self.log.read_text(errors="replace"):
                break
            self._ports = free_ports(4)
        raise AssertionError(f"Consul did not come up:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """kill -9: returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the agent; returns when it is gone."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        http, server, lan, wan = self._ports
        # The agent ends with us even if we are killed; setpriv is part of every Debian.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*guard, str(self._binary), "agent", "-log-level=warn", "-node=test"]
        command += ["-hcl", 'session_ttl_min = "1s"']
        if self._data is None:
            command += ["-dev"]
        else:
            command += ["-server", "-bootstrap-expect=1", f"-data-dir={self._data}"]
            command += ["-hcl", "performance { raft_multiplier = 1 }"]
        command += [
            "-bind=127.0.0.1",
            "-client=127.0.0.1",
            f"-http-port={http}",
            "-dns-port=-1",
            "-grpc-port=-1",
        ]
        command += [f"-server-port={server}", f"-serf-lan-port={lan}", f"-serf-wan-port={wan}"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.log.parent
            )

    def _is_ready_or_gone(self) -> bool:
        return self._process is None or self._process.poll() is not None or self._is_ready()

    def _is_ready(self) -> bool:
        try:
            return (
                len(self.client(1.0).services("consul")[1]) == 1
            )  # registered by the leader, when there is one
        except ConsulError:
            return False
