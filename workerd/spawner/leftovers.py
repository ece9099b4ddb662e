"""A helper that outlived its workerd: known by the lock that each holds while it lives, ended before the next begins.

A helper that runs ends with its workerd, and its children with it. One that is stopped, or hangs, does not notice.
Nobody is known by a stored pid: whoever has the lock is found among the open files of the host's processes.
"""

import fcntl
import os
import select
import signal
import time
from pathlib import Path

from msgspec import Struct

from workerd.spawner.kernel import kill_descendants

GRACE_SECONDS = 2.0  # in which a helper that runs has ended its children by itself
END_SECONDS = 10.0  # after which one that cannot be ended keeps the next workerd from starting
TAKE_SECONDS = 5.0  # how long a helper waits for the lock: one before it may be about to end
_LOOK_SECONDS = 0.05


class Ended(Struct, frozen=True):
    """What was left, and is no more."""

    helpers: list[int]  # pids
    children: int  # how many were killed with them; 0 if they ended by themselves
    is_forced: bool


class StillThere(Exception):
    """Something that was left cannot be ended; the text is for people."""


def lock_of(scratch: Path) -> Path:
    """The file that the helper with this scratch directory locks."""
    return scratch.with_name(f"{scratch.name}.lock")


def take(scratch: Path) -> int:
    """Lock it until this process ends; the descriptor. Raises BlockingIOError when another helper does not end."""
    file = _open(scratch)
    until = time.monotonic() + TAKE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_SECONDS)


def end_leftovers(scratch: Path, grace: float = GRACE_SECONDS, patience: float = END_SECONDS) -> Ended | None:
    """Have a helper of an earlier workerd and all below it end, by force after `grace`; None: nothing was left.

    The caller has the state directory's own lock, so that no other workerd has use for them. Raises StillThere when
    they are not gone `patience` seconds later, and OSError.
    """
    file = _open(scratch)
    try:
        if _is_free(file):
            return None
        helpers = {pid: os.pidfd_open(pid) for pid in _holders(file)}
        try:
            if _all_end(list(helpers.values()), grace) and _is_free(file):
                return Ended(list(helpers), 0, False)
        finally:
            for handle in helpers.values():
                os.close(handle)
        return _end(file, scratch, time.monotonic() + patience)
    finally:
        os.close(file)


def _end(file: int, scratch: Path, until: float) -> Ended:
    helpers: dict[int, None] = {}
    children = 0
    while not _is_free(file):
        found = _holders(file)
        for pid in found:
            helpers[pid] = None
            children += _end_one(file, pid, until)
        if time.monotonic() >= until:
            who = (
                f"process {', '.join(map(str, found))}"
                if found
                else "a process that cannot be seen from here"
            )
            raise StillThere(
                f"{lock_of(scratch)}: {who}, left by an earlier workerd, holds the lock and cannot be ended; "
                "workerd does not start beside it"
            )
        time.sleep(_LOOK_SECONDS)
    return Ended(list(helpers), children, True)


def _end_one(file: int, pid: int, until: float) -> int:
    """KILL a holder and all below it; how many those were."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        if not _holds(pid, os.fstat(file)):  # looked at again: from here on the number is its own
            return 0
        signal.pidfd_send_signal(
            handle, signal.SIGSTOP
        )  # it starts nothing more, and orphans still come to it
        count = kill_descendants(pid, until)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        _all_end([handle], max(0.0, until - time.monotonic()))
        return count
    except (ProcessLookupError, PermissionError):
        return 0
    finally:
        os.close(handle)


def _open(scratch: Path) -> int:
    return os.open(lock_of(scratch), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _all_end(handles: list[int], seconds: float) -> bool:
    """Whether all these processes, named by pidfds, end in that time; False for none."""
    until = time.monotonic() + seconds
    for handle in handles:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            return False
    return bool(handles)


def _holders(file: int) -> list[int]:
    """Pids of the processes that hold the lock, as far as this user may see."""
    status = os.fstat(file)
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _holds(pid, status)]


def _holds(pid: int, status: os.stat_result) -> bool:
    """Whether the process has the file open with the lock on it; having it open alone is nothing."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            found = os.stat(f"/proc/{pid}/fd/{name}")
            if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
                text = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
                if any(line.startswith("lock:") for line in text.splitlines()):
                    return True
    except OSError:  # it has gone, has closed that file, or is another user's
        pass
    return False
