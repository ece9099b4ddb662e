"""Moves this process's clocks for tests: by what a file says, which may change at any time. Off in production.

The file holds seconds to add to the wall clock, seconds to add to the boot-time clock, and, if the kernel's word on
synchronisation is to be replaced as well, `synchronised` or `unsynchronised`: `-3600 0`, `600 600`, `0 -5000
unsynchronised`. A file that is not there moves nothing. Waits of the process go on in real time, as they do when the
real clock steps.
"""

import os
from pathlib import Path

VARIABLE = "SCHEDULERD_FAILPOINT_CLOCK"  # names the file; no setting is called like this


class MovedClock:
    """What the file says now; read again only when the file is another one than last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._values: tuple[float, float, bool | None] = (0.0, 0.0, None)

    @property
    def wall(self) -> float:
        """Seconds to add to the wall clock."""
        return self._read()[0]

    @property
    def boot(self) -> float:
        """Seconds to add to the boot-time clock; with the same for the wall clock it is a suspend."""
        return self._read()[1]

    @property
    def is_synchronised(self) -> bool | None:
        """What the kernel is to have said; None: ask it."""
        return self._read()[2]

    def _read(self) -> tuple[float, float, bool | None]:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._values = None, (0.0, 0.0, None)
            return self._values
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            words = self._path.read_text(encoding="ascii").split()
            told = words[2] == "synchronised" if len(words) > 2 else None
            self._values = (float(words[0]), float(words[1]) if len(words) > 1 else 0.0, told)
            self._seen = seen
        return self._values


def from_environment() -> MovedClock | None:
    """The failpoint that the environment asks for; None as always but in tests."""
    path = os.environ.get(VARIABLE)
    return MovedClock(Path(path)) if path else None
