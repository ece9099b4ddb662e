"""Workers from a list in the settings: for one machine, or a few, without Consul."""

from collections.abc import Iterable

from schedulerd.adapters.discovery import FoundWorker, OnError, OnWorkers


class StaticDiscovery:
    """Gives the list once. Ids, names, slots and labels are unknown until the workers' Inventories."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.heard_at: float | None = None
        self._workers = tuple(FoundWorker(address=address) for address in dict.fromkeys(addresses))

    def start(self, on_workers: OnWorkers, on_error: OnError) -> None:
        """Call `on_workers` with the whole list, at once and in the caller's thread."""
        on_workers(self._workers)

    def stop(self) -> None:
        """Nothing is left to end."""
