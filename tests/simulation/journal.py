"""The real journal of a worker on a real file, whose disk can fail and whose unsynced tail a crash can tear."""

import logging
import os
import random
from pathlib import Path

from workerd.adapters.journal import Journal, JournalError

logging.getLogger("workerd.journal").setLevel(logging.ERROR)  # torn tails are nothing to tell here


class SimulatedJournal(Journal):
    """The fsync costs nothing, but what would not have survived without it is known."""

    def __init__(self, path: Path) -> None:
        self.durable = 0  # bytes of the file that survive a crash
        self.has_fault = False  # the next fsync fails
        super().__init__(path)
        self.durable = self.size

    def tear(self, rng: random.Random) -> None:
        """A crash: of what was not synced a part is there, and the last of it may be rubbish."""
        left = self.size - self.durable
        if left > 0:
            kept = rng.randrange(left + 1)
            os.ftruncate(self._file, self.durable + kept)
            if kept and rng.random() < 0.5:  # the file has grown, but its last page was never written
                blank = rng.randrange(kept) + 1
                os.ftruncate(self._file, self.durable + kept - blank)
                os.ftruncate(self._file, self.durable + kept)
        self.close()

    def _write(self, file: int, data: bytes, sync: bool) -> None:
        super()._write(file, data, False)
        if not sync:
            return
        if self.has_fault:
            self.has_fault = False
            raise JournalError(f"{self.path}: the disk failed at an fsync")
        self.durable = self.size
