"""`schedulerd dev`: everything on one machine in one command, firings shown as they end. No Consul needed."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

import click

from schedulerd.adapters.election_file import FileLock
from schedulerd.core.effects import CloseRun, Effect, RecordSkips
from schedulerd.errors import SchedulerdError, SettingsError
from schedulerd.hostkit.logs import start_logging
from schedulerd.hostkit.settings import load_schedulerd
from schedulerd.service import Service

WORKER_SLOTS = 8
DRAIN_SECONDS = 15.0  # how long workers get to finish when everything is stopped


@click.command()
@click.option(
    "--jobs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("config/jobs.d"),
    help="Job files.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="How many workerd.")
@click.option(
    "--api", default="127.0.0.1:7480", show_default=True, help="HOST:PORT of the API; port 0 = a free one."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Ledger and journals; default: a new one.",
)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Stop by itself after so long.")
def dev(jobs: Path, workers: int, api: str, state: Path | None, seconds: float | None) -> None:
    """Run schedulerd and its workers on this machine until Ctrl-C; print a line for each run as it ends.

    Exits with 1 when a run failed.
    """
    place = state.resolve() if state is not None else Path(tempfile.mkdtemp(prefix="schedulerd-dev-"))
    start_logging(os.environ.get("SCHEDULERD_LOG_LEVEL", "warning"))
    try:
        tally = _run(jobs.resolve(), workers, api, place, seconds)
    except SchedulerdError as error:
        print(f"schedulerd: {error}", file=sys.stderr)
        sys.exit(1)
    print(tally.summary(), flush=True)
    sys.exit(1 if tally.runs["failed"] else 0)


class Tally:
    """Prints runs as they end, and counts them; called by the loop's thread after each commit."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.skipped = 0

    def watch(self, effects: Sequence[Effect], took: float) -> None:
        """A line for every run that closed; `took` is the commit's time, which nobody needs here."""
        for effect in effects:
            match effect:
                case CloseRun():
                    self.runs[effect.state.value] += 1
                    print(line_of(effect), flush=True)
                case RecordSkips(skips=skips):
                    for skip in skips:
                        self.skipped += skip.count
                        times = f"fire={_clock(skip.first)}" + (
                            f"..{_clock(skip.last)}" if skip.count > 1 else ""
                        )
                        print(
                            f"{_clock(datetime.now().astimezone())} {skip.job} {times} skipped {skip.reason.value}"
                        )
                case _:
                    pass

    def summary(self) -> str:
        """`N runs, N succeeded, N failed, N skipped`."""
        total = sum(self.runs.values())
        return f"{total} runs, {self.runs['succeeded']} succeeded, {self.runs['failed']} failed, {self.skipped} skipped"


def line_of(run: CloseRun) -> str:
    """`02:00:05.003 heartbeat fire=02:00:05 late=3ms worker=w1 succeeded`, times in this machine's zone."""
    finished = run.finished_at.astimezone()
    is_late = run.started_at is not None and run.rounds == 1  # a retry starts whenever somebody asks for it
    late = _span((run.started_at - run.fire_time).total_seconds()) if is_late and run.started_at else "-"
    words = [
        f"{finished:%H:%M:%S}.{finished.microsecond // 1000:03d}",
        run.job,
        f"fire={_clock(run.fire_time)}",
        f"late={late}",
        f"worker={','.join(run.workers) or '-'}",
        run.state.value,
    ]
    if run.reason:
        words.append(run.reason)
    return " ".join(words)


def _span(seconds: float) -> str:
    """`3ms`, from 10 s on `12s`, from 10 minutes on `34m`, then `56h` and `78d`."""
    for unit, size, least in (("d", 86400, 10), ("h", 3600, 10), ("m", 60, 10), ("s", 1, 10)):
        if seconds >= size * least:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"


def _clock(instant: datetime) -> str:
    return f"{instant.astimezone():%H:%M:%S}"


def _run(jobs: Path, workers: int, api: str, place: Path, seconds: float | None) -> Tally:
    over = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place, "dev.lock")  # before its settings are written anew
    if not lock.acquire():
        raise SettingsError(lock.holder())
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    tally = Tally()
    service = Service(load_schedulerd(write_settings(place, jobs, api, addresses), {}), [tally.watch])
    children: list[subprocess.Popen[bytes]] = []
    try:
        children = [_start_worker(place, f"w{n}", address) for n, address in enumerate(addresses, 1)]
        service.start()
        print(f"api http://{service.api_address}")
        print(f"web http://{service.api_address}/")
        print(f"state {place}", flush=True)
        deadline = time.monotonic() + seconds if seconds is not None else None
        while not over.is_set() and (deadline is None or time.monotonic() < deadline):
            left = 0.5 if deadline is None else min(0.5, max(deadline - time.monotonic(), 0.0))
            over.wait(left)
            for child in children:
                if child.poll() is not None:
                    raise SettingsError(f"a worker has ended with status {child.returncode}; see above")
            if fault := service.fault():
                raise SettingsError(fault)
    finally:
        _stop_workers(children)
        service.stop()
        lock.close()
    return tally


def write_settings(place: Path, jobs: Path, api: str, addresses: list[str]) -> Path:
    """The settings file of a schedulerd with these workers, everything below `place`."""
    path = place / "schedulerd.toml"
    workers = ", ".join(f'"{address}"' for address in addresses)
    path.write_text(
        f"""# written by `schedulerd dev`
jobs_dir = {_quoted(jobs)}
state_dir = {_quoted(place / "schedulerd")}
[api]
listen = "{api}"
socket = ""
[results]
listen = "tcp://127.0.0.1:*"
advertise = ""
[ledger]
url = {_quoted(f"sqlite://{place}/schedulerd/ledger.db")}
[clock]
sync_wait_seconds = 0
[discovery]
kind = "static"
[discovery.static]
workers = [{workers}]
"""
    )
    return path


def write_worker_settings(place: Path, name: str, address: str, slots: int) -> Path:
    """The settings file of one worker below `place`."""
    path = place / f"{name}.toml"
    path.write_text(
        f"""# written by `schedulerd dev`
name = "{name}"
state_dir = {_quoted(place / name)}
slots = {slots}
labels = ["dev"]
log_level = "warning"
[listen]
address = "tcp://{address}"
advertise = "{address}"
[discovery]
kind = "static"
"""
    )
    return path


def _start_worker(place: Path, name: str, address: str) -> subprocess.Popen[bytes]:
    path = write_worker_settings(place, name, address, WORKER_SLOTS)
    # in a session of its own: Ctrl-C reaches this process alone, which then lets workers finish
    return subprocess.Popen(
        [sys.executable, "-m", "workerd.main", "--config", str(path)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _stop_workers(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    until = time.monotonic() + DRAIN_SECONDS
    for child in children:
        try:
            child.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def _quoted(text: object) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
