"""What the helper process and its owner ask of Linux beyond `os`: subreaping, who is whose child, whole sessions.

A pid is acted on only where it cannot have been given to another process in the meantime: it is an unreaped child of
the caller, or a pidfd holds it while it is looked at again.
"""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Have orphans below this process become its children, so that it can end and reap them. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def children_of_this_process() -> list[int]:
    """Pids of the children of this single-threaded process, zombies too; one that is just born may be missing."""
    me = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_bytes().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [process.pid for process in _processes(with_zombies=True) if process.parent == me]


def kill_session(session: int) -> int:
    """KILL every process of a session until it has no more that live; how many there were.

    The caller must know that the number still names the session it means: the leader's zombie, not yet reaped, keeps
    it from being used again, and so does every member that is left.
    """
    killed: set[tuple[int, int]] = set()
    while members := [
        process
        for process in _processes()
        if process.session == session
        and process.pid != session
        and (process.pid, process.started) not in killed
    ]:
        for process in members:
            killed.add(
                (process.pid, process.started)
            )  # once: one stuck in the kernel dies when it comes back
            _kill(process)
    return len(killed)


def kill_descendants(root: int, until: float) -> int:
    """KILL everything below a process, whatever group or session it is in; how many there were.

    `root` must be a subreaper that starts nothing more and does not end meanwhile. Returns when all have ended, or at
    `until` (monotonic clock): one that is stuck in the kernel dies when it comes back.
    """
    killed: set[tuple[int, int]] = set()
    while below := _below(root):
        for process in below:
            if (process.pid, process.started) not in killed:
                killed.add((process.pid, process.started))
                _kill(process)
        if time.monotonic() >= until:
            break
        time.sleep(0.001)
    return len(killed)


def _below(root: int) -> list["_Process"]:
    """Every process that descends from `root`, zombies left out."""
    children: dict[int, list[_Process]] = {}
    for process in _processes():
        children.setdefault(process.parent, []).append(process)
    found: list[_Process] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return found


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int
    started: int  # clock ticks since boot: with the pid it names one process for ever
    is_zombie: bool


def _kill(process: _Process) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        found = _facts(process.pid)  # again: from here on the number cannot change its owner unnoticed
        if found is not None and found.started == process.started:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended by itself, or is another user's by now (sudo)
    finally:
        os.close(handle)


def _processes(with_zombies: bool = False) -> list[_Process]:
    """Every process of the host."""
    found = (_facts(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None and (with_zombies or not process.is_zombie)]


def _facts(pid: int) -> _Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # it has gone
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return _Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] == b"Z")
