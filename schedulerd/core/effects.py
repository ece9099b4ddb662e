"""Orders the core gives. Records go into one ledger transaction, in order; everything else happens after its commit."""

from datetime import datetime

from msgspec import Struct

from schedulerd.core.backfill import RowSplit
from schedulerd.model.job import Pool
from schedulerd.model.run import Again, JobRow, NewAttempt, NewRun, Pause, RunState, Skip, SubtaskState
from schedulerd.protocol.messages import Message, Order, Outcome, Spec

# ---- records: what the ledger writes ---------------------------------------------------------------------------


class RecordJobs(Struct, frozen=True):
    """Put these jobs into the accepted table (new or changed); their pause is left as it is."""

    rows: tuple[JobRow, ...]


class RecordRemovals(Struct, frozen=True):
    """Take these jobs out of the accepted table; their history stays."""

    jobs: tuple[str, ...]


class RecordPools(Struct, frozen=True):
    """All pools of the accepted table, from now on, and those that still hold open runs."""

    pools: tuple[Pool, ...]


class RecordPause(Struct, frozen=True):
    """Keep the operator's pause of a job; None resumes it."""

    job: str
    pause: Pause | None


class RecordMarks(Struct, frozen=True):
    """Move high-water marks; a mark never moves back."""

    marks: tuple[tuple[str, datetime], ...]


class RecordAnchors(Struct, frozen=True):
    """What these jobs count their next fire time from (`every_from = "end"`)."""

    anchors: tuple[tuple[str, datetime], ...]


class RecordRunCounts(Struct, frozen=True):
    """How many runs `max_runs` of these jobs has counted."""

    counts: tuple[tuple[str, int], ...]


class RecordBoots(Struct, frozen=True):
    """(job, boot of the leader's host): its `@reboot` of that boot has its row."""

    boots: tuple[tuple[str, str], ...]


class RecordSkips(Struct, frozen=True):
    """Fire times without a run. A range that begins is told as an event `skipped`; one that only grows is not."""

    skips: tuple[Skip, ...]
    found_at: datetime | None = (
        None  # when it was decided: the time of the events; None: when the newest was due
    )


class RecordBackfill(Struct, frozen=True):
    """Ranges of skips are split where runs will stand, and how many backfill runs of the job may go at once."""

    job: str
    max_parallel: int
    splits: tuple[RowSplit, ...]


class RecordRuns(Struct, frozen=True):
    """New runs, state pending."""

    runs: tuple[NewRun, ...]


class RecordSubtasks(Struct, frozen=True):
    """New subtasks of a run: (index, item as JSON text, pinned worker id); `is_split` closes the list."""

    run: str
    subtasks: tuple[tuple[int, str | None, str | None], ...]
    is_split: bool


class RecordReopening(Struct, frozen=True):
    """A final run is pending again, for its round number `rounds`: what made it final is forgotten, attempts stay."""

    run: str
    rounds: int  # one more than it has had
    again: Again


class RecordRound(Struct, frozen=True):
    """The retry of a reopened run begins: these subtasks are pending again, with their failures counted anew."""

    run: str
    first_fence: int  # attempts of this round have it or a higher one
    subtasks: tuple[int, ...]


class RecordAttempts(Struct, frozen=True):
    """New attempts, state assigned; their runs and subtasks become running if they were pending."""

    attempts: tuple[NewAttempt, ...]


class RecordStarted(Struct, frozen=True):
    """Attempts whose process exists, since when; not written for attempts that are final already."""

    starts: tuple[tuple[str, datetime], ...]


class RecordOutcomes(Struct, frozen=True):
    """How attempts ended; an attempt that is final already keeps what it has."""

    outcomes: tuple[Outcome, ...]


class RecordLateResults(Struct, frozen=True):
    """Outcomes of attempts that are not open any more; the ledger compares them with what it has.

    A worker's word on an attempt recorded as lost takes the place of `lost`, with an event `late_result`; one that the
    ledger lacks becomes an event `unknown_result`; any other (a result that was sent twice) changes nothing.
    """

    outcomes: tuple[Outcome, ...]
    time: datetime


