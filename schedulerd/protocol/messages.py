"""What leader and workers say to each other: one class a message. Leaves bytes and sockets to others.

Compatibility between N and N-1: the structs travel as arrays, so fields are only ever appended, with a default; a
reader ignores what it does not know yet. Numbers carry their unit in their name. Times of day are milliseconds since
1970 (UTC) in fields ending `_utc_ms`; a worker's own boot-time clock is in fields ending `_clock_ms`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

# Checked when a frame is read: what stands in these types cannot be wrong any more.
AttemptText = Annotated[str, Meta(max_length=200, pattern=r"^[^~]+~-?[0-9]{1,9}~[0-9]{1,9}$")]
KnownText = Annotated[str, Meta(max_length=200)]  # only looked up among the attempts that the reader knows
UtcMs = Annotated[int, Meta(ge=0, le=32_503_680_000_000)]  # up to the year 3000
UtcUs = Annotated[int, Meta(ge=0, le=32_503_680_000_000_000)]
ClockMs = Annotated[int, Meta(ge=0, le=1 << 53)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
OutcomeState = Literal["succeeded", "failed", "timeout", "cancelled", "lost", "unstarted"]


class Message(Struct, frozen=True, array_like=True, gc=False):
    """Base of every frame's body."""


class Counted(Struct, frozen=True, array_like=True, gc=False):
    """What a worker has counted since its boot; the leader shows it, and tells what has grown."""

    duplicate_dispatches: Count = 0  # orders for attempts it had already, answered with what it knew of them
    stale_frames: Count = 0  # frames of an older epoch, refused
    refused_orders: Count = 0  # orders it did not take: expired, full, draining, faulty
    results_resent: Count = 0  # results sent again because nobody had acknowledged them
    fenced: Count = 0  # attempts it ended because no leader was heard for too long
    helper_deaths: Count = 0  # ends of the process that starts children
    rival_hellos: Count = 0  # Hellos of a second leader of its leader's epoch, ignored


# ---- leader -> worker ------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, array_like=True):
    """The leader's beat, every 2 s; of a new epoch it makes the worker connect its result socket anew."""

    results: str  # endpoint of the leader's PULL socket, `tcp://HOST:PORT`
    output: str  # endpoint of the leader's output socket; empty = none
    heard: Count  # number of the newest Heartbeat of the addressed nonce that the leader has; 0 = none
    link: str = ""  # the leader's name for this link; an Inventory that answers echoes it
    told: Counted | None = (
        None  # what events tell already of what the addressed nonce has counted; None: not known
    )


class Spec(Struct, frozen=True, array_like=True):
    """What the attempts of one run have in common; Orders of the same Dispatch refer to it by position."""

    run: str
    job: str
    fire_utc_us: UtcUs
    timezone: str
    kind: str  # "argv" | "command" | "script"
    argv: list[str]  # kind argv: program and arguments, still with templates
    text: str  # kind command or script: the line or the body, still with templates
    shell: list[str]  # kind command or script
    env: dict[
        str, str
    ]  # of the job and the trigger, still with templates; SCHEDULERD_* is added by the worker
    cwd: str | None
    timeout_ms: int
    kill_after_ms: int
    success_codes: list[int]
    subtasks: int  # how many ordinary subtasks the run has
    output_limit: int  # bytes kept of each of stdout and stderr (half head, half tail)
    guarded: bool  # True: must not outlive 45 s without a leader's echo (overlap is not allow, or in a pool)
    chunked: bool  # True: the item is a JSON array of items


class Order(Struct, frozen=True, array_like=True):
    """One attempt handed to one worker."""

    attempt: AttemptText
    spec: int  # position in Dispatch.specs
    expiry_clock_ms: ClockMs  # on the addressed worker's boot-time clock: later than this it may not start
    fence: Count  # one sequence over all attempts of the ledger
    item: str | None = None  # JSON text
    stdin: bytes = b""
    previous: str = "none"  # outcome of the attempt before: none | failed | lost | timeout
    env: dict[str, str] = {}


class Dispatch(Message, frozen=True, array_like=True):
    """Attempts to start, each at most once, each before its expiry."""

    specs: list[Spec]
    orders: list[Order]


class Cancellation(Struct, frozen=True, array_like=True):
    """One attempt to end."""

    attempt: AttemptText
    kill: bool = False  # True: KILL at once instead of TERM and `kill_after`


class Cancel(Message, frozen=True, array_like=True):
    """End these attempts; each ends with a Result (cancelled, or what it was already)."""

    attempts: list[Cancellation]


class ResultAck(Message, frozen=True, array_like=True):
    """These results are in the ledger: the worker may forget all but the tombstone."""

    attempts: list[KnownText]


class Reconcile(Message, frozen=True, array_like=True):
    """Answer with an Inventory."""


class Revoke(Message, frozen=True, array_like=True):
    """Journal these as unstarted if they have not started, whether or not their Dispatch ever arrived."""

    attempts: list[AttemptText]


class ReadOutput(Message, frozen=True, array_like=True):
    """Send this much of an attempt's whole output to the leader's output endpoint."""

    attempt: AttemptText
    stream: str  # "stdout" | "stderr"
    offset: int
    length: int


