"""What happens: runs, subtasks, attempts, skips, pauses. Frozen values as the ledger keeps them; no I/O, no clock."""

import enum
from datetime import datetime

from msgspec import Struct

from schedulerd.model.job import Definition, Pool


class RunState(enum.Enum):
    """A run ends as exactly one of the last three."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """No event changes it any more."""
        return self not in (RunState.PENDING, RunState.RUNNING)


class SubtaskState(enum.Enum):
    """A subtask ends as one of the last five."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """No event changes it any more."""
        return self not in (SubtaskState.PENDING, SubtaskState.RUNNING)


class AttemptState(enum.Enum):
    """An attempt ends as one of the last six."""

    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"
    UNSTARTED = "unstarted"

    @property
    def is_final(self) -> bool:
        """No event changes it any more."""
        return self not in (AttemptState.ASSIGNED, AttemptState.ACCEPTED, AttemptState.RUNNING)


class Cause(enum.Enum):
    """Why a run exists; the API calls it `trigger`."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    CATCHUP = "catchup"
    BACKFILL = "backfill"
    CHAIN = "chain"


class SkipReason(enum.Enum):
    """Why a fire time has no run."""

    PAUSED = "paused"
    HELD = "held"
    OVERLAP = "overlap"
    QUEUE_FULL = "queue_full"
    MISFIRE = "misfire"
    TOO_OLD = "too_old"
    CALENDAR = "calendar"
    GAP = "gap"
    REMOVED = "removed"


class Pause(Struct, frozen=True, kw_only=True):
    """An operator's pause of a job; survives restarts."""

    by: str
    reason: str
    since: datetime
    until: datetime | None = None  # None: until somebody resumes it


class Skip(Struct, frozen=True, kw_only=True):
    """Consecutive fire times of one job that have no run, for one reason."""

    job: str
    version: str  # of the definition whose fire times they are
    first: datetime
    last: datetime
    count: int
    reason: SkipReason
    is_apart: bool = (
        False  # not every fire time of the definition from `first` on: never part of a longer range
    )


class NewRun(Struct, frozen=True, kw_only=True):
    """One firing as it is first recorded."""

    id: str
    job: str
    version: str  # of the definition it was fired from, which it keeps
    cause: Cause
    fire_time: datetime  # for a manual run: when it was accepted
    has_slot: bool  # True: it fills (job, fire_time), which no other run or skip may fill
    created_at: datetime
    nominal: str | None = None  # the wall text that a gap moved
    env: dict[str, str] = {}
    by: str = ""  # who asked, for a manual run
    parent: str | None = None


class NewAttempt(Struct, frozen=True, kw_only=True):
    """One handing of a subtask to a worker, as it is first recorded (state assigned)."""

    id: str
    run: str
    subtask: int
    number: int  # from 1
    worker: str  # UUID
    worker_name: str
    nonce: str
    epoch: int
    fence: int
    assigned_at: datetime


class JobRow(Struct, frozen=True, kw_only=True):
    """A job of the accepted table with what the ledger remembers of it."""

    definition: Definition
    first_seen: datetime
    mark: datetime  # high-water mark: every fire time up to and including it has its row
    anchor: datetime | None = None  # of `every`
    runs: int = 0  # what `max_runs` has counted
    pause: Pause | None = None


class OpenSubtask(Struct, frozen=True, kw_only=True):
    """A subtask of a run that is not final."""

    index: int
    item: str | None
    state: SubtaskState
    attempts: int  # how many there were
    counted_failures: int  # attempts of this round that ended failed or timeout
    losses: int  # attempts of this round that ended lost
    previous: str  # outcome of the newest ended attempt that ran: none | failed | lost | timeout
    pinned: str | None = None  # worker id, for per_worker
    reason: str = ""  # why it is final without success


class OpenAttempt(Struct, frozen=True, kw_only=True):
    """An attempt that is not final."""

    attempt: NewAttempt
    state: AttemptState
    started_at: datetime | None


class Again(enum.Enum):
    """Which subtasks of a run that is retried get a new attempt."""

    ALL = "all"
    FAILED = "failed"  # those that did not succeed


class OpenRun(Struct, frozen=True, kw_only=True):
    """A run that is not final, with all its subtasks (the final ones too) and its open attempts.

    A run that is to be retried is read in the same form, although it is final.
    """

    run: NewRun
    definition: Definition
    state: RunState
    started_at: datetime | None
    is_split: bool  # the list of subtasks is recorded and complete
    is_cancelled: bool  # its end was asked for
    subtasks: tuple[OpenSubtask, ...]  # ordinary ones and steps, by index
    attempts: tuple[OpenAttempt, ...]
    cancel_reason: str = "operator"  # why its end was asked for: operator | replaced | timeout
    rounds: int = 1  # one, and one more for each retry of the whole run
    again: Again | None = None  # a retry was asked for and has not begun: nothing of it is open yet


class Former(Struct, frozen=True, kw_only=True):
    """The leadership before this one, as the ledger knows it."""

    epoch: int
    leader: str  # id of the scheduler
    name: str  # what it called itself; its id when that is not known any more
    farewell: str  # how it ended by its own word, `WORD: sentence`; empty: it said none


class OpenWork(Struct, frozen=True, kw_only=True):
    """Everything a new leader must know; what is final stays in the ledger."""

    jobs: tuple[JobRow, ...]
    runs: tuple[OpenRun, ...]  # oldest first
    next_fence: int
    backfills: tuple[tuple[str, int], ...] = ()  # job -> how many of its backfill runs may go at once
    boots: tuple[
        tuple[str, str], ...
    ] = ()  # (job, the newest boot of a leader's host in which it fired `@reboot`)
    removed: tuple[tuple[str, datetime], ...] = ()  # jobs no longer in the table, with their high-water marks
    has_table: bool = False  # some job was accepted once, even if none is left
    pools: tuple[Pool, ...] = ()  # of the accepted table
    former: Former | None = None  # who led before the newest leadership; None: nobody
