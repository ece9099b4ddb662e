"""Workers as Consul knows them, watched by blocking queries in a thread of its own.

Consul is where workers are found, not the judge of whether they live: one that fails its check is still in
the list, with `is_passing` False, and an unreachable Consul takes nobody out of it.
"""

import random
import threading
from collections.abc import Callable

from schedulerd.adapters.discovery import FoundWorker, OnError, OnWorkers
from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.consul_client import MAX_WAIT_SECONDS, ConsulClient, ConsulError, ServiceEntry
from schedulerd.protocol import consul_names

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)  # before the 2nd, 3rd ... attempt; the last one goes on
STOP_SECONDS = 10.0  # far longer than cutting a connection takes


class ConsulDiscovery:
    """Watches the service of one cluster's workers, with a client of its own."""

    def __init__(
        self,
        client: Callable[[], ConsulClient],
        cluster: str,
        *,
        wait_seconds: int = MAX_WAIT_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._make_client = client
        self._service = consul_names.worker_service(cluster)
        self._wait_seconds = wait_seconds
        self._jitter = jitter
        self.heard_at: float | None = None
        self._stopping = threading.Event()
        self._client: ConsulClient | None = None
        self._thread: threading.Thread | None = None

    def start(self, on_workers: OnWorkers, on_error: OnError) -> None:
        """Begin to watch. `on_error` gets a sentence at each failed attempt; the watch goes on by itself."""
        self._client = client = self._make_client()
        self._thread = threading.Thread(
            target=self._watch, args=(client, on_workers, on_error), name="discovery", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Cut the query that is waiting and end the thread."""
        self._stopping.set()
        if self._client is not None:
            self._client.interrupt()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _watch(self, client: ConsulClient, on_workers: OnWorkers, on_error: OnError) -> None:
        index = 0
        failures = 0
        told: tuple[FoundWorker, ...] | None = None
        while not self._stopping.is_set():
            try:
                newest, entries = client.services(self._service, index=index, wait_seconds=self._wait_seconds)
            except ConsulError as error:
                if self._stopping.is_set():
                    return
                pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures += 1
                index = 0  # whoever answers next may count differently
                on_error(str(error))
                # between half and the whole of it, so that a fleet's watches do not come back in step
                self._stopping.wait(pause * (1 + self._jitter()) / 2)
                continue
            is_back, failures = failures > 0, 0
            self.heard_at = boot_seconds()
            index = newest if newest >= index else 0
            workers = tuple(map(_worker, entries))
            if (is_back or workers != told) and not self._stopping.is_set():
                told = workers
                on_workers(workers)


def _worker(entry: ServiceEntry) -> FoundWorker:
    endpoint = entry.meta.get(consul_names.META_ENDPOINT, "")
    return FoundWorker(
        id=entry.meta.get(consul_names.META_WORKER, ""),
        name=entry.meta.get(consul_names.META_NAME, ""),
        address=endpoint or f"{entry.address}:{entry.port}",
        slots=consul_names.slots_in(entry.meta),
        labels=consul_names.labels_in(entry.meta),
        is_passing=entry.is_passing,
    )
