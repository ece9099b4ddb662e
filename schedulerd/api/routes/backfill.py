"""Runs for fire times that passed without one: asked for, shown before they are made, ended together."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body
from starlette.responses import Response

from schedulerd.api.context import Caller, Context, Ctx, as_json, found_job
from schedulerd.api.views.jobs import anchor_of, definition_of
from schedulerd.api.views.texts import read_time
from schedulerd.core import requests as rq
from schedulerd.core.backfill import MOST_RUNS, Plan, TooMany, plan
from schedulerd.errors import CommandError
from schedulerd.model.job import Definition, Manual
from schedulerd.protocol.api_accounts import BackfillAnswer, BackfillEnd, BackfillRun
from schedulerd.protocol.ids import rfc3339, scheduled_run_id

router = APIRouter(prefix="/v1/jobs/{name}/backfill", tags=["jobs"])

MOST_PARALLEL = 1000
_TICK = timedelta(microseconds=1)

BODY = {  # for OpenAPI
    "type": "object",
    "required": ["from", "to"],
    "additionalProperties": False,
    "properties": {
        "from": {
            "type": "string",
            "format": "date-time",
            "description": "The first fire time may be this one.",
        },
        "to": {
            "type": "string",
            "format": "date-time",
            "description": "The last may be this one; not beyond now.",
        },
        "max_parallel": {"type": "integer", "minimum": 1, "maximum": MOST_PARALLEL, "default": 1},
        "dry_run": {"type": "boolean", "default": False},
    },
}


class _Asked(msgspec.Struct, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """The body."""

    first: str
    last: str
    max_parallel: int = 1
    dry_run: bool = False


@router.post("", response_model=BackfillAnswer, status_code=202, responses={200: {"model": BackfillAnswer}})
def backfill_job(ctx: Ctx, by: Caller, name: str, document: Annotated[dict[str, Any], Body()]) -> Response:
    """Make a run for every passed fire time in from..to that has none; 200 for `dry_run`, which only tells."""
    asked = _read(document)
    definition, found = _planned(ctx, name, asked)
    shown = BackfillAnswer(
        job=name,
        dry_run=asked.dry_run,
        max_parallel=asked.max_parallel,
        existing=found.existing,
        runs=[
            BackfillRun(
                fire_time=rfc3339(fill.fire.instant),
                run_id=scheduled_run_id(name, fill.fire.instant),
                was=fill.was,
            )
            for fill in found.fills
        ],
    )
    if asked.dry_run:
        return as_json(shown)
    ctx.ask(
        rq.BackfillJob(
            job=name,
            by=by,
            version=definition.version,
            fills=found.fills,
            splits=found.splits,
            max_parallel=asked.max_parallel,
        )
    )
    return as_json(shown, 202)


@router.delete("", response_model=BackfillEnd, status_code=202)
def cancel_backfill(ctx: Ctx, by: Caller, name: str) -> Response:
    """End every backfill run of the job that is not final: those that wait at once, the others as a cancel does."""
    ended = ctx.ask(rq.CancelBackfill(job=name, by=by))
    return as_json(BackfillEnd(job=name, cancelled=list(ended.runs)), 202)


def _read(document: dict[str, Any]) -> _Asked:
    try:
        asked = msgspec.convert(document, _Asked)
    except msgspec.ValidationError as error:
        raise CommandError("invalid", f"the body is no backfill: {error}") from error
    if not 1 <= asked.max_parallel <= MOST_PARALLEL:
        raise CommandError("invalid", f"max_parallel: {asked.max_parallel} is not in 1-{MOST_PARALLEL}")
    return asked


def _planned(context: Context, name: str, asked: _Asked) -> tuple[Definition, Plan]:
    """What the backfill comes to, from the account as it stands. Raises CommandError invalid and not_found."""
    first, last = read_time(asked.first, "from"), read_time(asked.last, "to")
    if last < first:
        raise CommandError("invalid", f"to: {rfc3339(last)} lies before from, {rfc3339(first)}")
    with context.readers.reader() as reader:
        facts = found_job(reader, name)
        definition = definition_of(facts)
        if isinstance(definition.job.trigger, Manual):
            raise CommandError(
                "invalid", f"{name} has no schedule, so no fire time is without a run; trigger it"
            )
        # what is later than the mark the leader itself settles; what was before the job was known is not of it
        first = max(first, datetime.fromisoformat(facts.first_seen) + _TICK)
        last = min(last, datetime.fromisoformat(facts.mark))
        rows = reader.slot_rows(name, first, last) if first <= last else []
    if first > last:
        return definition, Plan(fills=(), splits=(), existing=0)
    try:
        return definition, plan(definition, anchor_of(facts), first, last, rows)
    except TooMany as error:
        raise CommandError(
            "invalid",
            f"{error} from {rfc3339(first)} to {rfc3339(last)} have no run; at most {MOST_RUNS:,} at once",
        ) from error
