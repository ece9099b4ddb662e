"""Waiting for what must become true, with an end to it."""

import threading
import time
from collections.abc import Callable


def wait_until(claim: Callable[[], bool], seconds: float = 30.0, every: float = 0.02) -> bool:
    """True as soon as `claim()` holds; False when it still does not after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()  # never set: its wait is the pause between two looks
    while not claim():
        if time.monotonic() > deadline:
            return False
        pause.wait(every)
    return True
