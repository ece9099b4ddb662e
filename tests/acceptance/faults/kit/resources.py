"""What the daemons use while faults come and go: memory, descriptors, threads, bytes on disk. Judges growth only."""

import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from acceptance.faults.kit.cluster import Cluster, boot_now
from acceptance.faults.kit.ledger_rows import size

EVERY = 2.0  # seconds
MEMORY = 1.3, 24 << 20  # times the baseline, and bytes more, that memory may come to
DESCRIPTORS = 12  # more than at the baseline
THREADS = 4
BYTES_A_RUN = 4_096  # that ledger and journals may grow by
WAL_BYTES = 64 << 20
EMPTY = (
    1 << 20,
    12 << 20,
)  # bytes of a ledger without a run: SQLite's, PostgreSQL's (its catalogue is 8 MiB)


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one host's daemon and its helpers."""

    moment: float
    rss: int  # bytes
    descriptors: int
    threads: int


class Sampler:
    """Looks at every daemon from `start` to `stop`, in a thread of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.samples: dict[str, list[Sample]] = defaultdict(list)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join(30)

    def growth(self, baseline: tuple[float, float], after: tuple[float, float]) -> list[str]:
        """What is above the baseline in the stretch of moments after all faults, a line each; none is well."""
        found = []
        for host, samples in sorted(self.samples.items()):
            before = [sample for sample in samples if baseline[0] <= sample.moment <= baseline[1]]
            now = [sample for sample in samples if after[0] <= sample.moment <= after[1]]
            if not before or not now:
                found.append(f"{host}: no samples ({len(before)} before, {len(now)} after)")
                continue
            rss = [median(sample.rss for sample in part) for part in (before, now)]
            if rss[1] > rss[0] * MEMORY[0] + MEMORY[1]:
                found.append(f"{host}: memory from {rss[0] / 2**20:.1f} to {rss[1] / 2**20:.1f} MiB")
            for name, allowed in (("descriptors", DESCRIPTORS), ("threads", THREADS)):
                low, high = (median(getattr(sample, name) for sample in part) for part in (before, now))
                if high > low + allowed:
                    found.append(f"{host}: {name} from {low:g} to {high:g}")
        return found

    def peaks(self) -> dict[str, tuple[float, int, int]]:
        """(MiB, descriptors, threads) at most, by host."""
        return {
            host: (
                round(max(sample.rss for sample in samples) / 2**20, 1),
                max(sample.descriptors for sample in samples),
                max(sample.threads for sample in samples),
            )
            for host, samples in sorted(self.samples.items())
        }

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            for host, daemon in list(self._cluster.daemons.items()):
                sample = _look(daemon.pid)
                if sample is not None:
                    self.samples[host].append(sample)


def disk(cluster: Cluster, runs: int) -> list[str]:
    """What of ledger and journals is larger than so many runs explain."""
    found = []
    ledger, wal = size(cluster.ledger)
    if ledger > EMPTY[cluster.postgres is not None] + runs * BYTES_A_RUN:
        found.append(f"the ledger holds {ledger} bytes for {runs} runs")
    if wal > WAL_BYTES:
        found.append(f"the ledger's WAL holds {wal} bytes")
    for host in cluster.workers:
        journal = cluster.place / host / "journal"
        if journal.stat().st_size > (32 << 20) + runs * BYTES_A_RUN:
            found.append(f"the journal of {host} holds {journal.stat().st_size} bytes")
        scratch = cluster.place / host / "scratch"
        left = sum(1 for _ in scratch.iterdir()) if scratch.exists() else 0
        if left > 8:
            found.append(f"{host} left {left} files in its scratch directory")
    return found


def _look(pid: int) -> Sample | None:
    process = Path("/proc", str(pid))
    try:
        status = (process / "status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmRSS" not in fields:
            return None
        return Sample(
            boot_now(),
            int(fields["VmRSS"].split()[0]) * 1024,
            sum(1 for _ in (process / "fd").iterdir()),
            int(fields["Threads"]),
        )
    except OSError:
        return None
