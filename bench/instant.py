"""A worker whose attempts end at once: workerd's own core, link and journal, with a runner that starts no process.

For measuring what the system itself costs. Nothing in a job file leads here.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from schedulerd.hostkit import clock, memory
from schedulerd.hostkit.logs import start_logging
from schedulerd.hostkit.settings import load_workerd
from schedulerd.protocol.messages import Order, Outcome, Spec
from workerd.events import ChildEnded, ChildStarted
from workerd.loop import Loop


class InstantRunner:
    """Every attempt it is given has succeeded by the time anybody asks."""

    def __init__(self) -> None:
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._events: list[ChildStarted | ChildEnded] = []

    def start(self) -> None:
        """Nothing has to be started."""

    def fileno(self) -> int:
        """Readable when attempts have ended."""
        return self._wake

    def spawn(
        self, attempt: str, spec: Spec, order: Order, worker_name: str, epoch: int, expiry_clock_ms: int
    ) -> None:
        """It has started and ended."""
        now = clock.utc_ms()
        self._tell(ChildStarted(attempt, now))
        outcome = Outcome(attempt, "succeeded", "exit", "", 0, started_utc_ms=now, finished_utc_ms=now)
        self._tell(ChildEnded(outcome))

    def _tell(self, event: ChildStarted | ChildEnded) -> None:
        if not self._events:
            os.eventfd_write(self._wake, 1)
        self._events.append(event)

    def kill(self, attempt: str, kill_now: bool, kill_after_ms: int) -> None:
        """It has ended already."""

    def read_events(self) -> Sequence[ChildStarted | ChildEnded]:
        """Everything that ended since the last call."""
        if self._events:
            os.eventfd_read(self._wake)
        events, self._events = self._events, []
        return events

    def renew_lease(self, seconds: float) -> None:
        """There is nothing that could outlive it."""

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._wake)


def main() -> None:
    """`python -m bench.instant CONFIG`: run such a worker until it is killed."""
    settings = load_workerd(Path(sys.argv[1]), {})
    start_logging(settings.log_level)
    memory.settle()
    Loop(settings, runner=InstantRunner()).run()


if __name__ == "__main__":
    main()
