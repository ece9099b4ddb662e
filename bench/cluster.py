"""A schedulerd in this process and workers beside it, in a temporary directory, for one measurement."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from schedulerd.core.effects import CloseRun, Effect, RecordRuns
from schedulerd.core.requests import DescribeWorkers, TriggerJob
from schedulerd.dev import free_ports, write_settings, write_worker_settings
from schedulerd.hostkit import memory
from schedulerd.hostkit.settings import load_schedulerd
from schedulerd.service import Service


class Log:
    """What was committed and when: (run, seconds from its fire time to the commit), and the runs that closed."""

    def __init__(self) -> None:
        self.lateness: dict[str, float] = {}
        self.closed: dict[str, str] = {}
        self.changed = threading.Event()

    def watch(self, effects: Sequence[Effect], took: float) -> None:
        """Called by the loop's thread after each commit."""
        now = time.time()
        for effect in effects:
            if isinstance(effect, RecordRuns):
                for run in effect.runs:
                    self.lateness[run.id] = now - run.fire_time.timestamp()
            elif isinstance(effect, CloseRun):
                self.closed[effect.run] = effect.state.value
        self.changed.set()

    def wait_closed(self, count: int, seconds: float) -> None:
        """Return once `count` runs have closed. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while len(self.closed) < count:
            self.changed.clear()
            if len(self.closed) >= count:
                return
            if not self.changed.wait(max(deadline - time.monotonic(), 0.0)):
                raise TimeoutError(f"{len(self.closed)} of {count} runs closed within {seconds:g} s")


class Cluster:
    """A running service with its log."""

    def __init__(self, service: Service, log: Log) -> None:
        self.service = service
        self.log = log

    def trigger(self, job: str, key: str) -> str:
        """Start a manual run; its id."""
        answer = self.service.ask(TriggerJob(job=job, key=key, by="bench"), 10.0)
        return str(getattr(answer, "run", answer))


@contextmanager
def cluster(table: str, *, workers: int, slots: int, module: str) -> Iterator[Cluster]:
    """A schedulerd with this job table and `workers` processes of `module` (`workerd.main` or `bench.instant`)."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Path(name)
        jobs = place / "jobs.d"
        jobs.mkdir()
        (jobs / "bench.toml").write_text(table)
        addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
        log = Log()
        service = Service(
            load_schedulerd(write_settings(place, jobs, "127.0.0.1:0", addresses), {}), [log.watch]
        )
        children: list[subprocess.Popen[bytes]] = []
        try:
            for number, address in enumerate(addresses, 1):
                config = write_worker_settings(place, f"w{number}", address, slots)
                argv = [sys.executable, "-m", module, str(config)]
                if module == "workerd.main":
                    argv.insert(3, "--config")
                children.append(subprocess.Popen(argv))
            service.start()
            memory.settle()
            _wait_ready(service, workers)
            yield Cluster(service, log)
        finally:
            service.stop()
            for child in children:
                child.kill()
                child.wait()


def _wait_ready(service: Service, workers: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        views = service.ask(DescribeWorkers(), 10.0)
        assert isinstance(views, tuple)
        if sum(view.state == "ready" for view in views) == workers:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{workers} workers were not ready within 30 s")
