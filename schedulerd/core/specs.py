"""What a worker is told to run: a job's work as it travels. Templates stay in it; the worker fills them in."""

from datetime import UTC, datetime, timedelta

from schedulerd.core.state import Run
from schedulerd.model.job import Argv, Items, Line, ListedItems, Matrix, Script, Work
from schedulerd.protocol.ids import GATHER, SETUP, SPLIT, TEARDOWN
from schedulerd.protocol.messages import Spec

OUTPUT_LIMIT = 64 * 1024  # bytes kept of each stream
LIST_LIMIT = 3 * 1024 * 1024  # bytes a split command may print; it travels in one frame

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def spec_of(run: Run, subtask: int) -> Spec:
    """The Spec for an ordinary subtask (index >= 0) or a step of the run; the same object for equal kinds."""
    kind = min(subtask, 0)
    spec = run.specs.get(kind)
    if spec is None:
        spec = run.specs[kind] = _build(run, kind)
    return spec


def _build(run: Run, kind: int) -> Spec:
    job = run.job
    work = _work(run, kind)
    chunk = job.split.chunk if isinstance(job.split, Items | Matrix | ListedItems) else None
    return Spec(
        run=run.id,
        job=job.name,
        fire_utc_us=(run.fire_time - _EPOCH) // timedelta(microseconds=1),
        timezone=job.timezone,
        kind={Argv: "argv", Line: "command", Script: "script"}[type(work)],
        argv=list(work.argv) if isinstance(work, Argv) else [],
        text=work.line if isinstance(work, Line) else work.text if isinstance(work, Script) else "",
        shell=[] if isinstance(work, Argv) else list(work.shell),
        env={**job.env, **run.env},
        cwd=job.cwd,
        timeout_ms=int(job.timeout.total_seconds() * 1000),
        kill_after_ms=int(job.kill_after.total_seconds() * 1000),
        success_codes=list(job.success_codes),
        subtasks=sum(1 for index in run.subtasks if index >= 0),
        output_limit=LIST_LIMIT if kind == SPLIT else OUTPUT_LIMIT,
        guarded=job.is_guarded,
        chunked=kind == 0 and chunk is not None,
    )


def _work(run: Run, kind: int) -> Work:
    job = run.job
    if kind == SPLIT and isinstance(job.split, ListedItems):
        return job.split.work
    return {SETUP: job.setup, GATHER: job.gather, TEARDOWN: job.teardown}.get(kind) or job.work
