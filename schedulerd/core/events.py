"""Facts that reach the core, in the past tense. The shell makes them; the core never asks."""

from msgspec import Struct

from schedulerd.core.requests import Request
from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.messages import Message


class AlarmRang(Struct, frozen=True):
    """The time the core last asked for has come (or a clock stepped): look at what is due."""


class ClockTrusted(Struct, frozen=True):
    """The wall clock was in doubt since the host's boot and is not any more."""


class FoundWorker(Struct, frozen=True, kw_only=True):
    """A worker as discovery tells of it. Being found, or passing, is no proof that it can be reached."""

    address: str  # HOST:PORT of its PULL socket; the key of its link
    id: str = ""  # empty: not known before its Inventory
    name: str = ""
    slots: int = 0
    labels: tuple[str, ...] = ()
    is_passing: bool = True


class LeadershipGained(Struct, frozen=True):
    """The State was just rebuilt: drive on what it holds."""

    is_new: bool = False  # of a new epoch; else the same leader begins again after a batch that was refused


class HostBooted(Struct, frozen=True):
    """In which boot the leader's host is: `@reboot` fires once in each."""

    boot: str


class WorkersSeen(Struct, frozen=True):
    """Everything discovery knows now; who is missing is not dead by that."""

    workers: tuple[FoundWorker, ...]


class FrameArrived(Struct, frozen=True):
    """A well-formed frame from a worker."""

    envelope: Envelope
    message: Message


class FramesWaiting(Struct, frozen=True):
    """More frames have arrived than this step gets: nobody's silence is judged before they are heard."""


class CommandGiven(Struct, frozen=True):
    """A caller waits under `token` for the answer to `request`."""

    token: int
    request: Request


class GatherTooLarge(Struct, frozen=True):
    """The outcomes a gather step should read do not fit into a frame; it was not sent."""

    attempt: str
    size: int  # bytes
    limit: int  # bytes


class SendFailed(Struct, frozen=True):
    """The link `peer` took nothing (no connection, or its queue is full); these attempts were in the message."""

    peer: str
    attempts: tuple[str, ...]


class ResultsRepeated(Struct, frozen=True):
    """Results that came in again: the ledger had those of these attempts already."""

    attempts: tuple[str, ...]


Event = (
    LeadershipGained
    | HostBooted
    | SendFailed
    | AlarmRang
    | ClockTrusted
    | WorkersSeen
    | FrameArrived
    | FramesWaiting
    | CommandGiven
    | GatherTooLarge
    | ResultsRepeated
)
