"""Tells systemd how a daemon is (sd_notify). Leaves to the daemons what is worth telling.

Without $NOTIFY_SOCKET every call does nothing: the daemons run the same in a terminal. The environment is
read at each call and left as it is; children must not inherit it (workerd builds their environment from
nothing). Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import os
import socket

from schedulerd.hostkit import clock


def notify(**fields: str | int) -> bool:
    """Send `fields` (READY=1, STATUS="...") as one datagram; True when systemd's socket took it.

    A line break inside a value would begin a new field, so it becomes a space. A socket that is gone or full
    is no reason to end a daemon: the answer is False then.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path  # @ stands for an abstract socket
    text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in fields.items())
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    ) as sender:
        try:
            sender.sendto(text.encode(), address)
        except OSError:
            return False
    return True


def ready(status: str) -> bool:
    """The daemon serves; also ends a reload."""
    return notify(READY=1, STATUS=status)


def reloading() -> bool:
    """The daemon reads its files anew; `ready` ends it."""
    return notify(RELOADING=1, MONOTONIC_USEC=clock.monotonic_us())


def stopping(status: str) -> bool:
    """The daemon is on its way down."""
    return notify(STOPPING=1, STATUS=status)


def status(text: str) -> bool:
    """One line of words for `systemctl status`."""
    return notify(STATUS=text)


def watchdog() -> bool:
    """A sign of life; send it only after real progress."""
    return notify(WATCHDOG=1)


def watchdog_seconds() -> float | None:
    """How long systemd waits between two signs of life; None when it does not watch this process."""
    watched = os.environ.get("WATCHDOG_PID", "")
    if watched and watched != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        return None
    return int(text) / 1e6
