"""A worker's state directory: one owner at a time, and the UUID that is the worker's identity.

The host name is never the identity: hosts are cloned and renamed. Leaves the journal's file to journal.py.
"""

import fcntl
import os
import uuid
from pathlib import Path

from schedulerd.errors import SettingsError
from schedulerd.hostkit import clock

_LOCK = "lock"
_WORKER_ID = "worker-id"


class StateDir:
    """A locked directory; the lock goes with `close` or with the process."""

    def __init__(self, path: Path) -> None:
        """Make, check and lock `path`. Raises SettingsError with one sentence when that cannot be."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(
                f"{path}: the state directory cannot be written: {error.strerror}; workerd needs its own"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise SettingsError(
                f"{path}: the state directory is in use by another workerd; each needs one of its own"
            ) from error
        try:
            self.worker = self._worker_id()
            found = os.fstat(self._lock)
            # whoever tells this place has the lock: no other process of this id has it, but one at a copy might run
            self.place = f"{clock.boot_id()}:{found.st_dev}:{found.st_ino}"
        except (OSError, ValueError) as error:
            os.close(self._lock)
            raise SettingsError(
                f"{path / _WORKER_ID}: the worker's identity cannot be kept or read: {error}"
            ) from error

    def close(self) -> None:
        """Give the directory free."""
        os.close(self._lock)

    def _worker_id(self) -> str:
        """The UUID in the file, drawn and made durable when there is none. Raises OSError or ValueError."""
        file = self.path / _WORKER_ID
        if file.exists():
            return str(uuid.UUID(file.read_text(encoding="ascii").strip()))
        worker = str(uuid.uuid4())
        fresh = file.with_suffix(".new")
        with fresh.open("w", encoding="ascii") as stream:
            stream.write(worker + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        fresh.rename(file)
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return worker
