"""A schedulerd in a process of its own: what it takes of the machine, what its API and its ledger say."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Schedulerd:
    """Started from a settings file; may be killed and started again on the same state."""

    def __init__(self, config: Path, api: str, ledger: Path) -> None:
        self._argv = [sys.executable, "-m", "schedulerd.main", "--config", str(config)]
        self._api = api
        self._ledger = ledger
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return at once; `wait_ready` waits."""
        self._process = subprocess.Popen(self._argv)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """TERM; KILL when that does not end it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Return once it leads and serves. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, "schedulerd has ended"
            try:
                self.ask("GET", "/readyz")
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise TimeoutError(f"schedulerd was not ready within {seconds:g} s")

    def ask(self, method: str, path: str, body: object = None) -> object:
        """The answer of its API."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(
            f"http://{self._api}{path}", method=method, data=data, headers=headers
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return text.decode() if path == "/metrics" else json.loads(text)

    def metric(self, name: str) -> float:
        """The sum of a metric's series."""
        text = str(self.ask("GET", "/metrics"))
        found = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def rows(self, query: str, *values: object) -> list[tuple[int, ...]]:
        """What the ledger says; it is only read."""
        ledger = sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True, timeout=30)
        try:
            return ledger.execute(query, values).fetchall()
        finally:
            ledger.close()

    def cpu_seconds(self) -> float:
        """Of all its threads, user and system."""
        nanoseconds = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def sockets(self) -> int:
        """Open descriptors that are sockets."""
        found = 0
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found += os.readlink(descriptor).startswith("socket:")
            except FileNotFoundError:
                pass
        return found

    def resident_mb(self) -> float:
        """What it holds in memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_MB
