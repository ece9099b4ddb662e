"""Changing jobs: create, change, delete, pause, resume, trigger. The loop decides; this asks it."""

from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Body, Header, Query
from starlette.responses import Response

from schedulerd.adapters import jobfiles
from schedulerd.api import documents
from schedulerd.api.context import Caller, Context, Ctx, as_json, found_job
from schedulerd.api.problems import Refusal
from schedulerd.api.routes.jobs import detail_of_job
from schedulerd.api.views.jobs import definition_of
from schedulerd.api.views.texts import pause_end
from schedulerd.core import requests as rq
from schedulerd.errors import CommandError
from schedulerd.model.job import Definition
from schedulerd.protocol.api_answers import PauseBody, TriggerBody
from schedulerd.protocol.api_types import JobDetail, TriggerAnswer

router = APIRouter(prefix="/v1/jobs/{name}", tags=["jobs"])

IfMatch = Annotated[str | None, Header(description="The version that may be changed, from ETag; `*` = any.")]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only create, never change.")]
_KEY_LENGTH = 200


@router.put("", response_model=JobDetail, responses={201: {"model": JobDetail}})
def put_job(
    ctx: Ctx,
    by: Caller,
    name: str,
    document: Annotated[dict[str, Any], Body()],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a job, or change one that was made through the API; the body has the keys of job files."""
    definition = documents.parse(ctx, name, document)
    current = _current(ctx, name) if if_match is not None else None
    return _stored(
        ctx,
        rq.PutJob(
            definition=definition,
            by=by,
            expected_version=documents.expected_version(if_match, current),
            must_be_new=documents.must_be_new(if_none_match),
        ),
    )


@router.patch("", response_model=JobDetail)
def patch_job(
    ctx: Ctx, by: Caller, name: str, patch: Annotated[dict[str, Any], Body()], if_match: IfMatch = None
) -> Response:
    """Change some keys of a job (RFC 7396: null takes a key away)."""
    with ctx.readers.reader() as reader:
        current = definition_of(found_job(reader, name))
    version = documents.expected_version(if_match, current) or current.version
    document = documents.patched(jobfiles.to_document(current.job), patch)
    definition = documents.parse(ctx, name, document)
    return _stored(ctx, rq.PutJob(definition=definition, by=by, expected_version=version))


@router.delete("", status_code=204, response_class=Response)
def delete_job(
    ctx: Ctx,
    by: Caller,
    name: str,
    cancel: Annotated[bool, Query(description="Also end its open runs.")] = False,
    if_match: IfMatch = None,
) -> Response:
    """Take a job that was made through the API out of the table; its history stays."""
    current = _current(ctx, name) if if_match is not None else None
    version = documents.expected_version(if_match, current)
    ctx.ask(rq.DeleteJob(job=name, by=by, expected_version=version, cancel=cancel))
    return Response(status_code=204)


@router.post("/pause", response_model=JobDetail)
def pause_job(ctx: Ctx, by: Caller, name: str, body: PauseBody | None = None) -> Response:
    """Fire nothing until the pause ends or somebody resumes the job; open runs go on unless told otherwise."""
    body = body or PauseBody()
    if len(body.reason) > 1000:
        raise CommandError(
            "invalid", f"reason: {len(body.reason)} characters were found; expected at most 1000"
        )
    until = pause_end(ctx.now(), body.for_seconds, body.until)
    order = rq.PauseJob(job=name, by=by, reason=body.reason, until=until, cancel_running=body.cancel_running)
    ctx.ask(order)
    return _shown(ctx, name)


@router.post("/resume", response_model=JobDetail)
def resume_job(ctx: Ctx, by: Caller, name: str) -> Response:
    """End a pause; what it skipped is not made up for."""
    ctx.ask(rq.ResumeJob(job=name, by=by))
    return _shown(ctx, name)


@router.post("/trigger", response_model=TriggerAnswer, status_code=201)
def trigger_job(
    ctx: Ctx,
    by: Caller,
    name: str,
    body: TriggerBody | None = None,
    idempotency_key: Annotated[str | None, Header(description="The same key starts nothing new.")] = None,
) -> Response:
    """Start a run now, whatever the schedule says; 409 with `outcome` refused when overlap forbids it."""
    env = body.env if body else {}
    for variable, value in env.items():
        if not variable or "=" in variable or "\0" in variable or "\0" in value:
            raise CommandError(
                "invalid", f'env: "{variable}" cannot be a variable; expected NAME without = or NUL'
            )
    key = uuid4().hex if idempotency_key is None else idempotency_key
    if not key or len(key) > _KEY_LENGTH:
        raise Refusal(400, f"Idempotency-Key: {len(key)} characters were found; expected 1 to {_KEY_LENGTH}")
    known = _run_of(ctx, name, key) if idempotency_key is not None else None
    if known is not None:
        return as_json(TriggerAnswer(outcome="started", run_id=known, reason=rq.KEY_USED), 201)
    answer = ctx.ask(rq.TriggerJob(job=name, key=key, by=by, env=env))
    if answer.outcome == "refused":
        raise Refusal(
            409,
            f"{name} was not started: {answer.reason}",
            outcome=answer.outcome,
            run_id=answer.run,
            reason=answer.reason,
        )
    shown = TriggerAnswer(outcome=answer.outcome, run_id=answer.run, reason=answer.reason)
    return as_json(shown, 201 if answer.outcome == "started" else 202)


def _run_of(context: Context, job: str, key: str) -> str | None:
    """The run that this key made before, also under another leader: the loop knows only those of its own time."""
    with context.readers.reader() as reader:
        return reader.manual_run(job, key)


def _current(context: Context, name: str) -> Definition | None:
    with context.readers.reader() as reader:
        facts = reader.job(name)
    return None if facts is None else definition_of(facts)


def _stored(context: Context, order: rq.PutJob) -> Response:
    """Put the job into the table and answer with what is there now."""
    stored = context.ask(order)
    return _shown(context, order.definition.job.name, 201 if stored.is_new else 200)


def _shown(context: Context, name: str, status: int = 200) -> Response:
    with context.readers.reader() as reader:
        detail, definition = detail_of_job(context, reader, name)
    return as_json(detail, status, {"ETag": documents.etag(definition.version)})
