"""Leadership on one host: whoever holds the lock on the state directory leads. Knows nothing of epochs."""

import fcntl
import os
from pathlib import Path

from schedulerd.errors import SettingsError

LOCK = "leader.lock"


class FileElection:
    """A lock file in `directory`. The kernel gives it up when the process ends, however it ends."""

    def __init__(self, directory: Path, lock: str = LOCK) -> None:
        self._path = directory / lock
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody has it; never waits. True when it is ours, also if it was before.

        Raises SettingsError when the state directory cannot be written.
        """
        if self._file is not None:
            return True
        try:
            # not inherited by children: one that outlived us would go on holding the lock
            opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise SettingsError(
                f"{self._path}: the lock cannot be opened: {error.strerror}; state_dir has to be a directory "
                "that schedulerd may write to"
            ) from error
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(opened)
            return False
        except OSError as error:
            os.close(opened)
            raise SettingsError(f"{self._path}: this file system gives no locks: {error.strerror}") from error
        os.ftruncate(opened, 0)
        os.pwrite(opened, f"{os.getpid()}\n".encode(), 0)
        self._file = opened
        return True

    def holder(self) -> str:
        """Who holds the lock, in a sentence; for when `acquire` said False."""
        try:
            text = self._path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            text = ""
        who = f"process {text}" if text.isdigit() else "another process"
        return f"{self._path}: {who} holds the lock; only one schedulerd can use what it guards"

    def close(self) -> None:
        """Give the lock up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
