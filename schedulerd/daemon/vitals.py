"""Signs of life that must go on whatever the wall clock does: clock guard, watchdog, STATUS. Waits on no wall clock."""

import logging
import threading
from collections.abc import Callable

from schedulerd.hostkit import clock, notify

GUARD_EVERY = 0.25  # seconds between two comparisons of the clocks
STEP = 0.2  # seconds by which the wall clock must have moved against boot time to be called a step
SUSPEND = 1.0  # seconds by which boot time must have run ahead of the monotonic clock: the host slept
STATUS_EVERY = 5.0  # seconds
STARTING_FOR_US = (
    30_000_000  # microseconds more that systemd is asked to wait while something is not there yet
)

log = logging.getLogger(__name__)


class Vitals:
    """A thread of its own from start() to stop()."""

    def __init__(
        self,
        *,
        on_clock_step: Callable[[float], None],  # seconds the wall clock went ahead of our waiting
        is_alive: Callable[[], bool],
        status: Callable[[], str],
    ) -> None:
        self._on_clock_step = on_clock_step
        self._is_alive = is_alive
        self._status = status
        self._is_ready = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vitals", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def ready(self) -> None:
        """The daemon serves: tell systemd, now and after a reload."""
        self._is_ready = True
        notify.ready(self._status())

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(5.0)

    def _run(self) -> None:
        offset, slept = _offset(), _slept()
        limit = notify.watchdog_seconds()
        told = barked = 0.0
        while not self._stopping.wait(GUARD_EVERY):
            now = clock.boot_seconds()
            moved = _offset() - offset
            if abs(moved) >= STEP:
                offset += moved
                log.warning("the wall clock stepped by %+.3f s; due times are looked at anew", moved)
                self._on_clock_step(moved)
            missing = _slept() - slept
            if abs(missing) >= SUSPEND:
                slept += missing
                log.warning("this host was suspended for %.3f s; due times are looked at anew", missing)
                self._on_clock_step(missing)
            if limit is not None and now - barked >= limit / 3 and self._is_alive():
                barked = now
                notify.watchdog()
            if now - told >= STATUS_EVERY:
                told = now
                notify.status(self._status())
                if not self._is_ready:
                    notify.notify(EXTEND_TIMEOUT_USEC=STARTING_FOR_US)


def _offset() -> float:
    return clock.utc_now().timestamp() - clock.boot_seconds()


def _slept() -> float:
    return clock.boot_seconds() - clock.monotonic_us() / 1e6
