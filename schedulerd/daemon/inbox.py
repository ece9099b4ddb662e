"""Where threads meet: facts go in, the loop takes them out, and callers wait for their answers. There is no lock in it.

A deque's append and popleft, and a dict's single item, are atomic in CPython; nothing here needs more.
"""

import itertools
import os
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from schedulerd.core.events import CommandGiven, Event
from schedulerd.core.requests import Request
from schedulerd.errors import CommandError


class Inbox:
    """Put from any thread, taken by one."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._waiting: dict[int, Future[object]] = {}
        self._tokens = itertools.count(1)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._wake

    def put(self, event: Event) -> None:
        """Hand in a fact and wake the loop."""
        self._events.append(event)
        self.wake()

    def wake(self) -> None:
        """Make the loop look, even if there is no event."""
        os.eventfd_write(self._wake, 1)

    def take(self, limit: int) -> list[Event]:
        """At most `limit` events, oldest first."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        events: list[Event] = []
        while self._events and len(events) < limit:
            event = self._events.popleft()
            if isinstance(event, CommandGiven) and event.token not in self._waiting:
                continue  # its caller was told that nobody does it, or has given up
            events.append(event)
        if self._events:
            self.wake()
        return events

    def ask(self, request: Request, timeout: float) -> object:
        """The loop's answer; blocks the calling thread for at most `timeout` seconds. Raises CommandError."""
        token = next(self._tokens)
        future: Future[object] = Future()
        self._waiting[token] = future
        self.put(CommandGiven(token, request))
        try:
            answer = future.result(timeout)
        except FutureTimeoutError:
            raise CommandError(
                "unavailable",
                f"the scheduler did not answer within {timeout:g} s; it may have begun to do what was asked",
            ) from None
        finally:
            self._waiting.pop(token, None)
        if isinstance(answer, CommandError):
            raise answer
        return answer

    def answer(self, token: int, answer: object) -> None:
        """Wake the caller that waits under `token`; nobody may be there any more."""
        future = self._waiting.get(token)
        if future is not None and not future.done():
            future.set_result(answer)

    def refuse_all(self, text: str) -> None:
        """Nobody leads: whoever waits is told so."""
        for token in list(self._waiting):
            self.answer(token, CommandError("unavailable", text))
            self._waiting.pop(token, None)
