"""Bodies, answers and lists of the HTTP API that are not nouns of their own; api_types has the nouns."""

from dataclasses import dataclass, field
from typing import ClassVar

from schedulerd.protocol.api_types import Event, Job, NextFire, Run, Slot, Subtask, Worker

_NOTHING_ELSE = {"extra": "forbid"}  # how pydantic is told to refuse fields that a body does not have


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer:
    """What a check of job files found; without faults they would be taken."""

    jobs: list[str]
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The scheduler that acts, as the one that answers knows it."""

    id: str
    name: str  # for people
    url: str | None  # of its API, for writes; None: its [api] advertise is not set
    epoch: int
    since: str | None  # in this epoch
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The scheduler that answers, the one that leads, and the work in its hands if these are the same."""

    version: str
    id: str
    election: str  # file | consul
    is_leading: bool
    epoch: int
    started_at: str
    ready: bool
    reasons: list[str]  # why it is not ready, in plain words
    jobs: int
    open_runs: int
    pending_subtasks: int
    open_attempts: int
    workers_ready: int
    leader: Leader | None = None  # None: nobody is known to lead
    standbys: list[str] | None = None  # names of the schedulers that would take over; None: not known
    lease_age_seconds: float | None = (
        None  # since the renewal the lease of this leader rests on; None: has no such lease
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDownAnswer:
    """Who leads after a step-down: another, or the same again if nobody else took over."""

    handed_over: bool
    leader: Leader | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the daemon does its work, and if not, why."""

    ready: bool
    reasons: list[str]
    is_leading: bool
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The version of schedulerd that answers."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of what an attempt wrote, or a gap in it."""

    run: str
    subtask: int
    attempt: int
    worker: str  # name
    stream: str  # stdout | stderr
    started_at: str | None  # of the attempt; single lines have no time of their own
    text: str | None  # without its line end, undecodable bytes replaced; None for a gap
    dropped: int = 0  # bytes that were not kept at this place


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseBody:
    """What a pause may say; `for_seconds` or `until`, not both."""

    __pydantic_config__: ClassVar[dict[str, str]] = _NOTHING_ELSE

    reason: str = ""
    for_seconds: float | None = None
    until: str | None = None  # RFC 3339
    cancel_running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerBody:
    """What a trigger may say."""

    __pydantic_config__: ClassVar[dict[str, str]] = _NOTHING_ELSE

    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelBody:
    """How a run is ended: TERM and then KILL, or KILL at once."""

    __pydantic_config__: ClassVar[dict[str, str]] = _NOTHING_ELSE

    kill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAnswer:
    """The run that will end as cancelled."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBody:
    """Which subtasks of a run are run again: all, or those that did not succeed."""

    __pydantic_config__: ClassVar[dict[str, str]] = _NOTHING_ELSE

    failed_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAnswer:
    """The run that is open again."""

    run_id: str
    outcome: str  # started | queued: it waits for other runs of its job


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckBody:
    """Job files to check: path below the jobs directory -> text."""

    __pydantic_config__: ClassVar[dict[str, str]] = _NOTHING_ELSE

    files: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """Jobs by name."""

    items: list[Job]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """Runs, newest first."""

    items: list[Run]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskList:
    """Subtasks of one run, by index."""

    items: list[Subtask]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotList:
    """Fire times, newest first."""

    items: list[Slot]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerList:
    """Workers by name."""

    items: list[Worker]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventList:
    """Events, newest first."""

    items: list[Event]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextList:
    """Coming fire times, soonest first."""

    items: list[NextFire]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """RFC 9457 problem details; a refused trigger adds what became of it."""

    type: str
    title: str
    status: int
    detail: str
    near: list[str] = field(default_factory=list)  # names like the one that was not found
    faults: list[str] = field(default_factory=list)  # one line each: where, what was found, what was expected
    outcome: str | None = None  # of a refused trigger
    run_id: str | None = None  # of a refused trigger
    reason: str | None = None  # of a refused trigger
    leader: Leader | None = None  # who can do it, when a standby was asked
