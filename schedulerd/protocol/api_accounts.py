"""The account of one fire time or run: what `why` answers, and the facts a ledger reader gives for it.

Times are RFC 3339 UTC text. Plain dataclasses, as in api_types.
"""

from dataclasses import dataclass, field

from schedulerd.protocol.api_types import Event, RunDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyEntry:
    """One thing that happened, or will, on the way to the verdict."""

    time: str
    source: str  # trigger | job | operator | leader | ledger | run | scheduler NAME epoch N | worker NAME
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What became of one fire time or run, and why."""

    job: str
    fire_time: str | None  # None: the job has none at all
    run_id: str | None
    verdict: str  # ran | running | pending | skipped | due | not_yet | not_a_fire_time | never | no_row
    reason: str  # a word (of the skip, the run's state ...)
    text: str  # the whole answer in a sentence
    timeline: list[WhyEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Since when somebody leads."""

    epoch: int
    leader: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FireAccount:
    """What the ledger knows about one instant of a job (not a shape of the API itself)."""

    run_id: str | None = None  # the run that fills the slot
    reason: str | None = (
        None  # why it was skipped; the row may be a range, and the instant no fire time at all
    )
    first: str | None = None  # of that row
    last: str | None = None
    count: int = 0
    definition_json: bytes | None = None  # the version whose fire times a skip row stands for
    counted_from: str | None = (
        None  # since when the version in force counts; None: the job is not in the table
    )
    paused: Event | None = None  # the newest pause that began not later
    resumed: Event | None = None  # its end, if it has one
    open_runs: list[str] = field(
        default_factory=list
    )  # runs of the job that were not final then, oldest first
    leadership: Leadership | None = None  # the first one that began later


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """One run with what was noted about it (not a shape of the API itself)."""

    detail: RunDetail
    created_at: str
    has_slot: bool
    asked_by: str
    definition_json: bytes  # the definition it was fired from
    events: list[Event] = field(default_factory=list)  # about the run, oldest first
    is_more: bool = False  # there are more of them
    beside: list[Event] = field(default_factory=list)  # about its workers and leaders while it was open
    leaderships: list[Leadership] = field(default_factory=list)  # the one that recorded it, and later ones
    ahead: list[str] = field(default_factory=list)  # runs of the job that were open when it was recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRun:
    """A fire time that gets a run by a backfill."""

    fire_time: str
    run_id: str
    was: str | None  # the reason of its skip; None: it had no row


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillAnswer:
    """What a backfill does, or with `dry_run` would do."""

    job: str
    dry_run: bool
    max_parallel: int
    existing: int  # fire times of the interval that have a run already, which stays as it is
    runs: list[BackfillRun]  # oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillEnd:
    """The backfill runs that were not final and end as cancelled."""

    job: str
    cancelled: list[str]
