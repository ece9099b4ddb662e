"""A table of 100,000 jobs in 200 files: reading it, being idle with it, reloading it with one job changed."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.report import show
from schedulerd.dev import free_ports, write_settings, write_worker_settings

JOBS = 100_000
FILES = 200
ROUNDS = 3
IDLE_SECONDS = 30.0
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20

_READ = """
import sys, time
from pathlib import Path
from schedulerd.adapters import jobfiles
if __name__ == "__main__":
    begun = time.perf_counter()
    table = jobfiles.load(Path(sys.argv[1]))
    print(len(table), time.perf_counter() - begun, open("/proc/self/statm").read().split()[1])
"""
_TOML = """
import sys, time, tomllib
from pathlib import Path
begun = time.perf_counter()
for path in sorted(Path(sys.argv[1]).glob("*.toml")):
    tomllib.loads(path.read_text())
print(0, time.perf_counter() - begun, open("/proc/self/statm").read().split()[1])
"""


def table() -> None:
    """Seconds to read and check the table in a fresh process, and what it holds then; beside tomllib alone."""
    ours, memory, bare = [], [], []
    with _files() as directory:
        for _ in range(ROUNDS):
            bare.append(_python(_TOML, directory)[1])
            count, seconds, pages = _python(_READ, directory)
            assert count == JOBS
            ours.append(seconds)
            memory.append(pages * _PAGE_MB)
    show(
        "table_of_100000_jobs_seconds",
        median=statistics.median(ours),
        bare_tomllib=statistics.median(bare),
        resident_mb=statistics.median(memory),
        files=FILES,
        runs=ours,
    )


def idle() -> None:
    """Percent of a core that a daemon takes with 100,000 jobs of which none is due; beside one without jobs."""
    figures: dict[str, float] = {}
    for name, jobs, workers in (("empty", 0, 0), ("alone", JOBS, 0), ("two_workers", JOBS, 2)):
        with _files(jobs) as directory, _daemon(directory, workers) as running:
            time.sleep(3)
            before = running.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            figures[name] = (running.cpu_seconds() - before) / IDLE_SECONDS * 100
            if name == "alone":
                figures["resident_mb"] = running.resident_mb()
    show("idle_percent_of_a_core", median=figures.pop("alone"), without_jobs=figures.pop("empty"), **figures)


def reload() -> None:
    """Seconds from the request to reload until its answer, with one job changed; beside reading the bytes."""
    ours, bare = [], []
    with _files() as directory, _daemon(directory, 0) as running:
        file = directory / f"team-{FILES // 2:03}.toml"
        for number in range(ROUNDS + 2):
            file.write_text(file.read_text().replace('timeout = "3', f'timeout = "{number + 1}3', 1))
            begun = time.perf_counter()
            for path in directory.glob("*.toml"):
                path.read_bytes()
            bare.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            answer = running.ask("POST", "/v1/reload")
            ours.append(time.perf_counter() - begun)
            found = len(answer["added"]), len(answer["changed"]), len(answer["removed"]), answer["unchanged"]
            assert found == (0, 1, 0, JOBS - 1), found
        memory = running.resident_mb()
    show(
        "reload_one_of_100000_jobs_seconds",
        median=statistics.median(ours),
        bare_reading=statistics.median(bare),
        resident_mb=memory,
        runs=ours,
    )


@contextmanager
def _files(jobs: int = JOBS) -> Iterator[Path]:
    """A jobs directory; no job is due within half a year."""
    far = (time.gmtime().tm_mon + 5) % 12 + 1
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        for number in range(FILES if jobs else 0):
            each = range(number * jobs // FILES, (number + 1) * jobs // FILES)
            (directory / f"team-{number:03}.toml").write_text("\n".join(_job(job, far) for job in each))
        yield directory


def _job(number: int, month: int) -> str:
    return f"""[job.report-{number}]
description = "Report number {number}"
schedule = "{number % 60} {number // 60 % 24} 1 {month} *"
timezone = "Europe/Prague"
argv = ["/usr/local/bin/report", "--number", "{number}", "--day", "{{{{ fire_time.date }}}}"]
requires = ["role=reports"]
timeout = "30m"
"""


def _python(code: str, directory: Path) -> tuple[int, float, int]:
    argv = [sys.executable, "-c", code, str(directory)]
    words = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    return int(words[0]), float(words[1]), int(words[2])


class _Running:
    """A schedulerd in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self._address = address

    def cpu_seconds(self) -> float:
        """Of all its threads, user and system."""
        nanoseconds = 0
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def resident_mb(self) -> float:
        """What it holds in memory now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_MB

    def ask(self, method: str, path: str) -> dict[str, list[str]]:
        """The answer of its API."""
        request = urllib.request.Request(f"http://{self._address}{path}", method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, list[str]] = json.load(answer)
            return found

    def is_ready(self) -> bool:
        """It serves and has read its table."""
        assert self._process.poll() is None, "schedulerd has ended"
        try:
            self.ask("GET", "/readyz")
        except OSError:
            return False
        return True


@contextmanager
def _daemon(jobs: Path, workers: int) -> Iterator[_Running]:
    """A schedulerd with this table and so many idle workers."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Path(name)
        port, *ports = free_ports(1 + workers)
        addresses = [f"127.0.0.1:{port}" for port in ports]
        settings = write_settings(place, jobs, f"127.0.0.1:{port}", addresses)
        settings.write_text(f'log_level = "error"\n{settings.read_text()}')
        argv = [[sys.executable, "-m", "schedulerd.main", "--config", str(settings)]]
        for number, address in enumerate(addresses, 1):
            config = write_worker_settings(place, f"w{number}", address, 4)
            argv.append([sys.executable, "-m", "bench.instant", str(config)])
        children = [subprocess.Popen(words) for words in argv]
        try:
            running = _Running(children[0], f"127.0.0.1:{port}")
            deadline = time.monotonic() + 180
            while not running.is_ready() and time.monotonic() < deadline:
                time.sleep(0.2)
            yield running
        finally:
            for child in children:
                child.send_signal(signal.SIGTERM)
            for child in children:
                child.wait(30)
