"""Whether the kernel calls the wall clock synchronised. Decides nothing: many that say no have no NTP at all."""

import ctypes
from pathlib import Path

from schedulerd.hostkit import clock

_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>: no time daemon has disciplined this clock since boot
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd makes it at the first answer


class _Timex(ctypes.Structure):
    """The head of `struct timex`; the rest is room that the kernel fills."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def is_synchronised() -> bool | None:
    """The kernel's word, or systemd-timesyncd's; None when neither can be had (a sandbox forbids to ask)."""
    if clock.moved is not None and clock.moved.is_synchronised is not None:
        return clock.moved.is_synchronised
    if _TIMESYNCD.exists():
        return True
    timex = _Timex()  # modes = 0: only read
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _UNSYNCHRONISED
