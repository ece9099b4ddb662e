"""1,000 workers that only beat: what heartbeats and discovery cost schedulerd, by a list and by a real Consul.

The workers are real sockets in processes of bench/fleet_workers.py; in the Consul figure each is registered, passes its
check every 5 s and registers anew every 60 s, as workerd does.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.daemon import Schedulerd
from bench.report import show
from schedulerd.dev import free_ports, write_settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.consul_agent import ConsulAgent
from support.consul_binary import consul_binary

WORKERS = 1_000
SECONDS = 30.0
ROUNDS = 3
SETTLE = 75.0  # Consul: until every worker has registered anew once and the greeting is over
DESCRIPTORS = 16_384


def fleet() -> None:
    """Percent of one core over SECONDS, idle otherwise; the goal is under 20."""
    for way in ("list", "consul"):
        with tempfile.TemporaryDirectory(prefix="bench-") as name, _running(Path(name), way) as daemon:
            time.sleep(SETTLE if way == "consul" else 10)
            percents = []
            for _ in range(ROUNDS):
                before = daemon.cpu_seconds()
                time.sleep(SECONDS)
                percents.append((daemon.cpu_seconds() - before) / SECONDS * 100)
            ready = daemon.metric("schedulerd_workers") - daemon.metric('schedulerd_workers{state="lost"}')
            show(
                "fleet_of_1000_workers_percent_of_a_core",
                found_by=way,
                median=sorted(percents)[len(percents) // 2],
                runs=percents,
                workers=ready,
                sockets=daemon.sockets(),
                resident_mb=daemon.resident_mb(),
            )


@contextmanager
def _running(place: Path, way: str) -> Iterator[Schedulerd]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(limit[1], DESCRIPTORS) if limit[1] != resource.RLIM_INFINITY else DESCRIPTORS
    if most < 4 * WORKERS:
        raise OSError(f"{4 * WORKERS} open files are needed, the limit is {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limit[1]))
    (place / "jobs.d").mkdir()
    with ExitStack() as stack:
        consul = stack.enter_context(ConsulAgent(consul_binary(), place)) if way == "consul" else None
        workers = stack.enter_context(_workers(place, consul.address if consul else ""))
        api, results = free_ports(2)  # now that so many others are taken
        config = write_settings(place, place / "jobs.d", f"127.0.0.1:{api}", [] if consul else workers)
        text = config.read_text().replace('"tcp://127.0.0.1:*"', f'"tcp://127.0.0.1:{results}"')
        if consul:
            text = text.replace('kind = "static"', 'kind = "consul"')
            text += f'[discovery.consul]\naddress = "{consul.address}"\n'
        config.write_text(f'log_level = "error"\n{text}')
        daemon = Schedulerd(config, f"127.0.0.1:{api}", place / "schedulerd" / "ledger.db")
        stack.callback(daemon.stop)
        daemon.start()
        daemon.wait_ready()
        _wait(lambda: daemon.metric('schedulerd_workers{state="ready"}') >= WORKERS, 180)
        yield daemon


@contextmanager
def _workers(place: Path, consul: str) -> Iterator[list[str]]:
    """The addresses of WORKERS workers, in two processes."""
    children: list[subprocess.Popen[str]] = []
    addresses: list[str] = []
    try:
        for number in range(2):
            argv = [sys.executable, "-m", "bench.fleet_workers", str(number), str(WORKERS // 2), consul]
            children.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        for child in children:
            assert child.stdout is not None
            addresses += child.stdout.readline().split()
        assert len(addresses) == WORKERS, "the workers' process has ended"
        yield addresses
    finally:
        for child in children:
            child.kill()
            child.wait()


def _wait(look: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all {WORKERS} workers were ready within {seconds:g} s")
        time.sleep(0.5)
