"""What the schedulers count, read while they live: a killed process tells no more. Judging is for telling.py."""

import http.client
import threading

from acceptance.faults.kit.asking import read
from acceptance.faults.kit.cluster import Cluster, boot_now
from acceptance.faults.kit.history import Scrape
from prometheus_client.parser import text_string_to_metric_families

EVERY = 1.0  # seconds
NAMES = (
    "skips",
    "retries",
    "attempts",
    "attempts_lost",
    "late_results",
    "unknown_results",
    "dispatches_resent",
    "revocations",
    "takeovers",
    "events",
    "fenced",
    "leaderships_lost",
)
_COUNTERS = {f"schedulerd_{name}_total": name for name in NAMES}


class Scraper:
    """Reads the counters of every scheduler from `start` to `stop`, in a thread of its own; once more at the end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)
        self.found: list[Scrape] = []

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read the last time, and no more."""
        self._stopping.set()
        self._thread.join(60)
        self._read_all()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            self._read_all()

    def _read_all(self) -> None:
        for host in self._cluster.schedulers:
            daemon = self._cluster.daemons.get(host)
            if daemon is None or daemon.process.poll() is not None:
                continue
            moment = boot_now()  # before the answer is made: what happened earlier is in it
            try:
                text = read(self._cluster.place / f"{host}.sock", "/metrics", "GET", 5.0).decode()
            except (OSError, AssertionError, http.client.HTTPException):
                continue  # it begins, ends or stands still
            if self._cluster.daemons.get(host) is daemon and daemon.process.poll() is None:
                self.found.append(Scrape(host=host, pid=daemon.pid, moment=moment, values=_counters(text)))


def _counters(text: str) -> dict[str, float]:
    """`name` or `name{label}` -> value, of the counters that are judged; each has one label at most."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = _COUNTERS.get(sample.name)
            if name is not None:
                label = "".join(f"{{{value}}}" for value in sample.labels.values())
                found[name + label] = sample.value
    return found
