"""Leadership on one host: whoever holds the lock on the state directory leads. Knows nothing of epochs."""

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from schedulerd.adapters.election import LeaderCard, Lease
from schedulerd.errors import SettingsError

LOCK = "leader.lock"


class FileLock:
    """A lock file in `directory`. The kernel gives it up when the process ends, however it ends."""

    def __init__(self, directory: Path, lock: str = LOCK, *, is_shared: bool = False) -> None:
        """`is_shared`: others may share it, but nobody who wants it alone gets it."""
        self._path = directory / lock
        self._is_shared = is_shared
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody has it; never waits. True when it is ours, also if it was before.

        Raises SettingsError when the state directory cannot be written.
        """
        if self._file is not None:
            return True
        while (opened := self._locked()) is not None:
            if self._is_there(opened):
                os.ftruncate(opened, 0)
                os.pwrite(opened, f"{os.getpid()}\n".encode(), 0)
                self._file = opened
                return True
            os.close(opened)  # whoever had it removed it meanwhile: it guards nothing any more
        return False

    def holder(self) -> str:
        """Who holds the lock, in a sentence; for when `acquire` said False."""
        try:
            text = self._path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            text = ""
        who = f"process {text}" if text.isdigit() else "another process"
        return f"{self._path}: {who} holds the lock; only one schedulerd can use what it guards"

    def close(self, *, remove: bool = False) -> None:
        """Give the lock up; `remove`: and its file, of which nobody is to find a trace."""
        if self._file is not None:
            if remove:
                self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _locked(self) -> int | None:
        """The file, locked; None when somebody else has the lock."""
        try:
            # not inherited by children: one that outlived us would go on holding the lock
            opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise SettingsError(
                f"{self._path}: the lock cannot be opened: {error.strerror}; state_dir has to be a directory "
                "that schedulerd may write to"
            ) from error
        try:
            fcntl.flock(opened, (fcntl.LOCK_SH if self._is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(opened)
            return None
        except OSError as error:
            os.close(opened)
            raise SettingsError(f"{self._path}: this file system gives no locks: {error.strerror}") from error
        return opened

    def _is_there(self, opened: int) -> bool:
        """Whether the path still names the file that was locked."""
        try:
            return os.path.samestat(os.fstat(opened), os.stat(self._path))
        except FileNotFoundError:
            return False


class FileElection:
    """`Election` by locks: whoever has them all leads from its start to its end, and nobody stands by."""

    kind = "file"
    trouble = ""
    fault = ""

    def __init__(self, locks: Sequence[FileLock], card: LeaderCard) -> None:
        self._locks = locks
        self._card = card
        self._lease: Lease | None = None

    @property
    def lease(self) -> Lease | None:
        """Ours from the start to the end."""
        return self._lease

    @property
    def standbys(self) -> tuple[str, ...] | None:
        """Nobody."""
        return ()

    @property
    def leader(self) -> LeaderCard | None:
        """Ourselves; others do not even start."""
        return self._card if self._lease is not None and self._lease.holds() else None

    @property
    def before(self) -> LeaderCard | None:
        """The ledger alone knows."""
        return None

    def start(self, on_change: Callable[[], None]) -> None:
        """Lead. Raises SettingsError when another process has one of the locks."""
        for lock in self._locks:
            if not lock.acquire():
                self.stop()
                raise SettingsError(lock.holder())
        self._lease = Lease()
        on_change()

    def announce(self, card: LeaderCard) -> None:
        """Nobody but our own API reads it."""
        self._card = card

    def refuse(self, own: str, theirs: LeaderCard) -> None:
        """There is nobody else of whom we know."""

    def give_up(self, why: str, aside: float) -> bool:
        """There is nobody else: the lease stays."""
        return False

    def stop(self) -> None:
        """Give the locks up."""
        if self._lease is not None:
            self._lease.end("schedulerd is stopping")
        for lock in self._locks:
            lock.close()
