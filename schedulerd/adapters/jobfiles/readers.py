"""Many files at once: what was read before is taken from memory, much that is new is read by helper processes.

Threads would not do: reading is pure computing, and the loop that fires jobs needs this process to itself meanwhile.
The helpers are plain children that end with their standard input (see helper.py).
"""

import hashlib
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import msgspec

from schedulerd.adapters.jobfiles.reading import FileJobs, Request, read_jobs
from schedulerd.model.sharing import Sharing

WORTH_HELPERS = 2_000_000  # bytes to be read; starting a helper costs as much as reading half of it
MAX_HELPERS = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FileJobs).decode
_decode_request = msgspec.msgpack.Decoder(Request).decode
log = logging.getLogger(__name__)


class Answer:
    """What stands in one file, and its jobs by name."""

    __slots__ = ("by_name", "found")

    def __init__(self, found: FileJobs) -> None:
        self.found = found
        self.by_name = {definition.job.name: definition for definition in found.definitions}


class Known:
    """What the newest table's files held, by what they were read from. Used by one thread at a time."""

    def __init__(self) -> None:
        self._answers: dict[bytes, Answer] = {}

    def find(self, key: bytes) -> Answer | None:
        """The answer to an equal request."""
        return self._answers.get(key)

    def replace(self, answers: dict[bytes, Answer]) -> None:
        """Remember these, without faults, instead of what was known."""
        self._answers = {key: answer for key, answer in answers.items() if not answer.found.lines}


def read_all(requests: Iterable[Request], known: Known | None = None) -> list[Answer]:
    """The answer to each request, in order. Only those that `known` does not hold are read."""
    known = Known() if known is None else known
    keys: list[bytes] = []
    work = _Work()
    for place, request in enumerate(requests):
        frame = _encode(request)
        keys.append(hashlib.sha256(frame).digest())
        work.found.append(known.find(keys[-1]))
        if work.found[-1] is None:
            work.waiting.append((place, frame))
    if sum(len(frame) for _, frame in work.waiting) >= WORTH_HELPERS:
        _read_by_helpers(work)
    while work.waiting:
        place, frame = work.waiting.popleft()
        work.take(place, read_jobs(_decode_request(frame)))
    answers = [answer for answer in work.found if answer is not None]
    known.replace(dict(zip(keys, answers, strict=True)))
    return answers


class _Work:
    """What is read and what is not. Threads take from it and put into it one item at a time, which needs no lock."""

    def __init__(self) -> None:
        self.found: list[Answer | None] = []
        self.waiting: deque[tuple[int, bytes]] = deque()
        self._sharing = Sharing()

    def take(self, place: int, jobs: FileJobs) -> None:
        """The answer to the request at `place`."""
        self._sharing.share(jobs.definitions)
        self.found[place] = Answer(jobs)


def _read_by_helpers(work: _Work) -> None:
    """Read what waits; what a helper that fails leaves open waits again."""
    count = min(len(os.sched_getaffinity(0)), len(work.waiting), MAX_HELPERS)
    with ThreadPoolExecutor(count) as threads:
        for helper in [threads.submit(_drive_helper, work) for _ in range(count)]:
            error = helper.exception()
            if isinstance(error, OSError | EOFError | msgspec.DecodeError):
                log.warning("a helper that reads job files has failed: %s; its files are read here", error)
            elif error is not None:
                raise error


def _drive_helper(work: _Work) -> None:
    """One helper reads one file after another until none waits. Raises OSError, EOFError, DecodeError."""
    argv = [sys.executable, "-m", "schedulerd.adapters.jobfiles.helper"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        while True:
            try:
                place, frame = work.waiting.popleft()
            except IndexError:
                return
            try:
                write_frame(helper.stdin, frame)
                work.take(place, _decode(read_frame(helper.stdout)))
            except BaseException:
                work.waiting.append((place, frame))
                raise


def write_frame(file: IO[bytes], content: bytes) -> None:
    """The length in four bytes, then the content."""
    file.write(len(content).to_bytes(4, "big"))
    file.write(content)
    file.flush()


def read_frame(file: IO[bytes]) -> bytes:
    """What `write_frame` wrote. Raises EOFError at the end of the file."""
    size = file.read(4)
    content = file.read(int.from_bytes(size, "big")) if len(size) == 4 else b""
    if not content:
        raise EOFError("it has ended")
    return content