class RecordSubtaskStates(Struct, frozen=True):
    """New states of subtasks of a run: (index, state, reason); pending means it will be given out again."""

    run: str
    states: tuple[tuple[int, SubtaskState, str], ...]


class RecordResult(Struct, frozen=True):
    """What gather has printed: the run's result."""

    run: str
    result: bytes


class RecordCancel(Struct, frozen=True):
    """The end of a run that is not final yet was asked for; the first one who asks counts."""

    run: str
    by: str  # who, or the run that takes its place
    reason: str = "operator"  # operator | replaced | timeout


class CloseRun(Struct, frozen=True, kw_only=True):
    """A run becomes final."""

    run: str
    job: str
    cause: str
    fire_time: datetime
    created_at: datetime
    started_at: datetime | None
    state: RunState
    reason: (
        str  # "" when it succeeded; else exit, signal, timeout, lost, no_worker, split, gather, operator ...
    )
    finished_at: datetime
    workers: tuple[str, ...] = ()  # names, of the run's attempts, without repeats
    rounds: int = 1  # more than one: it was retried, and started_at is that of the retry


class RecordEvent(Struct, frozen=True, kw_only=True):
    """A fact for people and for `why`."""

    type: str
    time: datetime
    job: str | None = None
    run: str | None = None
    subtask: int | None = None
    attempt: str | None = None
    worker: str | None = None  # name or id
    detail: str = ""


Record = (
    RecordJobs
    | RecordRemovals
    | RecordPools
    | RecordPause
    | RecordMarks
    | RecordAnchors
    | RecordRunCounts
    | RecordBoots
    | RecordSkips
    | RecordBackfill
    | RecordRuns
    | RecordReopening
    | RecordRound
    | RecordSubtasks
    | RecordAttempts
    | RecordStarted
    | RecordOutcomes
    | RecordLateResults
    | RecordSubtaskStates
    | RecordResult
    | RecordCancel
    | CloseRun
    | RecordEvent
)

# ---- orders: what the shell does after the commit --------------------------------------------------------------


class Connect(Struct, frozen=True):
    """Open a PUSH socket to this address, known by this key."""

    peer: str  # key of the link: the worker's address
    address: str  # HOST:PORT


class Disconnect(Struct, frozen=True):
    """Close that PUSH socket."""

    peer: str


class Send(Struct, frozen=True):
    """Hand a message to the link `peer`; it may be lost."""

    peer: str
    receiver: str  # worker id; empty when not known yet
    nonce: str  # empty only in a first Hello
    message: Message


class SendGather(Struct, frozen=True):
    """Send a Dispatch of one order whose standard input is the run's outcomes, read from the ledger."""

    peer: str
    receiver: str
    nonce: str
    run: str
    spec: Spec
    order: Order


class SetAlarm(Struct, frozen=True):
    """Ring at the earlier of these two; None = that clock needs no ring."""

    utc: datetime | None
    mono: float | None


class Reply(Struct, frozen=True):
    """Answer the caller that waits under `token`, with an answer of core/requests.py or a CommandError."""

    token: int
    answer: object


class StepDown(Struct, frozen=True):
    """A newer epoch exists: drop this batch's sends, forget the State, lead again with a higher epoch or stop."""

    seen: int


class Drop(Struct, frozen=True):
    """A frame was not acted on: for a counter and a line in the log, at most one a minute for each peer."""

    reason: str  # unknown_worker | nonce | duplicate_worker | late | direction
    peer: str


class Count(Struct, frozen=True):
    """For a counter only; nothing is done."""

    what: str  # retries | dispatches_resent | revocations | duplicate_results
    label: str = ""  # of retries: what came before
    by: int = 1


Effect = Record | Connect | Disconnect | Send | SendGather | SetAlarm | Reply | StepDown | Drop | Count


class Noted(Struct, frozen=True):
    """What a commit found out by itself."""

    events: tuple[RecordEvent, ...] = ()  # written already: late_result, unknown_result, skipped
    repeated: tuple[str, ...] = ()  # attempts whose result was there already
