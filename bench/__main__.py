"""`python -m bench [NAME ...]`: one line of JSON a figure. The machine is noisy: read medians, not single runs."""

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import cron, due, fleet, noop, restart, size
from bench.cluster import cluster
from bench.report import show

ROUNDS = 3
PROCESSES = 2_000


def processes() -> None:
    """Processes a second of one worker (all of the system in between), beside bare posix_spawn in the same run."""
    slots = 32
    table = f"""
[job.procs]
argv = ["/bin/true"]
overlap = "allow"
split = {{ shards = {PROCESSES} }}
"""
    ours, bare = [], []
    with cluster(table, workers=1, slots=slots, module="workerd.main") as running:
        for number in range(ROUNDS + 1):
            bare.append(_bare_spawns(PROCESSES, slots))
            begun = time.perf_counter()
            running.trigger("procs", f"k{number}")
            running.log.wait_closed(number + 1, 120)
            ours.append(PROCESSES / (time.perf_counter() - begun))
    ratio = statistics.median(a / b for a, b in zip(ours[1:], bare[1:], strict=True))
    show(
        "processes_per_second",
        median=statistics.median(ours[1:]),
        bare_posix_spawn=statistics.median(bare[1:]),
        ratio=ratio,
        slots=slots,
        runs=ours[1:],
    )


def listing() -> None:
    """Wall time of `schedulerctl list` with 100 jobs, beside that of an empty Python program."""
    table = "\n".join(f'[job.job-{job}]\nargv = ["true"]\nschedule = "0 3 * * *"\n' for job in range(100))
    program = Path(sys.executable).parent / "schedulerctl"
    with cluster(table, workers=1, slots=1, module="bench.instant") as running:
        address = f"http://{running.service.api_address}"
        ours, bare = [], []
        for _ in range(7):
            bare.append(_wall([sys.executable, "-c", "pass"]))
            ours.append(_wall([str(program), "-H", address, "list"]))
    show(
        "schedulerctl_list_seconds",
        median=statistics.median(ours),
        empty_python=statistics.median(bare),
        runs=ours,
    )


def _wall(argv: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _bare_spawns(count: int, at_once: int) -> float:
    """posix_spawn of /bin/true with pipes and pidfds, `at_once` at a time; processes a second."""
    poll = select.epoll()
    live: dict[int, tuple[int, int, int]] = {}
    null = os.open("/dev/null", os.O_RDONLY)
    started = ended = 0
    begun = time.perf_counter()
    while ended < count:
        while started < count and len(live) < at_once:
            out_r, out_w = os.pipe()
            err_r, err_w = os.pipe()
            pid = os.posix_spawn(
                "/bin/true",
                ["true"],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0),
                    (os.POSIX_SPAWN_DUP2, out_w, 1),
                    (os.POSIX_SPAWN_DUP2, err_w, 2),
                ],
                setpgroup=0,
            )
            os.close(out_w)
            os.close(err_w)
            descriptor = os.pidfd_open(pid)
            poll.register(descriptor, select.EPOLLIN)
            live[descriptor] = (pid, out_r, err_r)
            started += 1
        for descriptor, _ in poll.poll():
            pid, out_r, err_r = live.pop(descriptor)
            os.waitpid(pid, 0)
            for opened in (out_r, err_r):
                os.read(opened, 65536)
                os.close(opened)
            poll.unregister(descriptor)
            os.close(descriptor)
            ended += 1
    rate = count / (time.perf_counter() - begun)
    poll.close()
    os.close(null)
    return rate


FIGURES: dict[str, Callable[[], None]] = {
    "noop": noop.noop,
    "floor": noop.floor,
    "celery": noop.celery,
    "restart": restart.restart,
    "fleet": fleet.fleet,
    "processes": processes,
    "lateness": due.lateness,
    "burst": due.burst,
    "next": cron.following,
    "table": size.table,
    "idle": size.idle,
    "reload": size.reload,
    "listing": listing,
}


def main() -> None:
    """Measure what is named, or everything."""
    names = sys.argv[1:] or list(FIGURES)
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        sys.exit(f"bench: there is no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    for name in names:
        FIGURES[name]()


if __name__ == "__main__":
    main()
