"""schedulerd killed with 10,000 subtasks under way: how soon it fires on time again, and when all are settled."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.daemon import Schedulerd
from bench.report import show
from schedulerd.dev import free_ports, write_settings, write_worker_settings

OPEN = 10_000
ROUNDS = 3
ON_TIME_US = 500_000  # from the fire time to the recorded run

TABLE = f"""
[job.held]
argv = ["true"]
overlap = "allow"
split = {{ shards = {OPEN} }}

[job.tick]
argv = ["true"]
every = "1s"
overlap = "allow"
"""


def restart() -> None:
    """Seconds from the start of the new process; `from_kill` counts from the signal."""
    firing: list[float] = []
    from_kill: list[float] = []
    settled: list[float] = []
    lost = 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            one = _round(Path(name))
        firing.append(one[0])
        from_kill.append(one[1])
        settled.append(one[2])
        lost += one[3]
    show(
        "restart_with_10000_open_subtasks_seconds",
        median=statistics.median(firing),
        from_kill=statistics.median(from_kill),
        all_settled_after_release=statistics.median(settled),
        runs=firing,
        runs_settled=settled,
        not_succeeded=lost,
    )


def _round(place: Path) -> tuple[float, float, float, int]:
    jobs, release = place / "jobs.d", place / "release"
    jobs.mkdir()
    (jobs / "bench.toml").write_text(TABLE)
    port, *ports = free_ports(4)
    results, ports = ports[0], ports[1:]
    addresses = [f"127.0.0.1:{number}" for number in ports]
    config = write_settings(place, jobs, f"127.0.0.1:{port}", addresses)
    text = config.read_text().replace('"tcp://127.0.0.1:*"', f'"tcp://127.0.0.1:{results}"')
    config.write_text(f'log_level = "error"\n{text}')
    daemon = Schedulerd(config, f"127.0.0.1:{port}", place / "schedulerd" / "ledger.db")
    children: list[subprocess.Popen[bytes]] = []
    try:
        for number, address in enumerate(addresses, 1):
            worker = write_worker_settings(place, f"w{number}", address, OPEN)
            argv = [sys.executable, "-m", "bench.holding", str(worker), str(release)]
            children.append(subprocess.Popen(argv))
        daemon.start()
        daemon.wait_ready()
        daemon.ask("POST", "/v1/jobs/held/trigger", {})
        _wait(lambda: _count(daemon, "attempts", "started_at IS NOT NULL") >= OPEN, 120)
        daemon.kill()
        killed = time.time()
        daemon.start()
        begun = time.time()
        firing = _wait(lambda: _first_on_time(daemon, begun), 60)
        release.touch()
        released = time.time()
        _wait(lambda: not _count(daemon, "runs", "job = 'held' AND finished_at IS NULL"), 120)
        settled = time.time() - released
        bad = _count(daemon, "outcomes", "state != 'succeeded'")
        return firing - begun, firing - killed, settled, bad
    finally:
        daemon.kill()
        for child in children:
            child.kill()
            child.wait()


def _count(daemon: Schedulerd, table: str, where: str) -> int:
    return daemon.rows(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]


def _first_on_time(daemon: Schedulerd, since: float) -> float:
    """When the first run was recorded that was on time; 0.0 = none yet."""
    query = (
        "SELECT min(created_at) FROM runs WHERE job = 'tick' AND fire_time > ? AND created_at - fire_time < ?"
    )
    found = daemon.rows(query, int(since * 1e6), ON_TIME_US)[0][0]
    return (found or 0) / 1e6


def _wait(look: Callable[[], float], seconds: float) -> float:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"it did not come to be within {seconds:g} s")
