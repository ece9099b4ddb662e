"""A job as a document: the shape of TOML files and of the API's bodies, checked key by key.

What keys mean together is building's affair. One set of types: it validates, gives the JSON Schema for editors and the
API's OpenAPI. Nothing inside schedulerd keeps a document: it is turned into a `Job` at once.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schedulerd.adapters.jobfiles.values import (
    MAX_SUBTASKS,
    Axis,
    AxisValues,
    Calendars,
    Combination,
    CommandLine,
    Directory,
    Duration,
    ExitCode,
    Instant,
    Instants,
    Item,
    Label,
    NeedText,
    OneOrMany,
    OnlyTrue,
    Period,
    PoolName,
    Positive,
    ScriptText,
    Tag,
    Variable,
    Word,
    Words,
    Zone,
)


class Document(BaseModel):
    """Unknown keys are errors and no value is bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Retry(Document):
    """What happens after a failure or a time-out."""

    max: int = Field(0, ge=0, le=1000, description="Further attempts after a failure or time-out.")


class Pool(Document):
    """At most so many attempts at once, of all jobs that name the pool, over the whole cluster."""

    max: int = Field(ge=1, le=100_000, description="Attempts at once.")


class Step(Document):
    """Work of the run itself, beside that of its subtasks."""

    argv: Words | None = Field(None, description="Program and arguments, without a shell.")
    command: CommandLine | None = Field(None, description="One line for the shell.")
    script: ScriptText | None = Field(None, description="A script of several lines.")


class Gather(Step):
    """Runs once when all subtasks are final; one line of JSON for each subtask on standard input."""


class Split(Document):
    """How a run is split into subtasks; exactly one of shards, items, matrix, argv, command and per_worker."""

    shards: int | None = Field(
        None, ge=1, le=MAX_SUBTASKS, description="So many subtasks, told apart by index."
    )
    items: list[Item] | None = Field(
        None, max_length=MAX_SUBTASKS, description="A fixed list, one subtask an item or chunk."
    )
    argv: Words | None = Field(None, description="Prints the items: a JSON array, or one a line.")
    command: CommandLine | None = Field(None, description="A line for the shell that prints the items.")
    per_worker: OnlyTrue = Field(None, description="One subtask on every able worker.")
    matrix: Annotated[dict[Axis, AxisValues], Field(min_length=1, max_length=20)] | None = Field(
        None, description="Names with lists of values: one subtask a combination."
    )
    include: Annotated[list[Combination], Field(max_length=MAX_SUBTASKS)] | None = Field(
        None, description="Further combinations of a matrix."
    )
    exclude: Annotated[list[Combination], Field(max_length=1000)] | None = Field(
        None, description="Combinations of a matrix that have all these values are left out."
    )
    chunk: int | None = Field(None, ge=1, le=10_000, description="Items a subtask.")
    max_items: int | None = Field(
        None, ge=1, le=MAX_SUBTASKS, description="A command that lists more of them fails its run."
    )
    max_parallel: int | None = Field(
        None, ge=1, le=MAX_SUBTASKS, description="Attempts of one run at once, over the whole cluster."
    )
    fail_fast: bool | None = Field(
        None, description="The first subtask that ends without success ends the others."
    )
    need: NeedText | None = Field(
        None, description='How many subtasks have to succeed: "all" (default), a count, or "95%".'
    )


