"""The helper's loop: takes orders from workerd, watches children, tells how they end. One thread, one epoll.

Nothing is told about a child before it is so, and everything about it leaves in order. When workerd is gone, or its
lease has run out, all children are killed and the helper ends; the caller of `run` sees to that by `end_all`.
"""

import os
import select
import signal
import socket
from collections import deque
from typing import assert_never

from schedulerd.hostkit import failpoint
from schedulerd.hostkit.clock import boot_ms, utc_ms
from schedulerd.protocol.messages import Outcome
from workerd.spawner import wire
from workerd.spawner.capture import Capture
from workerd.spawner.child import LINGER_MS, Child
from workerd.spawner.deadlines import Deadlines
from workerd.spawner.kernel import children_of_this_process
from workerd.spawner.launch import Launcher, LaunchError, remove

_SPAWNS_A_TURN = 8  # then exits, output and orders have their turn, however many wait to start
_EVENTS_A_TURN = 256
_READ_SIZE = 1 << 16  # the size of a pipe: a talkative child gets one such read a turn
_SWEEP_MS = 1_000  # how often orphans of children are looked for


class Helper:
    """Owns every child and the connection to workerd."""

    def __init__(self, control: socket.socket, launcher: Launcher) -> None:
        self._control = control
        self._launcher = launcher
        self._poll = select.epoll()
        self._reader = wire.FrameReader()
        self._waiting: dict[str, wire.Spawn] = {}  # by attempt, oldest first
        self._children: dict[str, Child] = {}  # by attempt
        self._exits: dict[int, Child] = {}  # by pidfd
        self._streams: dict[int, tuple[Child, Capture]] = {}  # by read end
        self._deadlines = Deadlines()
        self._lease_ms: int | None = None  # None: workerd has not given one yet
        self._sweep_ms: int | None = None  # None: there are neither children nor orphans
        self._events: list[wire.FromHelper] = []
        self._outgoing: deque[memoryview] = deque()
        control.setblocking(False)
        self._poll.register(control, select.EPOLLIN)

    def run(self) -> str:
        """Work until workerd has closed the connection ("closed") or the lease has run out ("lease")."""
        while True:
            for descriptor, mask in self._poll.poll(self._timeout(), _EVENTS_A_TURN):
                if descriptor in self._streams:
                    self._read_stream(descriptor)
                elif descriptor in self._exits:
                    self._note_exit(descriptor)
                elif (
                    descriptor == self._control.fileno()
                    and mask & ~select.EPOLLOUT
                    and not self._read_orders()
                ):
                    return "closed"
            now = boot_ms()
            if self._lease_ms is not None and now >= self._lease_ms:
                return "lease"
            self._spawn_some()
            self._meet_deadlines(now)
            self._send()

    def end_all(self) -> int:
        """KILL and reap everything below this process, whatever group or session it is in; how many there were."""
        for child in self._children.values():
            child.signal_group(
                signal.SIGKILL
            )  # once: the leaders' numbers are sure until they are reaped below
        ended = 0
        try:
            while True:
                for pid in children_of_this_process():
                    _kill(pid)
                os.waitpid(-1, 0)  # what it leaves behind becomes ours, and the next round finds it
                ended += 1
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    ended += 1
        except ChildProcessError:
            pass  # none is left
        for child in self._children.values():
            remove(child.prepared)
        return ended

    def _timeout(self) -> float | None:
        """Seconds until something is due by the clock; None = nothing is."""
        if self._waiting:
            return 0
        due = [at for at in (self._deadlines.next_ms(), self._lease_ms, self._sweep_ms) if at is not None]
        return max(0, min(due) - boot_ms()) / 1000 if due else None

    # ---- orders ----------------------------------------------------------------------------------------------

    def _read_orders(self) -> bool:
        """Take the orders that are there; False when workerd has gone."""
        try:
            data = self._control.recv(wire.READ_SIZE)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        for body in self._reader.feed(data):
            for order in wire.to_helper.decode(body):
                match order:
                    case wire.Spawn():
                        if order.order.attempt not in self._children:
                            self._waiting.setdefault(order.order.attempt, order)
                    case wire.Kill():
                        self._kill(order)
                    case wire.Lease():
                        self._lease_ms = order.until_clock_ms
                    case _:
                        assert_never(order)
        return bool(data)

    def _kill(self, order: wire.Kill) -> None:
        if self._waiting.pop(order.attempt, None) is not None:
            outcome = Outcome(order.attempt, "cancelled", "cancelled", finished_utc_ms=utc_ms())
            self._events.append(wire.Ended(outcome))
            return
        child = self._children.get(order.attempt)
        if child is None or child.has_exited:
            return
        if not child.ending:
            child.ending = "cancelled"
            self._end(child, 0 if order.kill_now else order.kill_after_ms)
        elif order.kill_now:
            self._end(child, 0)
        elif boot_ms() + order.kill_after_ms < child.deadline_ms:  # it has had its TERM
            self._deadlines.set(child, boot_ms() + order.kill_after_ms)

    def _end(self, child: Child, kill_after_ms: int) -> None:
        if kill_after_ms <= 0:
            child.signal_group(signal.SIGKILL)
            self._deadlines.set(child, 0)
        else:
            child.signal_group(signal.SIGTERM)
            child.signal_group(signal.SIGCONT)  # a stopped one could not act on it
            self._deadlines.set(child, boot_ms() + kill_after_ms)

    def _spawn_some(self) -> None:
        for attempt in list(self._waiting)[:_SPAWNS_A_TURN]:
            self._spawn(self._waiting.pop(attempt))

    def _spawn(self, order: wire.Spawn) -> None:
        attempt, spec = order.order.attempt, order.spec
        try:
            prepared = self._launcher.prepare(order)
            clock_ms = boot_ms()
            if clock_ms > order.expiry_clock_ms:
                remove(prepared)
                self._events.append(wire.Expired(attempt))
                return
            started_utc_ms = utc_ms()
            process = self._launcher.start(prepared)
            failpoint.at("start.after_spawn")
        except LaunchError as error:
            outcome = Outcome(attempt, "failed", error.reason, str(error), finished_utc_ms=utc_ms())
            self._events.append(wire.Ended(outcome))
            return
        child = Child(attempt, spec, prepared, process, started_utc_ms, clock_ms)
        self._children[attempt] = child
        self._exits[process.pidfd] = child
        self._streams[process.stdout] = (child, child.stdout)
        self._streams[process.stderr] = (child, child.stderr)
        for descriptor in (process.pidfd, process.stdout, process.stderr):
            self._poll.register(descriptor, select.EPOLLIN)
        if spec.timeout_ms > 0:
            self._deadlines.set(child, clock_ms + spec.timeout_ms)
        if self._sweep_ms is None:
            self._sweep_ms = clock_ms + _SWEEP_MS
        self._events.append(wire.Started(attempt, started_utc_ms))

    # ---- children --------------------------------------------------------------------------------------------

    def _read_stream(self, descriptor: int) -> None:
        child, capture = self._streams[descriptor]
        data = os.read(descriptor, _READ_SIZE)
        if data:
            capture.feed(data)
            return
        self._close_stream(descriptor)
        if child.has_exited and not child.open_streams:
            self._finish(child)

    def _close_stream(self, descriptor: int) -> None:
        child, _ = self._streams.pop(descriptor)
        child.open_streams -= 1
        self._close(descriptor)

    def _note_exit(self, pidfd: int) -> None:
        child = self._exits.pop(pidfd)
        self._close(pidfd)
        child.exited_utc_ms, child.exited_clock_ms = utc_ms(), boot_ms()
        if child.open_streams:
            self._deadlines.set(child, child.exited_clock_ms + LINGER_MS)
        else:
            self._finish(child)

    def _close(self, descriptor: int) -> None:
        # Closing alone is not enough: a child that is just being born may still hold a copy for a moment, and epoll
        # would go on telling of the old file under a number that is somebody else's by then.
        self._poll.unregister(descriptor)
        os.close(descriptor)

    def _finish(self, child: Child) -> None:
        self._deadlines.set(child, 0)
        for descriptor in (child.process.stdout, child.process.stderr):
            if self._streams.get(descriptor, (None,))[0] is child:
                self._close_stream(descriptor)
        del self._children[child.attempt]
        self._events.append(wire.Ended(child.reap()))
        remove(child.prepared)

    def _meet_deadlines(self, now: int) -> None:
        while child := self._deadlines.pop_due(now):
            if child.has_exited:
                self._finish(child)
            elif child.ending:
                child.signal_group(signal.SIGKILL)
            else:
                child.ending = "timeout"
                self._end(child, child.spec.kill_after_ms)
        if self._sweep_ms is not None and now >= self._sweep_ms:
            self._sweep(now)

    def _sweep(self, now: int) -> None:
        """Reap orphans that came to this process because their own parents have ended."""
        leaders = {child.process.pid for child in self._children.values()}
        orphans = [pid for pid in children_of_this_process() if pid not in leaders]
        alive = [pid for pid in orphans if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        self._sweep_ms = now + _SWEEP_MS if leaders or alive else None

    # ---- events ----------------------------------------------------------------------------------------------

    def _send(self) -> None:
        had_rest = bool(self._outgoing)
        if self._events:
            self._outgoing.append(memoryview(wire.frame_of(self._events)))
            self._events.clear()
        try:
            while self._outgoing:
                sent = self._control.send(self._outgoing[0])
                self._outgoing[0] = self._outgoing[0][sent:]
                if not self._outgoing[0]:
                    self._outgoing.popleft()
        except BlockingIOError:
            pass
        except ConnectionError:
            self._outgoing.clear()  # workerd has gone, as the next read will tell
        if bool(self._outgoing) != had_rest:
            events = select.EPOLLIN | (select.EPOLLOUT if self._outgoing else 0)
            self._poll.modify(self._control, events)


def _kill(child: int) -> None:
    """KILL a child of this process; it is unreaped, so the number is still its own."""
    try:
        os.kill(child, signal.SIGKILL)
    except PermissionError:
        pass  # it has become another user's (sudo): all we can do is outlive it
