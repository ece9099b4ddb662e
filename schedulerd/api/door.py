"""The one way from the HTTP server to the leader's loop. What is asked and answered stands in core/requests.py."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct

from schedulerd.core.requests import Request
from schedulerd.protocol.api_types import ReloadAnswer
from schedulerd.protocol.leader_card import LeaderCard

ASK_TIMEOUT = 10.0  # seconds a caller waits for the loop before it is told "unavailable"
RELOAD_TIMEOUT = 60.0  # seconds; reading many job files takes its time


class DoorStatus(Struct, frozen=True, kw_only=True):
    """What the daemon says of itself without asking its loop."""

    is_leading: bool
    epoch: int
    ready: bool
    reasons: tuple[str, ...]  # why it is not ready, in plain words; may also warn while it is
    started_at: datetime
    version: str
    id: str = ""  # of this scheduler
    election: str = "file"  # "file" | "consul"
    leader: LeaderCard | None = None  # who leads, as it was heard last
    standbys: tuple[str, ...] | None = None  # names of who would take over; None: not known
    lease_age: float | None = (
        None  # seconds since the renewal that our lease rests on was sent; None: no such lease
    )

    @property
    def is_standby(self) -> bool:
        """Whether others may lead: what this one cannot do, the leader can."""
        return not self.is_leading and self.election != "file"


class Door(Protocol):
    """What the server needs of the daemon; called from the server's threads."""

    def ask(self, request: Request, timeout: float) -> object:
        """The loop's answer to `request`, as core/requests.py names it; blocks for at most `timeout` seconds.

        What a request needs from the ledger (`PutJob.filled`) is looked up on the way.
        Raises CommandError: not_found, conflict, invalid, or unavailable when nobody leads or the loop is silent.
        """

    def status(self) -> DoorStatus:
        """What is known now; never blocks."""

    def step_down(self, by: str) -> DoorStatus:
        """Let another lead; returns how things are once somebody leads again, which may be this one.

        Blocks for a few seconds at most. Raises CommandError: conflict when nobody else could lead, unavailable when
        this one does not lead.
        """

    def reload(self, timeout: float) -> ReloadAnswer:
        """Read the jobs directory in the caller's thread and hand the table to the loop. Raises CommandError."""
