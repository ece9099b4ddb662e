"""Events: a page of them, or all that come from one on, as server-sent events. Reads the ledger, asks no loop."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec
from fastapi import APIRouter, Query
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from schedulerd.api.context import Context, Ctx, as_json
from schedulerd.api.routes.jobs import Cursor, Limit
from schedulerd.errors import CommandError, LedgerError
from schedulerd.protocol.api_answers import EventList
from schedulerd.protocol.api_types import Event, EventQuery

router = APIRouter(prefix="/v1", tags=["fleet"])

SSE = "text/event-stream"
LOOK_EVERY = 0.5  # seconds between two looks of a follower at the ledger
KEEP_ALIVE = (
    15.0  # seconds without an event after which a comment is sent, so that a dead connection is noticed
)
FOLLOWERS = 32  # at once; each looks twice a second
_PAGE = 500
_SEQ = re.compile(r"\d{1,18}", re.ASCII)

Job = Annotated[str | None, Query(description="About this job and its runs.")]
Run = Annotated[str | None, Query(description="About this run; its whole id.")]
Types = Annotated[list[str] | None, Query(alias="type", description="Of these types only; may be repeated.")]
After = Annotated[
    int | None, Query(ge=0, description="Younger than this `seq`, oldest first; not with `cursor`.")
]


@router.get(
    "/events",
    response_model=EventList,
    responses={200: {"content": {SSE: {"schema": {"type": "string"}}}}},
)
async def list_events(
    ctx: Ctx,
    request: Request,
    job: Job = None,
    run: Run = None,
    types: Types = None,
    after: After = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Response:
    """Events, newest first; with `Accept: text/event-stream` those that come, from `Last-Event-ID` or `after` on."""
    query = EventQuery(after=after, job=job, run=run, types=tuple(types or ()), limit=limit)
    if SSE in request.headers.get("accept", ""):
        return await _stream(ctx, request, query)
    return await anyio.to_thread.run_sync(_page, ctx, query, cursor)


def _page(ctx: Context, query: EventQuery, cursor: str) -> Response:
    if cursor and query.after is not None:
        raise CommandError("invalid", "after and cursor: both were given; expected one of them")
    query = replace(query, before=_seq(cursor, "cursor") if cursor else None)
    with ctx.readers.reader() as reader:
        items = reader.find_events(query)
    following = str(items[-1].seq) if len(items) == query.limit and query.after is None else None
    return as_json(EventList(items=items, next_cursor=following))


async def _stream(ctx: Context, request: Request, query: EventQuery) -> Response:
    state = request.app.state
    last = request.headers.get("last-event-id", "")
    if last:
        query = replace(query, after=_seq(last, "Last-Event-ID"))
    if state.followers >= FOLLOWERS:
        raise CommandError("unavailable", f"{FOLLOWERS} callers follow events already; end one of them")
    state.followers += 1  # at once: others ask while this one waits below
    try:
        if query.after is None:
            query = replace(query, after=await anyio.to_thread.run_sync(_newest, ctx))
    except BaseException:
        state.followers -= 1
        raise
    return _Following(state, _follow(ctx, state, replace(query, limit=_PAGE)))


class _Following(StreamingResponse):
    """Has a place among the followers, and leaves it at its end, also when nothing of it was ever sent."""

    def __init__(self, state: State, frames: AsyncIterator[bytes]) -> None:
        super().__init__(frames, media_type=SSE, headers={"X-Accel-Buffering": "no"})
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the caller goes or the server stops."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._state.followers -= 1


async def _follow(ctx: Context, state: State, query: EventQuery) -> AsyncIterator[bytes]:
    """What comes, until the caller goes or the server stops."""
    yield b": follow\n\n"  # headers and a first byte at once
    silent = 0.0
    while not state.closing.is_set():
        try:
            found = await anyio.to_thread.run_sync(_look, ctx, query)
        except (CommandError, LedgerError):  # busy, or between two leaders: it is looked for again
            found = []
        if found:
            query = replace(query, after=found[-1].seq)
            silent = 0.0
            yield b"".join(map(_frame, found))
            if len(found) == query.limit:
                continue
        await anyio.sleep(LOOK_EVERY)
        silent += LOOK_EVERY
        if silent >= KEEP_ALIVE:
            silent = 0.0
            yield b": still here\n\n"


def _look(ctx: Context, query: EventQuery) -> list[Event]:
    with ctx.readers.reader() as reader:
        return reader.find_events(query)


def _newest(ctx: Context) -> int:
    with ctx.readers.reader() as reader:
        return reader.newest_event()


def _frame(event: Event) -> bytes:
    """One server-sent event: its number is what `Last-Event-ID` names, its kind the event's type."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), msgspec.json.encode(event))


def _seq(text: str, name: str) -> int:
    if not _SEQ.fullmatch(text):
        raise CommandError("invalid", f'{name}: "{text}" is not a number; expected the seq of an event')
    return int(text)