class Drain(Message, frozen=True, array_like=True):
    """Finish what runs, accept nothing new (`on` False takes it back)."""

    on: bool = True


# ---- worker -> leader ------------------------------------------------------------------------------------------


class Heartbeat(Message, frozen=True, array_like=True):
    """The worker's beat, every 2 s, from 1 for each nonce."""

    number: Count
    clock_ms: ClockMs  # the worker's boot-time clock when it was sent
    free: int  # free slots
    digest: int  # XOR over `digest_of` of every attempt accepted, running or not yet acknowledged
    lag_ms: int  # how late the worker's loop was for this beat
    journal_depth: int  # attempts in the journal that are not tombstones
    state: str = "ready"  # ready | draining | leaving (the last beat before it ends)
    counts: Counted = Counted()
    told: Counted | None = (
        None  # the newest `Hello.told`, of whichever leader; None: this worker does not keep it
    )


class Accepted(Message, frozen=True, array_like=True):
    """These are journaled and will start, or be answered otherwise."""

    attempts: list[KnownText]


class Refusal(Struct, frozen=True, array_like=True):
    """One attempt that will not start here because of `reason`."""

    attempt: AttemptText
    reason: str  # stale | expired | full | draining | tombstone | faulty
    detail: str = ""


class Refused(Message, frozen=True, array_like=True):
    """Nothing of these ran. With reason stale, `seen` is the newer epoch it has seen (refusals may be empty)."""

    refusals: list[Refusal]
    seen: Count


class Start(Struct, frozen=True, array_like=True):
    """One attempt whose process exists."""

    attempt: KnownText
    started_utc_ms: UtcMs


class Started(Message, frozen=True, array_like=True):
    """Their processes exist."""

    starts: list[Start]


class Captured(Struct, frozen=True, array_like=True):
    """Bytes a process wrote to one stream: the head, the tail, and how many were left out between them."""

    head: bytes = b""
    tail: bytes = b""
    dropped: Count = 0


class Usage(Struct, frozen=True, array_like=True):
    """What an attempt used."""

    wall_ms: Count = 0
    user_ms: Count = 0
    system_ms: Count = 0
    peak_bytes: Count = 0  # largest resident size of the process
    output_bytes: Count = 0  # written to stdout and stderr together


class Outcome(Struct, frozen=True, array_like=True):
    """How one attempt ended."""

    attempt: AttemptText
    state: OutcomeState
    reason: str = (
        ""  # exit | signal | spawn | template | timeout | cancelled | lost | expired | revoked | fenced
    )
    detail: str = ""  # a sentence for people when `reason` is not enough
    exit_code: Annotated[int, Meta(ge=-(1 << 31), lt=1 << 32)] | None = None
    signal: Annotated[int, Meta(ge=0, le=256)] | None = None
    started_utc_ms: UtcMs | None = None  # None: it never started
    finished_utc_ms: UtcMs | None = None
    stdout: Captured = Captured()
    stderr: Captured = Captured()
    usage: Usage = Usage()


class Result(Message, frozen=True, array_like=True):
    """Journaled outcomes; sent again until acknowledged."""

    outcomes: list[Outcome]


class Inventory(Message, frozen=True, array_like=True):
    """Everything a worker is and holds: the answer to a first Hello and to Reconcile."""

    name: str
    slots: Annotated[int, Meta(ge=0, le=100_000)]
    labels: list[str]
    version: str
    clock_ms: ClockMs
    accepted: list[AttemptText]  # journaled, not started
    running: list[AttemptText]
    ended: list[AttemptText]  # result journaled, not acknowledged
    state: str = "ready"  # as in Heartbeat
    link: str = ""  # `Hello.link` of the newest Hello; tells the leader which address this worker has
    # The locked state directory, told apart from every copy of it: another nonce from the same place shows that the
    # process before has ended. Empty: not known.
    place: str = ""
    # Nonces of boots before this one, with this journal, that have certainly ended: for these it can speak.
    former: list[KnownText] = []


class OutputChunk(Message, frozen=True, array_like=True):
    """A piece of an attempt's whole output, on the output socket."""

    attempt: AttemptText
    stream: str
    offset: int
    data: bytes
    is_last: bool


# The number of a type on the wire never changes and is never used again.
TYPES: dict[int, type[Message]] = {
    1: Hello,
    2: Dispatch,
    3: Cancel,
    4: ResultAck,
    5: Reconcile,
    6: Revoke,
    7: ReadOutput,
    8: Drain,
    32: Heartbeat,
    33: Accepted,
    34: Refused,
    35: Started,
    36: Result,
    37: Inventory,
    38: OutputChunk,
}
NUMBERS: dict[type[Message], int] = {kind: number for number, kind in TYPES.items()}


def elements_of(message: Message) -> int:
    """How many attempts a worker's frame is about, at least 1: what it costs the leader to act on it."""
    match message:
        case Result(outcomes):
            return max(len(outcomes), 1)
        case Accepted(attempts):
            return max(len(attempts), 1)
        case Started(starts):
            return max(len(starts), 1)
        case _:
            return 1
