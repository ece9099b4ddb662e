"""Runs: lists, one run with its attempts, what it wrote, its end."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from schedulerd.api.context import Caller, Ctx, as_json, found_job, found_run
from schedulerd.api.routes.jobs import Cursor, Limit
from schedulerd.api.views.logs import STREAMS, log_lines, log_text
from schedulerd.api.views.texts import read_time, time_text
from schedulerd.core import requests as rq
from schedulerd.errors import CommandError
from schedulerd.protocol.api_answers import (
    CancelAnswer,
    CancelBody,
    LogLine,
    RetryAnswer,
    RetryBody,
    RunList,
    SubtaskList,
)
from schedulerd.protocol.api_types import AttemptOutput, RunDetail, RunQuery

router = APIRouter(prefix="/v1/runs", tags=["runs"])

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
NDJSON = "application/x-ndjson"
_BATCH = 500  # lines a chunk of the answer
_SUBTASKS = 1000  # shown with a run; the list of subtasks has more of them


@router.get("", response_model=RunList)
def list_runs(
    ctx: Ctx,
    job: Annotated[str | None, Query(description="Runs of this job only.")] = None,
    state: Annotated[list[State] | None, Query(description="In one of these states.")] = None,
    since: Annotated[str | None, Query(description="RFC 3339; fire times from then on.")] = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Response:
    """Runs, newest fire time first."""
    query = RunQuery(
        job=job,
        states=tuple(state or ()),
        since=None if since is None else time_text(read_time(since, "since")),
        cursor=cursor,
        limit=limit,
    )
    with ctx.readers.reader() as reader:
        items, following = reader.runs(query)
        if job is not None and not items and not cursor and not reader.run_ids(f"{job}@", 1):
            found_job(reader, job)  # a job that is gone may have runs; one that never was is told so
    return as_json(RunList(items=items, next_cursor=following))


@router.get("/{run}", response_model=RunDetail)
def show_run(ctx: Ctx, run: str) -> Response:
    """One run with its subtasks and attempts; a beginning of its id is enough when no other run has it.

    Of more than 1,000 subtasks those are shown that are worth a look; `subtasks_hidden` counts the others.
    """
    with ctx.readers.reader() as reader:
        return as_json(reader.run(found_run(reader, run), _SUBTASKS))


@router.get("/{run}/subtasks", response_model=SubtaskList)
def list_subtasks(ctx: Ctx, run: str, limit: Limit = 100, cursor: Cursor = "") -> Response:
    """Subtasks of a run by index, then its steps (setup, split, gather, teardown), with their attempts."""
    with ctx.readers.reader() as reader:
        page, following = reader.subtasks(found_run(reader, run), cursor, limit)
    return as_json(SubtaskList(items=page, next_cursor=following))


@router.get(
    "/{run}/logs",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                NDJSON: {"schema": {"$ref": "#/components/schemas/LogLine"}},
            }
        }
    },
)
def run_logs(
    ctx: Ctx,
    request: Request,
    run: str,
    subtask: Annotated[int | None, Query(ge=-4, description="This subtask only; -1 is gather.")] = None,
    stream: Annotated[Literal["both", "stdout", "stderr"], Query(description="Which of the two.")] = "both",
    tail: Annotated[int | None, Query(ge=0, le=1_000_000, description="Only the last lines.")] = None,
    timestamps: Annotated[bool, Query(description="Begin lines with the start of their attempt.")] = False,
) -> Response:
    """What a run's attempts wrote, as far as it was kept: text, or LogLines for `Accept: application/x-ndjson`."""
    with ctx.readers.reader() as reader:
        outputs = reader.output(found_run(reader, run), subtask)
    lines = list(log_lines(outputs, STREAMS if stream == "both" else (stream,)))
    if tail is not None:
        lines = lines[max(0, len(lines) - tail) :]
    if NDJSON in request.headers.get("accept", ""):
        return StreamingResponse(_ndjson(lines), media_type=NDJSON)
    text = log_text(lines, has_prefix=_is_many(outputs), has_times=timestamps)
    return StreamingResponse(_batched(text), media_type="text/plain; charset=utf-8")


@router.post("/{run}/cancel", response_model=CancelAnswer, status_code=202)
def cancel_run(ctx: Ctx, by: Caller, run: str, body: CancelBody | None = None) -> Response:
    """End a run: TERM and later KILL to what runs, nothing more is given out."""
    with ctx.readers.reader() as reader:
        name = found_run(reader, run)
    ctx.ask(rq.CancelRun(run=name, by=by, kill=body.kill if body else False))
    return as_json(CancelAnswer(run_id=name), 202)


@router.post("/{run}/retry", response_model=RetryAnswer, status_code=202)
def retry_run(ctx: Ctx, by: Caller, run: str, body: RetryBody | None = None) -> Response:
    """Open a final run again: all its subtasks get a new attempt, or those that did not succeed; then gather does.

    409 when it is not final, when nothing of it has failed, or when `overlap` keeps it out.
    """
    with ctx.readers.reader() as reader:
        found = reader.recorded_run(found_run(reader, run))
    if found is None:
        raise CommandError("not_found", f'there is no run "{run}"')
    answer = ctx.ask(rq.RetryRun(found=found, by=by, failed_only=body.failed_only if body else False))
    return as_json(RetryAnswer(run_id=answer.run, outcome=answer.outcome), 202)


def _is_many(outputs: list[AttemptOutput]) -> bool:
    """Whether lines have to say whose they are."""
    return len({(output.subtask, output.worker) for output in outputs}) > 1


def _ndjson(lines: list[LogLine]) -> Iterator[bytes]:
    for start in range(0, len(lines), _BATCH):
        yield b"".join(msgspec.json.encode(line) + b"\n" for line in lines[start : start + _BATCH])


def _batched(text: Iterator[str]) -> Iterator[str]:
    while batch := "".join(line for _, line in zip(range(_BATCH), text, strict=False)):
        yield batch
