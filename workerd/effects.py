"""Orders the worker's core gives, to be carried out in the order they come. Leaves doing to loop.py."""

from msgspec import Struct

from schedulerd.protocol.messages import Message, Order, Spec
from workerd.records import Record


class Journal(Struct, frozen=True):
    """Write these; with `sync` they must be durable before anything that follows in the list is done."""

    records: list[Record]
    sync: bool  # False: a crash may lose them without harm


class Spawn(Struct, frozen=True, gc=False):
    """Start this attempt, unless its expiry is over when exec comes."""

    order: Order
    spec: Spec
    epoch: int


class Kill(Struct, frozen=True, gc=False):
    """End this attempt's processes."""

    attempt: str
    kill_now: bool  # True: KILL at once; False: TERM, and KILL after `kill_after_ms`
    kill_after_ms: int


class Send(Struct, frozen=True, gc=False):
    """Send this to the leader, or drop it if that cannot be done at once; `envelope_of` makes the header."""

    message: Message
    endpoint: str = ""  # not empty: to this endpoint instead of the leader's
    receiver: str = ""  # whom the envelope names; empty = the leader


class ConnectResults(Struct, frozen=True, gc=False):
    """Drop the connection for results and make a new one to this endpoint."""

    endpoint: str


class RenewLease(Struct, frozen=True, gc=False):
    """Let the helper process keep its children for so long if it hears nothing more from this worker."""

    seconds: float


class SetAlarm(Struct, frozen=True, gc=False):
    """Call step at this time even if nothing happens."""

    clock_ms: int


class Exit(Struct, frozen=True, gc=False):
    """End this worker: drained, or waited long enough."""

    reason: str


Effect = Journal | Spawn | Kill | Send | ConnectResults | RenewLease | SetAlarm | Exit
