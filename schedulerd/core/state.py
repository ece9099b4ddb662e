"""What the leader remembers. Owned by the loop, changed only inside step(); thrown away and rebuilt after any failure.

Every dict keeps insertion order and nothing iterates a set, so that a replay does the same things in the same order.
"""

from collections import deque
from datetime import datetime

from msgspec import Struct, field

from schedulerd.core.trigger import FireTime
from schedulerd.model.job import Definition, Every, Job, Pool
from schedulerd.model.run import Again, AttemptState, Cause, Pause, RunState, SubtaskState
from schedulerd.protocol.messages import Counted, Heartbeat, Order, Spec
from schedulerd.protocol.timing import Timing

Lane = tuple[tuple[str, ...], tuple[str, ...]]  # what runs require and the pools they are in

_NO_BOUND = 1 << 30


class JobEntry(Struct, eq=False):
    """A job of the table and where its time stands."""

    definition: Definition
    first_seen: datetime
    mark: datetime  # every fire time up to and including it has its row
    anchor: datetime | None
    pause: Pause | None
    next_fire: FireTime | None = None
    runs: int = 0  # what its `max_runs` has counted; 0 for a job without
    open_runs: dict[str, None] = field(default_factory=dict)
    turn: str = ""  # id of the worker that got this job's newest subtask: round-robin goes on after it

    @property
    def job(self) -> Job:
        """The definition's job."""
        return self.definition.job

    @property
    def is_paused(self) -> bool:
        """By an operator or by its own definition."""
        return self.pause is not None or self.definition.job.paused

    @property
    def is_spent(self) -> bool:
        """`max_runs` has been reached: there are no fire times any more."""
        most = self.definition.job.max_runs
        return most is not None and self.runs >= most

    @property
    def is_from_end(self) -> bool:
        """Its next fire time counts from the end of a run; while one is open there is none."""
        trigger = self.definition.job.trigger
        return isinstance(trigger, Every) and trigger.is_from_end


class Subtask(Struct, eq=False):
    """A part of an open run."""

    index: int
    item: str | None = None  # JSON text
    pinned: str | None = None  # worker id it must run on
    state: SubtaskState = SubtaskState.PENDING
    reason: str = ""
    attempts: int = 0
    failures: int = 0  # attempts that failed or timed out
    losses: int = 0
    previous: str = "none"  # outcome of the newest attempt that ran: none | failed | lost | timeout
    avoid: str = ""  # id of the worker that had the newest attempt
    waiting_since: float = 0.0  # mono, of the first of the attempts in a row that nobody started
    is_fresh: bool = True  # not handed out since: waiting for a slot or a place in a pool does not count


class Run(Struct, eq=False):
    """A run that is not final."""

    id: str
    definition: Definition
    cause: Cause
    fire_time: datetime
    created_at: datetime
    env: dict[str, str]
    state: RunState = RunState.PENDING
    started_at: datetime | None = None
    is_split: bool = False  # the list of ordinary subtasks is complete
    is_cancelled: bool = False
    cancel_reason: str = "operator"  # of a cancelled one: operator | replaced | timeout
    is_killed: bool = False  # the cancel asked for KILL
    is_held: bool = (
        False  # it waits for its turn: a catch-up or backfill run, or one behind another of its job
    )
    rounds: int = 1  # one, and one more for each retry
    again: Again | None = None  # a retry that has not begun: which subtasks it is about
    is_failing_fast: bool = False  # one subtask has failed, and the others are being ended
    awaits_workers: bool = False  # its subtasks are known once it is known which workers are able
    ends_at: float | None = (
        None  # mono, by when all but teardown has to be over; None: no process yet, or no term
    )
    subtasks: dict[int, Subtask] = field(default_factory=dict)
    open_subtasks: int = 0  # ordinary ones that are not final
    reason: str = ""  # why it will have failed; empty so far
    pending: deque[Subtask] = field(default_factory=deque)  # to be given to any able worker
    pinned: dict[str, deque[Subtask]] = field(default_factory=dict)  # worker id -> to be given to it
    live: dict[str, "Attempt"] = field(default_factory=dict)
    specs: dict[int, Spec] = field(
        default_factory=dict
    )  # by kind of subtask: 0 ordinary, else the step's index
    unable_since: float | None = None  # mono, since when no able worker exists for what is pending
    workers: dict[str, None] = field(default_factory=dict)  # names of those that had its attempts
    enlisted: int = 0  # when it began to wait: a number that grows over all runs

    @property
    def job(self) -> Job:
        """As it was when the run was fired."""
        return self.definition.job

    @property
    def is_aside(self) -> bool:
        """A backfill run that has not had its turn: for overlap it is not there yet."""
        return self.awaits_release and self.cause is Cause.BACKFILL

    @property
    def awaits_release(self) -> bool:
        """A catch-up or backfill run that has not had its turn: it holds nobody up."""
        return self.is_held and self.again is None and self.cause in (Cause.CATCHUP, Cause.BACKFILL)

    @property
    def lane(self) -> Lane:
        """Runs of one lane wait for the same workers and the same places."""
        return self.job.requires, self.job.pools

    @property
    def is_waiting(self) -> bool:
        """There is something to give out, or will be when it is known who is able."""
        return bool(self.pending or self.pinned) or self.awaits_workers

    @property
    def room(self) -> int:
        """How many more of its attempts may begin by its own `max_parallel`."""
        most = self.job.max_parallel
        return _NO_BOUND if most is None else most - len(self.live)


