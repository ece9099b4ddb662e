"""The door of a running schedulerd, at which its HTTP server knocks: see api/door.py. Leaves deciding to the loop."""

from collections.abc import Callable
from importlib.metadata import version

from msgspec import structs

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.api.door import DoorStatus
from schedulerd.core import requests as rq
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import Loop
from schedulerd.daemon.standing import Standing
from schedulerd.daemon.table import JobFiles
from schedulerd.hostkit import clock
from schedulerd.protocol.api_types import ReloadAnswer

VERSION = version("schedulerd")


class ServiceDoor:
    """`api.door.Door`; called from the server's threads."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        loop: Loop,
        files: JobFiles,
        standing: Standing,
        open_reader: Callable[[], LedgerReader],
    ) -> None:
        self._inbox = inbox
        self._loop = loop
        self._files = files
        self._standing = standing
        self._open_reader = open_reader
        self._started_at = clock.utc_now()

    def ask(self, request: rq.Request, timeout: float) -> object:
        """See api/door.py."""
        if isinstance(request, rq.PutJob):
            filled = self._files.filled([request.definition])
            request = structs.replace(request, filled=tuple(instant for _, instant in filled))
        if isinstance(request, rq.TriggerJob):
            known = self._manual_run(request.job, request.key)
            if known is not None:
                return rq.Triggered(outcome="started", run=known, reason=rq.KEY_USED)
        return self._inbox.ask(request, timeout)

    def status(self) -> DoorStatus:
        """See api/door.py."""
        return DoorStatus(
            is_leading=self._loop.is_leading,
            epoch=self._loop.epoch,
            ready=self._standing.is_ready(),
            reasons=tuple(self._standing.reasons()),
            started_at=self._started_at,
            version=VERSION,
        )

    def reload(self, timeout: float) -> ReloadAnswer:
        """See api/door.py."""
        return self._files.reload(timeout)

    def _manual_run(self, job: str, key: str) -> str | None:
        """The run that this key made before, also before a restart."""
        reader = self._open_reader()
        try:
            return reader.manual_run(job, key)
        finally:
            reader.close()
