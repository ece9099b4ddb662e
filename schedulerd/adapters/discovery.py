"""What both discoveries have in common: whom they find, and how they are started and stopped."""

from collections.abc import Callable
from typing import Protocol

from schedulerd.core.events import FoundWorker

__all__ = ["Discovery", "FoundWorker", "OnError", "OnWorkers"]


OnWorkers = Callable[[tuple[FoundWorker, ...]], None]
OnError = Callable[[str], None]


class Discovery(Protocol):
    """Finds workers. Both callbacks may come from another thread and have to return at once."""

    heard_at: (
        float | None
    )  # boot-time seconds of the newest answer; None: none yet, or there is nobody to ask

    def start(self, on_workers: OnWorkers, on_error: OnError) -> None:
        """Begin; `on_workers` gets everybody there is, first when that is known, then at each change."""
        ...

    def stop(self) -> None:
        """End; afterwards neither callback is called any more."""
        ...