class Attempt(Struct, eq=False):
    """A handing of a subtask to a worker that has not ended."""

    id: str
    run: Run
    subtask: Subtask
    worker: str  # id
    nonce: str
    fence: int
    state: AttemptState
    order: Order | None = None  # None after a takeover: it cannot be sent again, only asked about
    sends: int = 0
    resend_at: float = 0.0  # mono
    expires_at: float = 0.0  # mono, on our side: after it the worker can no longer start it
    is_accepted: bool = False
    digest: int = 0  # of its id; 0 until it is accepted
    # On the worker's clock: an inventory taken later that lacks it is the last word. None: not known after a rebuild.
    expiry_clock_ms: int | None = None


class Worker(Struct, eq=False):
    """A worker as discovery, inventories and heartbeats tell of it."""

    address: str  # key of its link
    id: str = ""
    name: str = ""
    nonce: str = ""  # empty: has not answered yet
    place: str = ""  # of its locked state directory; empty: not told
    former: tuple[str, ...] = ()  # its nonces before, the last few: frames of theirs may come late
    slots: int = 0
    labels: frozenset[str] = frozenset()
    version: str = ""
    is_found: bool = True  # discovery lists it
    is_draining: bool = False
    is_leaving: bool = False  # it said goodbye
    is_lost: bool = False
    is_open: bool = (
        True  # the newest send found a connection and nothing was refused since; a heartbeat resets it
    )
    is_suspect: bool = False  # no heartbeat for a while: no new work
    greet_until: float = 0.0  # mono: how long it is greeted more often while it does not answer
    heard_at: float = 0.0  # leader's awake time of the newest heartbeat or inventory
    last_seen: datetime | None = None
    heard: int = 0  # number of the newest heartbeat of this nonce
    clock_ms: int = 0  # its boot-time clock, at
    clock_at: float = 0.0  # mono, when that reading arrived
    mismatches: int = 0  # heartbeats in a row whose digest was not ours
    digest: int = 0  # XOR over its accepted attempts, as we see it
    attempts: dict[str, Attempt] = field(default_factory=dict)
    unaccepted: dict[str, Attempt] = field(default_factory=dict)
    newest: Heartbeat | None = None  # of this nonce
    counts: Counted | None = None  # of the heartbeat before, to see what has grown
    told: Counted | None = None  # of it, as far as events in the ledger tell of its growth

    @property
    def free(self) -> int:
        """Slots without an attempt of ours; there is no prefetch beyond the slots."""
        return self.slots - len(self.attempts)


class Tallied(Struct, eq=False):
    """Something that may repeat in storms, since it was last told; see tally.py."""

    since: datetime
    first: str  # what it was about, the first time; empty: nothing to name
    count: int


