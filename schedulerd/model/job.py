"""What is configured: a job, its trigger, its work and its policies. Frozen values, no I/O, no clock.

These types are already checked when they exist: the job-file reader and the API parse into them, and nothing inside
validates again. They are stored in the ledger as JSON (msgspec), so a field may be added with a default, never renamed.
No value can lead back to itself, so the garbage collector need not look at them (`gc=False`): a table has many.
"""

import enum
from datetime import datetime, timedelta

from msgspec import Struct


class Cron(Struct, frozen=True, kw_only=True, gc=False, tag="cron", omit_defaults=True):
    """Fires when one of `expressions` matches the wall clock of the job's zone."""

    expressions: tuple[str, ...]
    is_at_boot: bool = False  # `@reboot`: also once in every boot of the leader's host


class Every(Struct, frozen=True, kw_only=True, gc=False, tag="every", omit_defaults=True):
    """Fires at anchor + k x period, k from 1; what it counts from now is kept in the ledger beside the job.

    With `is_from_end` there is one fire time at a time: the period after the newest end of a run.
    """

    period: timedelta
    anchor: datetime | None = None  # as configured; None: when the job was first seen, spread by its name
    is_from_end: bool = False


class At(Struct, frozen=True, kw_only=True, gc=False, tag="at"):
    """Fires once at each of `instants` (aware, UTC, ascending, no repeats)."""

    instants: tuple[datetime, ...]


class Manual(Struct, frozen=True, kw_only=True, gc=False, tag="manual"):
    """Never fires by itself."""


Trigger = Cron | Every | At | Manual


class Gap(enum.Enum):
    """What happens to a fixed fire time that a spring change skips."""

    RUN = "run"  # at the first instant after the gap
    SKIP = "skip"


class Fold(enum.Enum):
    """Which pass of a wall time that comes twice a fixed fire time takes."""

    FIRST = "first"
    LAST = "last"
    BOTH = "both"