class Defaults(Document):
    """Keys that `_defaults.toml` and `[defaults]` may hold for many jobs."""

    timezone: Zone | None = Field(
        None, description='IANA name of the zone schedules are read in; default "UTC".'
    )
    dst_gap: Literal["run", "skip"] | None = Field(
        None, description='A fixed time that a spring change skips: default "run", right after the gap.'
    )
    dst_fold: Literal["first", "last", "both"] | None = Field(
        None, description='A fixed time that comes twice in autumn; default "first".'
    )
    calendar: Calendars | None = Field(
        None, description="Fire times that none of these calendars holds are skips; names, or tables."
    )
    not_calendar: Calendars | None = Field(
        None, description="Fire times that one of these calendars holds are skips; names, or tables."
    )
    jitter: Duration | None = Field(
        None, description='A run starts up to so much after its fire time; default "0s".'
    )
    env: Annotated[dict[Variable, Word], Field(max_length=1000)] | None = Field(
        None, description="Environment variables; default ones are added to the job's own."
    )
    cwd: Directory | None = Field(None, description="Working directory.")
    shell: Words | None = Field(None, description='Runs `command`; default ["/bin/sh", "-c"].')
    timeout: Positive | None = Field(None, description='How long an attempt may run; default "1h".')
    kill_after: Duration | None = Field(None, description='From TERM to KILL; default "10s".')
    success_codes: Annotated[list[ExitCode], Field(min_length=1, max_length=256)] | None = Field(
        None, description="Exit codes that count as success; default [0]."
    )
    overlap: Literal["skip", "queue", "allow", "replace"] | None = Field(
        None, description='What a fire time does while a run is open; default "skip".'
    )
    queue_max: int | None = Field(
        None, ge=1, le=10_000, description='Runs that may wait with overlap = "queue"; default 10.'
    )
    misfire: Literal["once", "all", "skip"] | None = Field(
        None, description='Which missed fire times run; default "once", the newest.'
    )
    catchup: Duration | None = Field(
        None, description='Missed fire times older than this never run; default "1h".'
    )
    catchup_max: int | None = Field(
        None, ge=0, le=100_000, description="At most so many are caught up; default 100."
    )
    dispatch_timeout: Positive | None = Field(
        None, description='How long work waits without an able worker; default "5m".'
    )
    on_lost: Literal["fail", "retry"] | None = Field(
        None, description='When a worker died with the work in hand; default "fail".'
    )
    requires: Annotated[list[Label], Field(max_length=100)] | None = Field(
        None, description='Labels a worker must have: "role=db", "!spot".'
    )
    pools: Annotated[list[PoolName], Field(max_length=100)] | None = Field(
        None, description="Names of pools: each holds the attempts of all its jobs to a number at once."
    )
    retry: Retry | None = Field(None, description="Further attempts.")
    run_timeout: Positive | None = Field(
        None, description="How long a whole run may take, from its first process on; teardown comes on top."
    )
    paused: bool | None = Field(None, description="Fires nothing while true.")
    tags: Annotated[list[Tag], Field(max_length=100)] | None = Field(
        None, description="Words to find jobs by."
    )


class JobDocument(Defaults):
    """One job: when (one of schedule, every, at, or none), what (one of argv, command, script) and how."""

    description: Annotated[Word, Field(max_length=4096)] | None = Field(
        None, description="What the job is for."
    )
    schedule: OneOrMany | None = Field(None, description="Cron text, or a list of them.")
    every: Period | None = Field(None, description="Fires once every so long.")
    anchor: Instant | None = Field(
        None, description="What `every` counts from; default when the job was first seen, spread by its name."
    )
    every_from: Literal["start", "end"] | None = Field(
        None, description='"end": `every` counts from the end of the last run; default "start".'
    )
    start: Instant | None = Field(None, description="The first instant at which it may fire.")
    end: Instant | None = Field(None, description="The last instant at which it may fire.")
    max_runs: int | None = Field(None, ge=1, le=10**9, description="After so many runs the job is done.")
    at: Instants | None = Field(
        None, description="Fires once at each; without an offset it is read in `timezone`."
    )
    argv: Words | None = Field(None, description="Program and arguments, without a shell.")
    command: CommandLine | None = Field(None, description="One line for the shell.")
    script: ScriptText | None = Field(None, description="A script of several lines.")
    split: Split | None = Field(None, description="Many subtasks.")
    setup: Step | None = Field(None, description="Runs once, before everything else of a run.")
    gather: Gather | None = Field(None, description="Runs once when all subtasks are final.")
    teardown: Step | None = Field(None, description="Runs once, after everything else, however that went.")
