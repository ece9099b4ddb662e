"""What every route works with: the door to the loop, the ledger's readers, the clock. Made once by the server."""

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
from fastapi import Depends, Request
from starlette.responses import Response

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.api.door import ASK_TIMEOUT, Door
from schedulerd.api.readers import Readers
from schedulerd.core import requests as rq
from schedulerd.errors import CommandError
from schedulerd.protocol.api_types import JobFacts

CALLER_HEADER = (
    "Schedulerd-User"  # who the caller says they are; kept with pauses and runs, trusted for nothing
)
_CALLER = re.compile(r"[\x21-\x7e]{1,64}")
_NEAR = 3


class Context:
    """The server's hands. Its methods block, so routes that use them are plain functions."""

    def __init__(
        self,
        door: Door,
        readers: Readers,
        defaults: Callable[[], Mapping[str, Any]],
        now: Callable[[], datetime],
    ) -> None:
        self.door = door
        self.now = now  # aware, UTC
        self.readers = readers
        self.defaults = defaults  # [defaults] of the settings as they are now, for jobs made through the API

    def ask(self, request: rq.Request) -> Any:
        """The loop's answer. Raises CommandError."""
        return self.door.ask(request, ASK_TIMEOUT)

    def views(self, names: tuple[str, ...]) -> dict[str, rq.JobView]:
        """The leader's view of these jobs, by name; empty when nobody leads, so that reading goes on."""
        if not self.door.status().is_leading:
            return {}
        try:
            found = cast(tuple[rq.JobView, ...], self.ask(rq.DescribeJobs(jobs=names)))
        except CommandError as error:
            if error.kind != "unavailable":
                raise
            return {}
        return {view.definition.job.name: view for view in found}


async def context(request: Request) -> Context:
    """The server's Context, for routes."""
    return cast(Context, request.app.state.context)


async def caller(request: Request) -> str:
    """Who the caller says they are: a header of schedulerctl's; `api` without one."""
    name = request.headers.get(CALLER_HEADER, "")
    return name if _CALLER.fullmatch(name) else "api"


Ctx = Annotated[Context, Depends(context)]
Caller = Annotated[str, Depends(caller)]


def found_job(reader: LedgerReader, name: str) -> JobFacts:
    """The job called `name`. Raises CommandError not_found with the nearest names."""
    facts = reader.job(name)
    if facts is None:
        raise no_job(reader, name)
    return facts


def no_job(reader: LedgerReader, name: str) -> CommandError:
    """What to raise for a job that is not there."""
    near = tuple(difflib.get_close_matches(name, reader.job_names(), n=_NEAR))
    return CommandError("not_found", f'there is no job "{name}"', near)


def found_run(reader: LedgerReader, text: str) -> str:
    """The run id that `text` is or is the only one to begin with. Raises CommandError not_found with near ids."""
    if not text:
        raise CommandError("not_found", "a run id is expected")
    begun = reader.run_ids(text, 7)
    if text in begun:
        return text
    if len(begun) == 1:
        return begun[0]
    if begun:
        count = "more than 6" if len(begun) > 6 else str(len(begun))
        raise CommandError(
            "not_found", f'"{text}" begins {count} run ids; write more of it', tuple(begun[:6])
        )
    job = text.partition("@")[0]
    names = reader.job_names()
    if job in names:
        near = difflib.get_close_matches(text, reader.run_ids(f"{job}@", 500), n=_NEAR)
    else:
        near = difflib.get_close_matches(job, names, n=_NEAR)
    raise CommandError("not_found", f'there is no run "{text}"', tuple(near))


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` (shapes of protocol/) as JSON."""
    return Response(msgspec.json.encode(value), status, headers=headers, media_type="application/json")