class State(Struct, eq=False):
    """Everything the leader knows; `awake` is its own clock that stands still while it is stalled."""

    epoch: int
    leader: str
    results: str  # endpoint workers send results to
    output: str
    timing: Timing
    next_fence: int = 1
    led_since: float = 0.0  # mono
    awake: float = 0.0  # seconds this leader has been running without stalls
    last_step: float = 0.0  # mono
    jobs: dict[str, JobEntry] = field(default_factory=dict)
    removed: dict[str, datetime] = field(default_factory=dict)  # marks of jobs no longer in the table
    boot: str = ""  # of the leader's host; empty: not known yet
    boots: dict[str, str] = field(default_factory=dict)  # job -> the newest boot in which it fired `@reboot`
    runs: dict[str, Run] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)  # by address
    workers_by_id: dict[str, Worker] = field(default_factory=dict)
    # Worker id -> the nonce that the leader before spoke with, as far as attempts of it are open: nobody else has a
    # word on these, until that one or its successor was heard.
    spoken_with: dict[str, str] = field(default_factory=dict)
    has_discovery: bool = False  # discovery has answered once
    able: dict[tuple[str, ...], list[Worker]] = field(
        default_factory=dict
    )  # cache, dropped when a worker changes
    waiting: dict[Lane, dict[str, Run]] = field(default_factory=dict)
    unable: dict[Lane, int] = field(
        default_factory=dict
    )  # no able worker: known of runs with numbers up to this
    enlisted: int = 0  # how many runs were enlisted: whose turn is first in lanes that share workers
    pools: dict[str, Pool] = field(default_factory=dict)
    pool_use: dict[str, int] = field(default_factory=dict)  # live attempts of jobs that name the pool
    cancelled: dict[str, Run] = field(default_factory=dict)  # runs whose attempts are asked to end
    terms: list[tuple[float, str]] = field(default_factory=list)  # heap of (mono, run id): run timeouts
    held: dict[str, deque[Run]] = field(
        default_factory=dict
    )  # catch-up and backfill runs by job, as they came
    held_turns: deque[str] = field(default_factory=deque)  # jobs whose next catch-up run may start
    backfill_width: dict[str, int] = field(
        default_factory=dict
    )  # by job: how many of its backfill runs may go at once; 1 unless it stands here
    lines: dict[str, None] = field(default_factory=dict)  # jobs with other runs that wait for their turn
    turns: dict[str, None] = field(default_factory=dict)  # those of them where one may begin now
    next_release: float = 0.0  # mono
    fires: list[tuple[datetime, str]] = field(
        default_factory=list
    )  # heap; an entry counts only if it still holds
    behind_since: float | None = None  # mono since when more is due than one step settles
    has_unheard: bool = False  # frames have arrived that this step did not get
    is_unfinished: bool = False  # more could be done than one step does: step again at once
    is_clock_believed: bool = True
    doubts_since: float | None = None  # mono since when jobs wait for the clock; None: none does
    doubted: dict[str, None] = field(
        default_factory=dict
    )  # they, also when it is believed and they come in turn
    doubted_to_look: int = 0  # so many of the first of them may not have to wait any more
    looked_at: datetime | None = None  # by the wall clock, when that was last looked at
    to_boot: deque[str] = field(default_factory=deque)  # jobs that `@reboot` may have to fire, in their turn
    deadlines: list[tuple[float, str]] = field(
        default_factory=list
    )  # heap of (mono, run id): dispatch timeouts
    requests: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  # (job, key) -> manual run, newest last
    retried: dict[str, int] = field(
        default_factory=dict
    )  # run -> its newest round, of those retried in this leadership, newest last
    next_beat: float = 0.0  # mono
    next_greet: float = 0.0  # mono: workers just found are greeted more often until they answer
    greet_until: float = 0.0  # mono: nobody is greeted more often any more
    next_tick: float = 0.0  # mono
    tally: dict[tuple[str, str, str], Tallied] = field(default_factory=dict)  # by kind, run, worker
    next_tally: float = 0.0  # mono

    def forget_able(self) -> None:
        """A worker came, went or changed: who is able must be found out again."""
        self.able.clear()

    def enlist(self, run: Run) -> None:
        """`run` has something to give out, or must still learn what."""
        lane = self.waiting.setdefault(run.lane, {})
        if run.id not in lane:
            self.enlisted += 1
            run.enlisted = self.enlisted
            lane[run.id] = run
