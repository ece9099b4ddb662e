"""A runner with its helper process to test with, and children that tell their pids. Every wait ends with an event."""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from schedulerd.protocol.messages import Order, Outcome, Spec
from workerd.adapters.runner import Runner, RunnerEvent
from workerd.events import ChildEnded, ChildStarted, HelperDied

T = TypeVar("T")

PATIENCE = 60.0  # seconds until a wait is a failure; two cores may be busy with other tests
RUN = "job@20261123T020000Z"
NEVER = 1 << 52  # a reading of the boot-time clock that no test lives to see


def spec(*argv: str, **fields: Any) -> Spec:
    """A command with long time-outs; `fields` replace what it has otherwise."""
    known: dict[str, Any] = {
        "run": RUN,
        "job": "job",
        "fire_utc_us": 1_795_399_200_000_000,
        "timezone": "UTC",
        "kind": "argv",
        "argv": list(argv),
        "text": "",
        "shell": ["/bin/sh", "-c"],
        "env": {},
        "cwd": None,
        "timeout_ms": 600_000,
        "kill_after_ms": 600_000,
        "success_codes": [0],
        "subtasks": 1,
        "output_limit": 65_536,
        "guarded": False,
        "chunked": False,
    }
    return Spec(**{**known, **fields})


def shell(text: str, **fields: Any) -> Spec:
    """A line for /bin/sh."""
    return spec(kind="command", text=text, **fields)


class Rig:
    """A runner, the events it has told so far, and waiting for more."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.runner = Runner(scratch)
        self.events: list[RunnerEvent] = []
        self._count = 0

    def spawn(
        self, spec: Spec, expiry_clock_ms: int = NEVER, is_flushed: bool = True, **of_order: Any
    ) -> str:
        attempt = f"{RUN}~{self._count}~1"
        self._count += 1
        order = Order(attempt, 0, expiry_clock_ms, self._count, **of_order)
        self.runner.spawn(attempt, spec, order, "w1", 5, expiry_clock_ms)
        if is_flushed:
            self.runner.flush()
        return attempt

    def wait(self, done: Callable[[RunnerEvent], T | bool | None], what: str = "event") -> T:
        """The first truthy `done(event)`, among those told already or to come."""
        seen = 0
        limit = time.monotonic() + PATIENCE
        poll = select.poll()
        poll.register(self.runner.fileno(), select.POLLIN)
        while True:
            for event in self.events[seen:]:
                if found := done(event):
                    return cast("T", found)
            seen = len(self.events)
            left = limit - time.monotonic()
            assert left > 0, f"no {what} within {PATIENCE:g} s; told: {self.events}"
            poll.poll(left * 1000)
            self.events += self.runner.read_events()

    def started(self, attempt: str) -> ChildStarted:
        return self.wait(
            lambda e: e if isinstance(e, ChildStarted) and e.attempt == attempt else None, "ChildStarted"
        )

    def outcome(self, attempt: str) -> Outcome:
        return self.wait(
            lambda e: e.outcome if isinstance(e, ChildEnded) and e.outcome.attempt == attempt else None,
            "ChildEnded",
        )

    def died(self) -> HelperDied:
        return self.wait(lambda e: e if isinstance(e, HelperDied) else None, "HelperDied")

    def run(self, spec: Spec, **of_order: Any) -> Outcome:
        return self.outcome(self.spawn(spec, **of_order))


def wait_gone(handle: int) -> None:
    """Until the process that a pidfd names has ended."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(PATIENCE * 1000), "a process is still there"
    os.close(handle)


class Reports:
    """A FIFO through which children tell their pids, a line each; whoever has told one is held by a pidfd."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "reports"
        os.mkfifo(self.path)
        self._file = os.open(self.path, os.O_RDWR)
        self._rest = b""

    def line(self) -> str:
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        while b"\n" not in self._rest:
            assert poll.poll(PATIENCE * 1000), "no report from a child"
            self._rest += os.read(self._file, 4096)
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def handles(self, count: int) -> list[int]:
        return [os.pidfd_open(int(self.line())) for _ in range(count)]

    def close(self) -> None:
        os.close(self._file)