class Calendar(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Days and times as they were when the job was read: it holds an instant that any of its parts holds.

    Days are those of the job's zone, as ordinals (`date.toordinal`).
    """

    name: str = ""
    days: tuple[tuple[int, int], ...] = ()  # first and last day, both included; ascending, apart
    weekdays: tuple[int, ...] = ()  # 0 is Monday; ascending
    spans: tuple[tuple[int, int], ...] = ()  # seconds since 1970 UTC, the end excluded; ascending, apart


class Argv(Struct, frozen=True, kw_only=True, gc=False, tag="argv"):
    """A program and its arguments, run without a shell."""

    argv: tuple[str, ...]


class Line(Struct, frozen=True, kw_only=True, gc=False, tag="command"):
    """One line for a shell: run as `[*shell, line]`."""

    line: str
    shell: tuple[str, ...] = ("/bin/sh", "-c")


class Script(Struct, frozen=True, kw_only=True, gc=False, tag="script"):
    """A text kept in a private file while it runs; by its own `#!` line, or by `shell[0]` when it has none."""

    text: str
    shell: tuple[str, ...] = ("/bin/sh", "-c")


Work = Argv | Line | Script


class Shards(Struct, frozen=True, kw_only=True, gc=False, tag="shards"):
    """`count` subtasks without items, told apart by their index."""

    count: int


class Items(Struct, frozen=True, kw_only=True, gc=False, tag="items"):
    """A fixed list; each item is kept as JSON text."""

    items: tuple[str, ...]
    chunk: int | None = None  # items a subtask; None = one item a subtask, not as a list


class ListedItems(Struct, frozen=True, kw_only=True, gc=False, tag="listed"):
    """`work` prints a JSON array or one item a line, and that is the list."""

    work: Work
    chunk: int | None = None


class Matrix(Struct, frozen=True, kw_only=True, gc=False, tag="matrix", omit_defaults=True):
    """Every combination of the values of all axes, the last axis turning fastest; see `core/splitting.py`."""

    axes: tuple[tuple[str, tuple[str, ...]], ...]  # (name, values as JSON texts)
    include: tuple[str, ...] = ()  # further combinations, as JSON objects that have every axis
    exclude: tuple[str, ...] = ()  # JSON objects: combinations that have all their values are left out
    chunk: int | None = None


class PerWorker(Struct, frozen=True, kw_only=True, gc=False, tag="per_worker"):
    """One subtask on every able worker."""


Split = Shards | Items | Matrix | ListedItems | PerWorker


class AtLeast(Struct, frozen=True, kw_only=True, gc=False, tag="count"):
    """So many subtasks have to succeed."""

    count: int


class Share(Struct, frozen=True, kw_only=True, gc=False, tag="share"):
    """So many of a million subtasks have to succeed."""

    millionths: int


Need = AtLeast | Share


class Overlap(enum.Enum):
    """What happens to a fire time while a run of the job is not final."""

    SKIP = "skip"
    QUEUE = "queue"  # it waits; runs go one after another
    ALLOW = "allow"
    REPLACE = "replace"  # it waits until those that are open have been ended


class Misfire(enum.Enum):
    """Which missed instants become runs: the newest, all, none."""

    ONCE = "once"
    ALL = "all"
    SKIP = "skip"


class OnLost(enum.Enum):
    """What to do when nobody can know whether an attempt did its work."""

    FAIL = "fail"  # at most once
    RETRY = "retry"  # at least once


class Pool(Struct, frozen=True, kw_only=True):
    """What many jobs share: at most `max` attempts of them all at once, over the whole cluster."""

    name: str
    max: int
    is_retired: bool = (
        False  # no file has it any more; it holds the open runs that name it until they are final
    )


class Job(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One configured job; every default here is the built-in one of job files."""

    name: str
    trigger: Trigger
    work: Work
    timezone: str = "UTC"  # IANA name
    dst_gap: Gap = Gap.RUN
    dst_fold: Fold = Fold.FIRST
    start: datetime | None = None  # the first instant at which it may fire
    end: datetime | None = None  # the last one
    max_runs: int | None = None  # runs that fire times become, before the job is done
    calendars: tuple[Calendar, ...] = ()  # if any: fire times that none of them holds are skips
    excluded: tuple[Calendar, ...] = ()  # fire times that one of them holds are skips
    jitter: timedelta = timedelta()  # a fire time starts up to so much later, spread by a hash
    description: str = ""
    tags: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    timeout: timedelta = timedelta(hours=1)  # per attempt; TERM to the whole group when it is over
    kill_after: timedelta = timedelta(seconds=10)  # from TERM to KILL
    success_codes: tuple[int, ...] = (0,)
    overlap: Overlap = Overlap.SKIP
    queue_max: int = 10  # how many runs may wait with `overlap = "queue"`, besides the one that has begun
    misfire: Misfire = Misfire.ONCE
    catchup: timedelta = timedelta(hours=1)  # missed instants older than this are never run
    catchup_max: int = 100  # how many missed instants `misfire = "all"` may run
    dispatch_timeout: timedelta = timedelta(minutes=5)  # how long work may wait without an able worker
    on_lost: OnLost = OnLost.FAIL
    requires: tuple[str, ...] = ()  # labels a worker must have; "!label" = must not have
    pools: tuple[str, ...] = ()  # names of pools; every attempt takes a place in each of them
    split: Split | None = None
    max_items: int | None = None  # that a split command may list; None: as many as there may be at all
    max_parallel: int | None = None  # attempts of one run at once, over the whole cluster
    fail_fast: bool = False  # the first subtask that ends without success ends the others
    need: Need | None = None  # how many subtasks have to succeed; None: all
    setup: Work | None = None  # once a run, before everything else
    gather: Work | None = None  # once, when all subtasks are final
    teardown: Work | None = None  # once, after everything else, however that went
    run_timeout: timedelta | None = None  # of a whole run, from the start of its first process
    retry_max: int = 0  # further attempts after a failure or timeout
    paused: bool = False  # paused by its own definition; an operator's pause is kept apart

    @property
    def is_guarded(self) -> bool:
        """Nothing of it may go on unseen beside something new: an attempt ends when its worker hears of no leader."""
        return self.overlap is not Overlap.ALLOW or bool(self.pools)


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """Where a definition came from."""

    file: str = ""  # path below the jobs directory; empty = made through the API
    line: int = 0  # of the [job.NAME] header, from 1

    @property
    def text(self) -> str:
        """`file:line`, or `api`."""
        return f"{self.file}:{self.line}" if self.file else "api"


class Definition(Struct, frozen=True, kw_only=True, gc=False):
    """A job as accepted: with its origin, where its values came from and the hash that names its version."""

    job: Job
    origin: Origin
    version: str  # 12 hex digits of the SHA-256 of the job's JSON
    source: dict[str, str] = {}  # key -> where its value came from, unless it stands in the job's own table
    lines: dict[str, int] = {}  # key of the job's own table -> lines below the header, which is line 0

    @property
    def sources(self) -> dict[str, str]:
        """`file:line` (or another word on where it came from) of each key that the job or a default sets."""
        file, first = self.origin.file, self.origin.line
        return {key: f"{file}:{first + line}" for key, line in self.lines.items()} | self.source
