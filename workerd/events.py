"""Facts that reach the worker's core, and the clock reading that comes with them. Decides nothing."""

from msgspec import Struct

from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.messages import Message, Outcome


class WorkerMoment(Struct, frozen=True, gc=False):
    """Now, on the worker's two clocks; read once a batch by the shell."""

    clock_ms: int  # boot-time clock: for expiries, leases, resends
    utc_ms: int  # since 1970: only ever shown to people


class FrameArrived(Struct, frozen=True):
    """A well-formed frame came in on the PULL socket, from whomever and for whomever."""

    envelope: Envelope
    message: Message


class ChildStarted(Struct, frozen=True, gc=False):
    """The process of an attempt exists."""

    attempt: str
    started_utc_ms: int


class ChildExpired(Struct, frozen=True, gc=False):
    """The spawning side found the expiry over right before exec: provably unstarted."""

    attempt: str


class ChildEnded(Struct, frozen=True, gc=False):
    """The process of an attempt is gone, or could never be made; `outcome` says how it ended."""

    outcome: Outcome


class HelperDied(Struct, frozen=True, gc=False):
    """The helper process is gone and its children with it: what it had in hand is lost."""

    detail: str


class LinkUp(Struct, frozen=True, gc=False):
    """The connection to the leader's results endpoint stands (again); what was sent before may be lost."""


class DrainAsked(Struct, frozen=True, gc=False):
    """The host wants this worker to end: finish what runs, then exit."""


class SettingsRead(Struct, frozen=True, gc=False):
    """The settings were read anew; these may have changed."""

    slots: int
    labels: tuple[str, ...]


class Tick(Struct, frozen=True, gc=False):
    """Time has passed and nothing else."""


Event = (
    FrameArrived
    | ChildStarted
    | ChildExpired
    | ChildEnded
    | HelperDied
    | LinkUp
    | DrainAsked
    | SettingsRead
    | Tick
)
