"""What a worker remembers. One owner: the thread that calls step. Decides nothing, keeps nothing on disk."""

from collections import deque
from enum import Enum

from msgspec import Struct, field

from schedulerd.protocol.codec import Envelope
from schedulerd.protocol.messages import Counted, Heartbeat, Inventory, Order, Outcome, Spec
from workerd.records import Booted

TOMBSTONE_MS = 3_600_000  # how long after its expiry an acknowledged attempt is remembered


class Limits(Struct, frozen=True, kw_only=True):
    """How long and how many; the leader's side of these stands in the protocol's table of leases."""

    beat_ms: int = 2_000
    fence_term_ms: int = 40_000  # without an echo for so long, guarded attempts get TERM
    fence_kill_ms: int = 45_000  # and KILL
    helper_lease_ms: int = (
        40_000  # how long the helper process keeps children without a word from this worker
    )
    leave_wait_ms: int = 10_000  # how long a drained worker waits for its last acknowledgements
    reconnect_ms: int = 500  # from a new leader's Hello to sending it all results again
    ended_bytes: int = 256 << 20  # with so much unacknowledged output nothing new is accepted
    ended: int = 50_000  # nor with so many results
    tombstones: int = 200_000  # beyond that, expired ones are forgotten before their hour is over

    def backlog(self, slots: int) -> int:
        """How many attempts may be live or waiting at once: the slots, and room for a leader's prefetch."""
        return 2 * slots + 16


class Phase(Enum):
    """Where an attempt is; tombstones are kept apart."""

    WAITING = "waiting"  # accepted, journaled, no free slot yet
    STARTING = "starting"  # handed to the helper process
    RUNNING = "running"  # its process exists
    ENDED = "ended"  # outcome journaled, not acknowledged


class Identity(Struct, frozen=True, kw_only=True):
    """Who this worker is for one boot."""

    worker: str  # UUID of the state directory
    nonce: str  # drawn at this boot
    name: str  # for people
    slots: int
    labels: tuple[str, ...]
    version: str
    place: str = ""  # of the state directory that it has locked: this directory in this boot of this host
    endpoint: str = ""  # HOST:PORT that leaders connect to


class Attempt(Struct, gc=False):
    """One attempt in hand."""

    digest: int
    expiry_clock_ms: int
    epoch: int
    phase: Phase = Phase.WAITING
    order: Order | None = None  # until it has ended
    spec: Spec | None = None
    started_utc_ms: int | None = None
    ending: str = ""  # "" | cancelled | fenced: why it was told to end
    outcome: Outcome | None = None  # from ENDED on


class WorkerState(Struct, kw_only=True):
    """All of it. Dicts keep insertion order, so that a replay is the same in every process."""

    identity: Identity
    limits: Limits = Limits()
    boots: list[Booted] = field(default_factory=list)  # of this journal, this one last
    epoch: int = 0  # highest seen
    leader: str = ""  # sender of the newest leader's last frame
    results: str = ""  # the leader's results endpoint; empty = none known
    link: str = ""  # `Hello.link` of the newest Hello, for the Inventory
    results_epoch: int = 0  # epoch of the Hello that named it
    hello_ms: int = 0  # when its newest Hello came
    stale_results: str = ""  # where a leader of an older epoch can be told so
    attempts: dict[str, Attempt] = field(default_factory=dict)
    waiting: dict[str, None] = field(default_factory=dict)  # oldest first
    live: int = 0  # STARTING and RUNNING
    guarded: dict[str, None] = field(default_factory=dict)  # of those, the ones that need the leader's echo
    ended: int = 0
    ended_bytes: int = 0  # output kept for them
    tombstones: dict[str, int] = field(default_factory=dict)  # attempt -> forget_clock_ms
    # Refused for want of room: never accepted later, for the leader gives them to another.
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)  # attempt -> expiry_clock_ms, reason
    digest: int = 0
    # Results to send again: one queue a back-off step, each in order of its due time.
    resends: list[deque[tuple[int, list[str]]]] = field(default_factory=list)
    beat: int = 0  # number of the last Heartbeat
    next_beat_ms: int = 0
    beats: dict[int, int] = field(default_factory=dict)  # number -> when it was sent; the last few
    heard: int = 0  # highest number echoed
    told: Counted = (
        Counted()
    )  # how far events tell of what it has counted; the next leader goes on from there
    lease_ms: int = 0  # when the Heartbeat that `heard` names was sent; the boot, before there is one
    drain: bool = False  # the leader asked
    leaving: bool = False  # the host asked
    leave_by_ms: int | None = None  # results are waited for until then
    has_left: bool = False
    alarm_ms: int = 0
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """ready | draining | leaving, as Heartbeat and Inventory say it."""
        if self.has_left:
            return "leaving"
        return "draining" if self.drain or self.leaving else "ready"

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the counters that the shell shows."""
        self.counters[name] = self.counters.get(name, 0) + by


def envelope_of(state: WorkerState) -> Envelope:
    """The header of what this worker sends now."""
    identity = state.identity
    return Envelope(state.epoch, identity.worker, identity.nonce, state.leader, "")


def former_of(state: WorkerState) -> list[str]:
    """Nonces of the boots before this one that have certainly ended, and whose journal this is.

    Those of this very directory, since its lock is ours now, and those that were reached where we are. A copy of the
    directory finds in its journal the boots of the first one too; of those it knows nothing.
    """
    here = state.identity
    return [
        one.nonce
        for one in state.boots
        if one.nonce != here.nonce
        and ((here.place and one.place == here.place) or (here.endpoint and one.endpoint == here.endpoint))
    ]


def inventory_of(state: WorkerState, clock_ms: int) -> Inventory:
    """Everything this worker is and holds."""
    held: dict[Phase, list[str]] = {phase: [] for phase in Phase}
    for attempt, kept in state.attempts.items():
        held[kept.phase].append(attempt)
    identity = state.identity
    return Inventory(
        name=identity.name,
        slots=identity.slots,
        labels=list(identity.labels),
        version=identity.version,
        clock_ms=clock_ms,
        accepted=held[Phase.WAITING],
        running=held[Phase.STARTING] + held[Phase.RUNNING],
        ended=held[Phase.ENDED],
        state=state.status,
        link=state.link,
        place=identity.place,
        former=former_of(state),
    )


def heartbeat_of(state: WorkerState, clock_ms: int, lag_ms: int) -> Heartbeat:
    """The beat with the number `state.beat`."""
    return Heartbeat(
        number=state.beat,
        clock_ms=clock_ms,
        free=max(0, state.identity.slots - state.live - len(state.waiting)),
        digest=state.digest,
        lag_ms=lag_ms,
        journal_depth=len(state.attempts),
        state=state.status,
        counts=counted_of(state.counters),
        told=state.told,
    )


def counted_of(counters: dict[str, int]) -> Counted:
    """What the leader is told of the counters."""
    one = counters.get
    return Counted(
        duplicate_dispatches=one("duplicate_dispatches", 0) + one("refused_tombstone", 0),
        stale_frames=one("refused_stale", 0),
        refused_orders=sum(
            one(f"refused_{reason}", 0) for reason in ("expired", "full", "draining", "faulty")
        ),
        results_resent=one("results_resent", 0),
        fenced=one("fenced", 0),
        helper_deaths=one("helper_deaths", 0),
        rival_hellos=one("hellos_of_a_rival", 0),
    )


def output_bytes(outcome: Outcome) -> int:
    """How much memory and frame an outcome's captured output takes."""
    out, err = outcome.stdout, outcome.stderr
    return len(out.head) + len(out.tail) + len(err.head) + len(err.tail)
