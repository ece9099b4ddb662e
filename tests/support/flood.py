"""Floods of bent frames against a daemon's PULL socket, with an eye on what the daemon takes of the machine.

Leaves to bent_frames.py what a frame looks like, and to the tests what is too much.
"""

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import zmq

SEND_MS = 60_000
BROKEN = 10_000  # messages that two high-water marks of 1,000 and the kernel's buffers hold
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Watched:
    """A process whose resident set is sampled; `most` is the largest seen in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.before = self.most = self.now()

    def now(self) -> float:
        """MiB it holds in memory."""
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * PAGE_MB

    def look(self) -> None:
        """Take a sample."""
        self.most = max(self.most, self.now())

    @property
    def growth(self) -> float:
        """MiB between the first sample and the largest."""
        return self.most - self.before

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self._pid}/fd"))


class Host:
    """How busy the machine itself is: the longest that starting and ending an empty process has taken meanwhile."""

    def __init__(self) -> None:
        self.worst = 0.0  # seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            begun = time.monotonic()
            subprocess.run(["true"], check=True)
            self.worst = max(self.worst, time.monotonic() - begun)


def flood(endpoint: str, message: Callable[[], list[bytes]], count: int, *watched: Watched) -> int:
    """`count` messages, as fast as the socket takes them; returns when the last has left this process.

    Says how often the connection broke, which costs what was under way: at most BROKEN messages each time. A reader
    that is kept from its processor for six seconds takes us for dead.
    """
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        monitor = push.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        push.setsockopt(zmq.SNDTIMEO, SEND_MS)
        push.setsockopt(zmq.LINGER, SEND_MS)
        push.connect(endpoint)
        for number in range(count):
            push.send_multipart(message())
            if number % 200 == 0:
                for process in watched:
                    process.look()
        breaks = 0
        while monitor.poll(0):
            monitor.recv_multipart()
            breaks += 1
        push.disable_monitor()
        monitor.close(linger=0)
        return breaks


@contextmanager
def raw_connections(port: int, count: int, seed: int) -> Iterator[None]:
    """So many TCP connections that say nothing, half a greeting, garbage, or a greeting and then garbage; held open."""
    rng = random.Random(seed)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(32)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"
    words = (
        lambda: b"",
        lambda: greeting[: rng.randrange(1, len(greeting))],
        lambda: rng.randbytes(rng.randrange(1, 5000)),
        lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda: greeting + rng.randbytes(200),
        lambda: greeting + ready + b"\x02\xff" + rng.randbytes(300),
        lambda: greeting + ready + b"\x02\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(100),
        lambda: greeting + ready + b"\x00\x20" + rng.randbytes(9),
    )
    with ExitStack() as stack:
        for number in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            try:
                one.sendall(words[number % len(words)]())
            except OSError:  # it was closed on the other side already, which is one way to refuse it
                pass
        yield
