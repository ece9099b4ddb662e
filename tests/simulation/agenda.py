"""Virtual time: what happens next, in order, without anybody waiting. Knows nothing of schedulers or workers."""

import heapq
from collections.abc import Callable
from typing import Any


class Agenda:
    """Actions in order of their time; those of one time in the order they were noted."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds since the world began
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        """Do `action(*args)` at `time`, or at once when that is past."""
        self._count += 1
        heapq.heappush(self._heap, (max(time, self.now), self._count, action, args))

    def after(self, delay: float, action: Callable[..., None], *args: Any) -> None:
        """Do `action(*args)` `delay` seconds from now."""
        self.at(self.now + delay, action, *args)

    def run(self, until: float) -> None:
        """Let time pass up to and with `until`."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action, args = heapq.heappop(heap)
            action(*args)
        self.now = until
