"""JSON shapes of the HTTP API, shared by the server and schedulerctl. Times are RFC 3339 UTC text, durations seconds.

Plain dataclasses: msgspec reads and writes them fast, and the server's OpenAPI is made from them.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseInfo:
    """Who paused a job, why, since and until when."""

    by: str
    reason: str
    since: str
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The newest run of a job."""

    id: str
    state: str
    fire_time: str
    started_at: str | None = None
    finished_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as lists show it."""

    name: str
    state: str  # active | paused | done
    schedule: str  # the cron text, `every 5m`, `at ...` or `manual`
    timezone: str
    next_fire_time: str | None
    origin: str  # file:line or "api"
    paused: PauseInfo | None
    last_run: LastRun | None
    labels: list[str]
    tags: list[str]
    description: str = ""
    version: str = ""
    running: int = 0  # runs that are not final


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail(Job):
    """One job with its whole definition."""

    definition: dict[str, Any] = field(default_factory=dict)  # as a job file has it
    effective: dict[str, Any] = field(default_factory=dict)  # every key with its value
    source: dict[str, str] = field(default_factory=dict)  # key -> where its value came from


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskCounts:
    """How many ordinary subtasks of a run are in which state."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0  # failed, timeout, lost or cancelled
    running: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One handing of a subtask to a worker."""

    attempt: int
    id: str
    worker: str  # name
    worker_id: str
    epoch: int
    state: str
    reason: str
    exit_code: int | None
    started_at: str | None
    finished_at: str | None
    output_tail: str  # the last part of its output, undecodable bytes replaced
    signal: int | None = None
    detail: str = ""
    assigned_at: str | None = None
    usage: dict[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """A part of a run; -1 is gather, -2 setup, -3 teardown, -4 the split command."""

    index: int
    item: Any
    state: str
    attempts: list[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One firing as lists show it."""

    id: str
    job: str
    fire_time: str
    trigger: str  # schedule | manual | catchup | backfill | chain
    state: str
    late_seconds: float
    started_at: str | None
    finished_at: str | None
    subtasks: SubtaskCounts
    reason: str = ""
    parent: str | None = None
    nominal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail(Run):
    """One run with its subtasks and attempts."""

    subtasks_detail: list[Subtask] = field(default_factory=list)
    result: str | None = None  # gather's standard output, undecodable bytes replaced
    subtasks_hidden: int = 0  # left out here; the list of subtasks has them all, in pages
    rounds: int = 1  # one more for each retry of the run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs to list, newest fire time first."""

    job: str | None = None
    states: tuple[str, ...] = ()
    since: str | None = None
    cursor: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events: newest first, or oldest first from `after` on."""

    after: int | None = None  # only younger ones than this `seq`, oldest first
    before: int | None = None  # only older ones than this `seq`
    job: str | None = None
    run: str | None = None
    types: tuple[str, ...] = ()
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What became of one fire time."""

    job: str
    fire_time: str
    nominal: str | None
    outcome: str  # run | skipped
    run_id: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as the leader sees it."""

    id: str
    name: str
    state: str  # ready | suspect | lost | draining | gone
    slots: int
    running: int
    labels: list[str]
    address: str
    version: str
    last_seen: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact for people."""

    seq: int
    time: str
    type: str
    job: str | None = None
    run: str | None = None
    subtask: int | None = None
    attempt: str | None = None
    worker: str | None = None
    epoch: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextFire:
    """One coming fire time."""

    fire_time: str
    local: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerAnswer:
    """What became of a trigger."""

    outcome: str  # started | queued | refused
    run_id: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAnswer:
    """What a reload did; with `faults` nothing changed."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """A job row with its newest run, as a ledger reader gives it to the API (not a shape of the API itself)."""

    name: str
    definition_json: bytes  # msgspec JSON of model.job.Definition
    pause: PauseInfo | None
    first_seen: str
    mark: str
    anchor: str | None
    runs: int  # what `max_runs` has counted
    last_run: LastRun | None
    open_runs: int = 0  # runs that are not final


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOutput:
    """What one attempt wrote, as a ledger reader gives it."""

    run: str
    subtask: int
    attempt: int
    worker: str
    state: str
    started_at: str | None
    finished_at: str | None
    stdout_head: bytes
    stdout_tail: bytes
    stdout_dropped: int
    stderr_head: bytes
    stderr_tail: bytes
    stderr_dropped: int
