"""What both discoveries have in common: whom they find, and how they are started and stopped."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class FoundWorker(Struct, frozen=True, kw_only=True):
    """One worker as discovery sees it. Being found, or passing, is no proof that it can be reached."""

    address: str  # HOST:PORT of its PULL socket
    id: str = ""  # WorkerId; empty until its Inventory tells it
    name: str = ""  # for people
    slots: int = 0  # 0: unknown until its Inventory
    labels: tuple[str, ...] = ()
    is_passing: bool = True


OnWorkers = Callable[[tuple[FoundWorker, ...]], None]
OnError = Callable[[str], None]


class Discovery(Protocol):
    """Finds workers. Both callbacks may come from another thread and have to return at once."""

    def start(self, on_workers: OnWorkers, on_error: OnError) -> None:
        """Begin; `on_workers` gets everybody there is, first when that is known, then at each change."""
        ...

    def stop(self) -> None:
        """End; afterwards neither callback is called any more."""
        ...
