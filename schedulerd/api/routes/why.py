"""Why a fire time ran or did not, and how a run went: the account of either."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.api.context import Context, Ctx, as_json, found_run, no_job
from schedulerd.api.views.jobs import anchor_of, definition_of
from schedulerd.api.views.texts import read_time
from schedulerd.api.views.why import Asked, why_fire, why_never
from schedulerd.api.views.why_run import why_run
from schedulerd.core.trigger import next_fire
from schedulerd.errors import CommandError
from schedulerd.protocol.api_accounts import Why

router = APIRouter(prefix="/v1", tags=["runs"])


@router.get("/why", response_model=Why)
def why(
    ctx: Ctx,
    job: Annotated[str | None, Query(description="Of this job; or `run`.")] = None,
    time: Annotated[str | None, Query(description="RFC 3339; default the newest fire time.")] = None,
    run: Annotated[str | None, Query(description="A run id, or its beginning.")] = None,
) -> Response:
    """What became of a fire time of a job, or of a run, and why."""
    if (job is None) == (run is None) or (run is not None and time is not None):
        raise CommandError("invalid", "one of job (with time, if wanted) and run is expected")
    with ctx.readers.reader() as reader:
        if run is not None:
            return as_json(_of_run(ctx, reader, found_run(reader, run)))
        assert job is not None
        return as_json(_of_newest(ctx, reader, job) if time is None else _of_time(ctx, reader, job, time))


def _of_newest(ctx: Context, reader: LedgerReader, name: str) -> Why:
    """Of the newest fire time; of a job without one: its newest run, else its next fire time."""
    slots, _ = reader.slots(name, "", 1)
    if slots:
        return _of_time(ctx, reader, name, slots[0].fire_time)
    facts = reader.job(name)
    if facts is None:
        begun = reader.run_ids(f"{name}@", 1)
        if not begun:
            raise no_job(reader, name)
        return _of_run(ctx, reader, begun[0])
    if facts.last_run is not None:
        return _of_run(ctx, reader, facts.last_run.id)
    definition = definition_of(facts)
    fire = next_fire(definition.job, anchor_of(facts), ctx.now())
    if fire is None:
        return why_never(name, definition, ctx.now())
    return _of_time(ctx, reader, name, fire.instant.isoformat())


def _of_time(ctx: Context, reader: LedgerReader, name: str, time: str) -> Why:
    at = read_time(time, "time")
    account = reader.fire_account(name, at)
    if account.run_id is not None:
        return _of_run(ctx, reader, account.run_id)
    facts = reader.job(name)
    if facts is None and account.reason is None and not reader.run_ids(f"{name}@", 1):
        raise no_job(reader, name)
    definition = None if facts is None else definition_of(facts)
    return why_fire(Asked(name, at, ctx.now(), facts, definition, account))


def _of_run(ctx: Context, reader: LedgerReader, run: str) -> Why:
    account = reader.run_account(run)
    if account is None:  # removed between two looks
        raise CommandError("not_found", f'there is no run "{run}" any more')
    return why_run(account, ctx.now())
