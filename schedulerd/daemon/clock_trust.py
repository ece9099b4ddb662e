"""Whether the wall clock of this host may be believed yet: right after a boot it may be hours off until NTP answers.

Only says so; what waits for it is decided in the core. See docs/adr: missed fire times wait for the clock.
"""

import logging
import threading
from collections.abc import Callable

from schedulerd.hostkit import clock
from schedulerd.hostkit.clock_sync import is_synchronised

LONG_UP = 600.0  # seconds since boot after which the clock is believed whatever the kernel says

log = logging.getLogger(__name__)


class ClockTrust:
    """Once believed, the clock stays believed; later steps are the clock guard's business."""

    def __init__(self, wait: float, synchronised: Callable[[], bool | None] = is_synchronised) -> None:
        """`wait`: seconds from now after which it is believed all the same."""
        self._synchronised = synchronised
        self._until = clock.boot_seconds() + wait
        self._trusted = threading.Event()
        if wait <= 0 or clock.boot_seconds() >= LONG_UP or synchronised() is not False:
            self._trusted.set()
        else:
            log.warning(
                "the clock is not synchronised yet; missed fire times wait for it, at most %g s", wait
            )

    @property
    def is_given(self) -> bool:
        """As of the last look; for any thread."""
        return self._trusted.is_set()

    def wait(self, seconds: float) -> bool:
        """Block until it is given; False when it still is not after `seconds`."""
        return self._trusted.wait(seconds)

    def look(self) -> bool:
        """Ask the kernel again; cheap once it is given."""
        if self._trusted.is_set():
            return True
        if self._synchronised() is not False:
            log.info("the clock is synchronised; missed fire times are settled now")
            self._trusted.set()
        elif clock.boot_seconds() >= self._until:
            log.warning("the clock is still not synchronised; going on with what it says")
            self._trusted.set()
        return self._trusted.is_set()

    def words(self) -> str:
        """A sentence for STATUS and /readyz; empty once it is given."""
        if self._trusted.is_set():
            return ""
        left = max(0.0, self._until - clock.boot_seconds())
        return f"the clock is not synchronised yet; missed fire times wait for it, at most {left:.0f} s more"
