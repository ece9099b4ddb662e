"""The loop's end of the helper process that spawns and watches children. Leaves processes to workerd.spawner.

Owned by one thread. Nothing here blocks but `close`. Orders are queued and leave together: `fileno()` becomes
readable, and `read_events` sends them; `flush` sends them at once.
"""

import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import assert_never

from schedulerd.errors import SettingsError
from schedulerd.hostkit.clock import boot_ms, utc_ms
from schedulerd.protocol.messages import Order, Outcome, Spec
from workerd.events import ChildEnded, ChildExpired, ChildStarted, HelperDied
from workerd.spawner import leftovers, wire
from workerd.spawner.kernel import kill_session

RunnerEvent = ChildStarted | ChildExpired | ChildEnded | HelperDied

_FRAME_MESSAGES = (
    64  # orders a frame: the helper begins with the first while the others are still on their way
)
_CLOSE_SECONDS = 5.0  # how long `close` lets the helper end its children before it is killed itself
_log = logging.getLogger("workerd.runner")
_CATCHABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class Runner:
    """Starts and ends processes through a helper, which is started when it is first needed or by `start`.

    When the helper is gone, whatever the reason, its children are killed first and then one HelperDied tells that
    everything handed over before is lost; the next `spawn` starts a new helper. All children share the helper's
    session, and that is how they are found; one that made a session of its own (setsid) escapes if the helper is
    killed by force, and only then.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        """`scratch`: a private directory for scripts and items; its contents are removed. None: a temporary one."""
        self._temporary: Path | None = None
        if scratch is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="workerd-"))
            scratch = self._temporary / "scratch"
        self._scratch = scratch
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._link: socket.socket | None = None  # None: no helper
        self._helper = 0  # its pid, unreaped; also the session of all its children
        self._reader = wire.FrameReader()
        self._queue: list[wire.ToHelper] = []
        self._outgoing = bytearray()
        self._ready: deque[RunnerEvent] = deque()
        self._lease: wire.Lease | None = None

    @property
    def helper_pid(self) -> int:
        """Of the helper that runs now; 0 = none."""
        return self._helper

    def fileno(self) -> int:
        """Readable when `read_events` has something to do; the same number until `close`."""
        return self._poll.fileno()

    def start(self) -> None:
        """Start the helper process, after the end of one that an earlier workerd has left.

        May wait for that end. Raises OSError, and SettingsError when the one that was left cannot be ended.
        """
        if self._link is not None:
            return
        self._scratch.parent.mkdir(parents=True, exist_ok=True)
        try:
            left = leftovers.end_leftovers(self._scratch)
        except leftovers.StillThere as error:
            raise SettingsError(str(error)) from error
        if left is not None and left.is_forced:
            _log.warning(
                "the helper process of an earlier workerd was stopped or hung: killed, with its children  "
                "pid=%s children=%d",
                ",".join(map(str, left.helpers)),
                left.children,
            )
        self._start()

    def _start(self) -> None:
        self._empty_scratch()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with theirs:
            try:
                self._helper = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-P", "-X", "utf8", "-m", "workerd.spawner", str(self._scratch)],
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                    setsid=True,
                    setsigmask=[],
                    setsigdef=_CATCHABLE,
                )
            except OSError:
                ours.close()
                raise
        self._link = ours
        self._reader = wire.FrameReader()
        self._poll.register(ours, select.EPOLLIN)
        if self._lease is not None and self._lease.until_clock_ms > boot_ms():
            self._put(self._lease)

    def spawn(
        self, attempt: str, spec: Spec, order: Order, worker_name: str, epoch: int, expiry_clock_ms: int
    ) -> None:
        """Start this attempt unless the boot-time clock is past `expiry_clock_ms` when exec comes.

        Its end is told by exactly one ChildExpired, ChildEnded or HelperDied.
        """
        if self._link is None:
            try:
                self._start()
            except OSError as error:
                self._refuse(attempt, f"the helper process of workerd cannot be started: {error}")
                return
        self._put(wire.Spawn(order, spec, worker_name, epoch, expiry_clock_ms))

    def kill(self, attempt: str, kill_now: bool, kill_after_ms: int) -> None:
        """End this attempt's processes: KILL at once, or TERM and KILL after `kill_after_ms`.

        It ends as cancelled, also if it has not started yet; one that has ended already stays what it was.
        """
        if self._link is not None:
            self._put(wire.Kill(attempt, kill_now, kill_after_ms))

    def renew_lease(self, seconds: float) -> None:
        """Let the helper keep its children for so long from now if it hears nothing more; no lease = for ever."""
        self._lease = wire.Lease(boot_ms() + int(seconds * 1000))
        if self._link is not None:
            self._put(self._lease)

    def flush(self) -> None:
        """Send what is queued; what does not fit into the socket goes when there is room."""
        if self._link is None:
            return
        was_waiting = bool(self._outgoing)
        for start in range(0, len(self._queue), _FRAME_MESSAGES):
            self._outgoing += wire.frame_of(self._queue[start : start + _FRAME_MESSAGES])
        self._queue.clear()
        if not self._outgoing:
            return
        try:
            while self._outgoing:
                sent = self._link.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()  # the helper is gone, as the next read will tell
        if bool(self._outgoing) != was_waiting:
            events = select.EPOLLIN | (select.EPOLLOUT if self._outgoing else 0)
            self._poll.modify(self._link, events)

    def read_events(self) -> list[RunnerEvent]:
        """What has happened, oldest first, from one read of the socket; never blocks, may be nothing."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        self.flush()
        events = list(self._ready)
        self._ready.clear()
        if self._link is None:
            return events
        try:
            data = self._link.recv(wire.READ_SIZE)
        except BlockingIOError:
            return events
        except ConnectionError:
            data = b""
        if not data:
            events.append(self._bury())
        for body in self._reader.feed(data):
            events += map(_event_of, wire.from_helper.decode(body))
        return events

    def close(self) -> None:
        """End the helper and all its children; waits for that, at most a few seconds. For good."""
        if self._link is not None:
            try:
                self._link.shutdown(socket.SHUT_RDWR)  # for the helper this means: kill all and exit
            except OSError:
                pass  # it has ended by itself
            waiting = select.poll()
            handle = os.pidfd_open(self._helper)
            waiting.register(handle, select.POLLIN)
            waiting.poll(_CLOSE_SECONDS * 1000)
            os.close(handle)
            self._bury()
        self._poll.close()
        os.close(self._wake)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        else:
            self._empty_scratch()

    def _put(self, message: wire.ToHelper) -> None:
        if not self._queue:
            os.eventfd_write(self._wake, 1)
        self._queue.append(message)

    def _refuse(self, attempt: str, detail: str) -> None:
        if not self._ready:
            os.eventfd_write(self._wake, 1)
        outcome = Outcome(attempt, "failed", "spawn", detail, finished_utc_ms=utc_ms())
        self._ready.append(ChildEnded(outcome))

    def _bury(self) -> HelperDied:
        """Make sure of the helper's end and of its children's, and forget it."""
        assert self._link is not None
        self._poll.unregister(self._link)
        self._link.close()
        self._link = None
        os.kill(self._helper, signal.SIGKILL)  # it is our child and unreaped: the number is still its own
        os.waitid(os.P_PID, self._helper, os.WEXITED | os.WNOWAIT)
        left = kill_session(self._helper)  # before it is reaped, while the number still names its session
        _, status = os.waitpid(self._helper, 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        detail = f"helper process {self._helper} {how}; {left} of its children were killed after it"
        self._helper = 0
        self._queue.clear()
        self._outgoing.clear()
        return HelperDied(detail)

    def _empty_scratch(self) -> None:
        """Remove what a helper that was killed has left."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._scratch.chmod(0o700)
        for left in self._scratch.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _event_of(message: wire.FromHelper) -> RunnerEvent:
    match message:
        case wire.Started():
            return ChildStarted(message.attempt, message.started_utc_ms)
        case wire.Expired():
            return ChildExpired(message.attempt)
        case wire.Ended():
            return ChildEnded(message.outcome)
        case _:
            assert_never(message)
