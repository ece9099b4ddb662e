"""A few ledger readers, lent to one thread at a time. Knows nothing of what is read."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.errors import CommandError

POOL_SIZE = 4
_WAIT = 10.0  # seconds


class Readers:
    """At most POOL_SIZE readers, opened when they are first needed."""

    def __init__(self, open_reader: Callable[[], LedgerReader]) -> None:
        self._open = open_reader
        self._free: queue.LifoQueue[LedgerReader | None] = queue.LifoQueue()
        for _ in range(POOL_SIZE):
            self._free.put(None)

    @contextmanager
    def reader(self) -> Iterator[LedgerReader]:
        """A reader for this thread alone. Raises CommandError when all stay in use, LedgerError from opening."""
        try:
            reader = self._free.get(timeout=_WAIT)
        except queue.Empty as error:
            raise CommandError(
                "unavailable", "too many requests read the ledger at once; try again"
            ) from error
        is_sound = False
        try:
            if reader is None:
                reader = self._open()
            yield reader
            is_sound = True
        except CommandError:
            is_sound = True
            raise
        finally:
            if not is_sound and reader is not None:
                reader.close()  # a reader that failed is opened anew by the next caller
                reader = None
            self._free.put(reader)

    def close(self) -> None:
        """Close the readers that are not in use; who asks later gets a new one."""
        for _ in range(self._free.qsize()):
            reader = self._free.get()
            if reader is not None:
                reader.close()
        for _ in range(POOL_SIZE):
            self._free.put(None)
