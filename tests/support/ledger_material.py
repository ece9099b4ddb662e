"""Builders of records for tests of ledgers: one job, its runs, attempts and outcomes, with everything defaulted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schedulerd.adapters.ledger.base import Ledger, LedgerReader
from schedulerd.core.effects import CloseRun, RecordAttempts, RecordRuns, RecordSubtasks
from schedulerd.model.job import Argv, Cron, Definition, Job, Origin, Trigger
from schedulerd.model.run import Cause, JobRow, NewAttempt, NewRun, RunState, Skip, SkipReason
from schedulerd.protocol.ids import attempt_id, scheduled_run_id
from schedulerd.protocol.messages import Captured, Outcome, Usage

T0 = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Place:
    """Where a ledger of one kind lives: opens its writing and reading sides as often as asked."""

    open: Callable[[], Ledger]
    reader: Callable[[], LedgerReader]


def at(minutes: float) -> datetime:
    """That many minutes after T0."""
    return T0 + minutes * MINUTE


def definition(
    name: str = "backup", version: str = "v1", trigger: Trigger | None = None, line: int = 3
) -> Definition:
    """A minutely job of one command."""
    return Definition(
        job=Job(name=name, trigger=trigger or Cron(expressions=("* * * * *",)), work=Argv(argv=("true",))),
        origin=Origin(file="jobs.toml", line=line),
        version=version,
        source={"argv": f"jobs.toml:{line}"},
    )


def job_row(
    name: str = "backup", version: str = "v1", mark: datetime = T0, trigger: Trigger | None = None
) -> JobRow:
    """That job as it is accepted at `mark`."""
    return JobRow(definition=definition(name, version, trigger), first_seen=T0, mark=mark)


def new_run(minutes: float = 1, name: str = "backup", version: str = "v1") -> NewRun:
    """The scheduled run of that minute."""
    return NewRun(
        id=scheduled_run_id(name, at(minutes)),
        job=name,
        version=version,
        cause=Cause.SCHEDULE,
        fire_time=at(minutes),
        has_slot=True,
        created_at=at(minutes) + timedelta(milliseconds=3),
    )


def subtasks(run: str, count: int = 1) -> RecordSubtasks:
    """That many ordinary subtasks, and no more to come."""
    return RecordSubtasks(run, tuple((index, None, None) for index in range(count)), True)


def new_attempt(
    run: str, subtask: int = 0, number: int = 1, *, fence: int = 1, worker: str = "w1"
) -> NewAttempt:
    """One attempt at the worker of that name."""
    return NewAttempt(
        id=attempt_id(run, subtask, number),
        run=run,
        subtask=subtask,
        number=number,
        worker=f"uuid-of-{worker}",
        worker_name=worker,
        nonce=f"nonce-of-{worker}",
        epoch=1,
        fence=fence,
        assigned_at=T0,
    )


def outcome(
    run: str,
    subtask: int = 0,
    number: int = 1,
    state: str = "succeeded",
    *,
    stdout: bytes = b"",
    stderr: bytes = b"",
) -> Outcome:
    """How that attempt ended, 1 s after its run's minute began and 2 s after that."""
    start = int(T0.timestamp() * 1000) + 61_000
    return Outcome(
        attempt=attempt_id(run, subtask, number),
        state=state,
        reason="" if state == "succeeded" else "exit",
        exit_code=0 if state == "succeeded" else 3,
        started_utc_ms=start,
        finished_utc_ms=start + 2000,
        stdout=Captured(head=stdout),
        stderr=Captured(head=stderr),
        usage=Usage(
            wall_ms=2000, user_ms=10, system_ms=5, peak_bytes=4 << 20, output_bytes=len(stdout) + len(stderr)
        ),
    )


def close(run: NewRun, state: RunState = RunState.SUCCEEDED, reason: str = "") -> CloseRun:
    """The end of that run, 5 s after its fire time."""
    return CloseRun(
        run=run.id,
        job=run.job,
        cause=run.cause.value,
        fire_time=run.fire_time,
        created_at=run.created_at,
        started_at=run.fire_time + timedelta(seconds=1),
        state=state,
        reason=reason,
        finished_at=run.fire_time + timedelta(seconds=5),
    )


def skip(
    first: float, last: float, count: int, reason: SkipReason = SkipReason.PAUSED, version: str = "v1"
) -> Skip:
    """Minutes `first` to `last` of the job that did not run."""
    return Skip(job="backup", version=version, first=at(first), last=at(last), count=count, reason=reason)


def fired(run: NewRun, count: int = 1) -> tuple[RecordRuns, RecordSubtasks, RecordAttempts]:
    """A run with `count` subtasks, each handed out once."""
    attempts = tuple(new_attempt(run.id, index, fence=index + 1) for index in range(count))
    return RecordRuns((run,)), subtasks(run.id, count), RecordAttempts(attempts)
