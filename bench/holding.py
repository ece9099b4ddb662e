"""A worker whose attempts of the job `held` run until a file appears; all others end at once.

For measuring what open work costs, without as many processes. Nothing in a job file leads here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.instant import InstantRunner
from schedulerd.hostkit import clock, memory
from schedulerd.hostkit.logs import start_logging
from schedulerd.hostkit.settings import load_workerd
from schedulerd.protocol.messages import Order, Outcome, Spec
from workerd.events import ChildEnded, ChildStarted
from workerd.loop import Loop


class HoldingRunner(InstantRunner):
    """Looks for the file whenever the loop asks for events, which it does with each beat at the latest."""

    def __init__(self, release: Path) -> None:
        super().__init__()
        self._release = release
        self._held: dict[str, int] = {}  # attempt -> when it started

    def spawn(
        self, attempt: str, spec: Spec, order: Order, worker_name: str, epoch: int, expiry_clock_ms: int
    ) -> None:
        """It has started, and ended unless it is to be held."""
        if spec.job != "held":
            super().spawn(attempt, spec, order, worker_name, epoch, expiry_clock_ms)
            return
        self._held[attempt] = clock.utc_ms()
        self._tell(ChildStarted(attempt, self._held[attempt]))

    def read_events(self) -> Sequence[ChildStarted | ChildEnded]:
        """What started and ended since the last call."""
        if self._held and self._release.exists():
            for attempt, started in self._held.items():
                now = clock.utc_ms()
                outcome = Outcome(
                    attempt, "succeeded", "exit", "", 0, started_utc_ms=started, finished_utc_ms=now
                )
                self._tell(ChildEnded(outcome))
            self._held.clear()
        return super().read_events()


def main() -> None:
    """`python -m bench.holding CONFIG RELEASE`: run such a worker until it is killed."""
    settings = load_workerd(Path(sys.argv[1]), {})
    start_logging(settings.log_level)
    memory.settle()
    Loop(settings, runner=HoldingRunner(Path(sys.argv[2]))).run()


if __name__ == "__main__":
    main()
