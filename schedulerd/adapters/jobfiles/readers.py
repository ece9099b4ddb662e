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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import msgspec

from schedulerd.adapters.jobfiles.reading import FileJobs, Request, read_jobs
from schedulerd.model.sharing import Sharing

WORTH_HELPERS = 2_000_000  # characters to be read; starting a helper costs as much as reading half of it
MAX_HELPERS = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FileJobs).decode
log = logging.getLogger(__name__)


class Known:
    """What the newest table's files held, by what they were read from. Used by one thread at a time."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, FileJobs] = {}

    def find(self, key: bytes) -> FileJobs | None:
        """The answer to an equal request."""
        return self._jobs.get(key)

    def replace(self, jobs: dict[bytes, FileJobs]) -> None:
        """Remember these, without faults, instead of what was known."""
        self._jobs = {key: found for key, found in jobs.items() if not found.lines}


def read_all(requests: Sequence[Request], known: Known | None = None) -> list[FileJobs]:
    """The answer to each request, in order. Only those that `known` does not hold are read."""
    known = Known() if known is None else known
    keys = [hashlib.sha256(_encode(request)).digest() for request in requests]
    found = [known.find(key) for key in keys]
    waiting = deque(place for place, jobs in enumerate(found) if jobs is None)
    new = list(waiting)
    if sum(len(requests[place].text) for place in waiting) >= WORTH_HELPERS:
        _read_by_helpers(requests, waiting, found)
    sharing = Sharing()
    for place in new:
        jobs = found[place]
        if jobs is None:
            jobs = found[place] = read_jobs(requests[place])
        sharing.share(jobs.definitions)
    answers = [jobs for jobs in found if jobs is not None]
    known.replace(dict(zip(keys, answers, strict=True)))
    return answers


def _read_by_helpers(requests: Sequence[Request], waiting: deque[int], found: list[FileJobs | None]) -> None:
    """Fill `found` at the places that wait; what a helper that fails leaves open is left to the caller."""
    count = min(len(os.sched_getaffinity(0)), len(waiting), MAX_HELPERS)
    with ThreadPoolExecutor(count) as threads:
        for helper in [threads.submit(_drive_helper, requests, waiting, found) for _ in range(count)]:
            error = helper.exception()
            if isinstance(error, OSError | EOFError | msgspec.DecodeError):
                log.warning("a helper that reads job files has failed: %s; its files are read here", error)
            elif error is not None:
                raise error


def _drive_helper(requests: Sequence[Request], waiting: deque[int], found: list[FileJobs | None]) -> None:
    """One helper reads one file after another until none waits. Raises OSError, EOFError, DecodeError."""
    argv = [sys.executable, "-m", "schedulerd.adapters.jobfiles.helper"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        while True:
            try:
                place = waiting.popleft()
            except IndexError:
                return
            write_frame(helper.stdin, _encode(requests[place]))
            found[place] = _decode(read_frame(helper.stdout))


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
