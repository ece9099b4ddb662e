"""The door of a running schedulerd, at which its HTTP server knocks: see api/door.py. Leaves deciding to the loop."""

import threading
from importlib.metadata import version

from msgspec import structs

from schedulerd.adapters import jobfiles
from schedulerd.adapters.election import Election, who_leads
from schedulerd.api.door import DoorStatus
from schedulerd.core import requests as rq
from schedulerd.daemon.inbox import Inbox
from schedulerd.daemon.loop import ASIDE, Loop
from schedulerd.daemon.standing import Standing
from schedulerd.daemon.table import JobFiles
from schedulerd.errors import CommandError
from schedulerd.hostkit import clock
from schedulerd.model.job import Cron
from schedulerd.protocol.api_types import ReloadAnswer

VERSION = version("schedulerd")
STEP_DOWN_WAIT = ASIDE + 5.0  # seconds until somebody has to lead again after a step-down


class ServiceDoor:
    """`api.door.Door`; called from the server's threads."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        id: str,
        loop: Loop,
        election: Election,
        files: JobFiles,
        standing: Standing,
    ) -> None:
        self._inbox = inbox
        self._id = id
        self._loop = loop
        self._election = election
        self._files = files
        self._standing = standing
        self._started_at = clock.utc_now()
        self._pause = threading.Event()  # never set: its wait is the pause between two looks

    def ask(self, request: rq.Request, timeout: float) -> object:
        """See api/door.py."""
        if not self._loop.is_alive:
            raise CommandError("unavailable", "schedulerd is stopping")
        if not self._standing.leads() and self._election.kind != "file":
            raise CommandError("unavailable", who_leads(self._election))
        if isinstance(request, rq.PutJob):
            trigger = request.definition.job.trigger
            if isinstance(trigger, Cron) and trigger.is_at_boot and not self._files.has_boots:
                raise CommandError("invalid", f"schedule: {jobfiles.NO_BOOTS}")
            filled = self._files.filled([request.definition])
            request = structs.replace(request, filled=tuple(instant for _, instant in filled))
        return self._inbox.ask(request, timeout)

    def status(self) -> DoorStatus:
        """See api/door.py."""
        lease = self._election.lease
        has_term = self._election.kind != "file" and lease is not None and self._loop.is_leading
        return DoorStatus(
            is_leading=self._standing.leads(),
            epoch=self._standing.epoch(),
            ready=self._standing.is_ready(),
            reasons=tuple(self._standing.reasons()),
            started_at=self._started_at,
            version=VERSION,
            id=self._id,
            election=self._election.kind,
            leader=self._election.leader,
            standbys=self._election.standbys,
            lease_age=clock.boot_seconds() - lease.sent_at if lease is not None and has_term else None,
        )

    def step_down(self, by: str) -> DoorStatus:
        """See api/door.py."""
        if self._election.kind == "file":
            raise CommandError(
                "conflict",
                'there is no standby: [election] kind is "file", nobody else can lead; restart this schedulerd instead',
            )
        epoch = self._loop.epoch
        if not self._loop.is_leading:
            raise CommandError("unavailable", who_leads(self._election))
        self._loop.step_down(by)
        deadline = clock.boot_seconds() + STEP_DOWN_WAIT
        while clock.boot_seconds() < deadline:
            leader = self._election.leader
            if (
                leader is not None
                and leader.epoch > epoch
                and (leader.id != self._id or self._loop.is_leading)
            ):
                break
            self._pause.wait(0.02)
        return self.status()

    def reload(self, timeout: float) -> ReloadAnswer:
        """See api/door.py."""
        return self._files.reload(timeout)
