"""What callers may ask of the leader, and what they are answered. Values only; commands.py decides."""

from datetime import datetime

from msgspec import Struct

from schedulerd.core.backfill import Fill, RowSplit
from schedulerd.model.job import Definition, Pool
from schedulerd.model.run import OpenRun, Pause
from schedulerd.protocol.messages import Heartbeat

KEY_USED = "this key was used before; nothing new was started"


class PauseJob(Struct, frozen=True, kw_only=True):
    """Answered by JobView; pausing a paused job replaces who, why and until when."""

    job: str
    by: str
    reason: str = ""
    until: datetime | None = None
    cancel_running: bool = False


class ResumeJob(Struct, frozen=True, kw_only=True):
    """Answered by JobView; a job paused by its own definition is refused (conflict)."""

    job: str
    by: str


class TriggerJob(Struct, frozen=True, kw_only=True):
    """Answered by Triggered; the same `key` names the same run and starts nothing new."""

    job: str
    key: str
    by: str
    env: dict[str, str] = {}


class CancelRun(Struct, frozen=True, kw_only=True):
    """Answered by Cancelled; a run that is final already is a conflict."""

    run: str
    by: str
    kill: bool = False


class RetryRun(Struct, frozen=True, kw_only=True):
    """Answered by Retried; a run that is not final, or that `overlap` keeps out, is a conflict."""

    found: OpenRun  # the final run, as the ledger has it
    by: str
    failed_only: bool = False  # else its subtasks that succeeded are run again as well


class BackfillJob(Struct, frozen=True, kw_only=True):
    """Answered by Backfilled: runs for passed fire times without one, as `backfill.plan` found them."""

    job: str
    by: str
    version: str  # of the definition it was planned for
    fills: tuple[Fill, ...]
    splits: tuple[RowSplit, ...]
    max_parallel: int = 1


class CancelBackfill(Struct, frozen=True, kw_only=True):
    """Answered by Backfilled: every backfill run of the job that is not final is cancelled."""

    job: str
    by: str


class PutJob(Struct, frozen=True, kw_only=True):
    """Create or change a job through the API. Answered by Stored; a job owned by a file is a conflict."""

    definition: Definition
    by: str
    expected_version: str | None = None  # If-Match
    must_be_new: bool = False  # If-None-Match: *
    filled: tuple[datetime, ...] = ()  # of its past `at` instants, those that have their row


class DeleteJob(Struct, frozen=True, kw_only=True):
    """Answered by Stored; a job owned by a file is a conflict."""

    job: str
    by: str
    expected_version: str | None = None
    cancel: bool = False  # also cancel its open runs


class ReplaceTable(Struct, frozen=True, kw_only=True):
    """All jobs that files own, from now on. Answered by TableReplaced; a name that an API job has is a conflict."""

    definitions: tuple[Definition, ...]
    pools: tuple[Pool, ...] = ()  # all there are; every pool that `definitions` name is among them
    filled: tuple[tuple[str, datetime], ...] = ()  # (job, past `at` instant) pairs that have their row


class DescribeJobs(Struct, frozen=True, kw_only=True):
    """Answered by a tuple of JobView, in the order asked for; unknown names are left out."""

    jobs: tuple[str, ...]


class WalkJobs(Struct, frozen=True, kw_only=True):
    """Answered by a tuple of at most `most` JobViews of the table, from its `first` one on: nobody waits long."""

    first: int = 0
    most: int = 500


class DescribeWorkers(Struct, frozen=True, kw_only=True):
    """Answered by a tuple of WorkerView."""


class DescribeCluster(Struct, frozen=True, kw_only=True):
    """Answered by ClusterView."""


Request = (
    PauseJob
    | ResumeJob
    | TriggerJob
    | CancelRun
    | RetryRun
    | BackfillJob
    | CancelBackfill
    | PutJob
    | DeleteJob
    | ReplaceTable
    | DescribeJobs
    | WalkJobs
    | DescribeWorkers
    | DescribeCluster
)


class JobView(Struct, frozen=True, kw_only=True):
    """A job as the leader sees it now."""

    definition: Definition
    state: str  # active | paused | done
    pause: Pause | None
    next_fire_time: datetime | None
    open_runs: tuple[str, ...]


class Triggered(Struct, frozen=True, kw_only=True):
    """What became of a TriggerJob."""

    outcome: str  # started | queued | refused
    run: str | None
    reason: str = ""


class Cancelled(Struct, frozen=True, kw_only=True):
    """The run will end as cancelled."""

    run: str


class Retried(Struct, frozen=True, kw_only=True):
    """The run is open again."""

    run: str
    outcome: str  # started | queued


class Backfilled(Struct, frozen=True, kw_only=True):
    """The runs that were made, or cancelled."""

    runs: tuple[str, ...]


class Stored(Struct, frozen=True, kw_only=True):
    """The job table holds this now."""

    definition: Definition
    is_new: bool = False


class TableReplaced(Struct, frozen=True, kw_only=True):
    """Names, each list sorted."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


class WorkerView(Struct, frozen=True, kw_only=True):
    """A worker as the leader sees it now."""

    id: str  # empty: found, but it has not answered yet
    name: str
    state: str  # ready | suspect | lost | draining | gone
    slots: int
    running: int
    labels: tuple[str, ...]
    address: str
    version: str
    last_seen: datetime | None
    newest: Heartbeat | None = None  # what it said of itself last


class ClusterView(Struct, frozen=True, kw_only=True):
    """The leader about itself."""

    epoch: int
    jobs: int
    open_runs: int
    pending_subtasks: int
    open_attempts: int
    workers_ready: int
