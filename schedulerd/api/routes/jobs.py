"""Reading jobs: lists, one job, its coming fire times."""

from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from schedulerd.adapters import jobfiles
from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.api.context import Context, Ctx, as_json, found_job
from schedulerd.api.documents import etag
from schedulerd.api.views.fleet import next_views
from schedulerd.api.views.jobs import anchor_of, definition_of, job_detail, job_view
from schedulerd.api.views.texts import read_time
from schedulerd.core.coming import coming
from schedulerd.model.job import Definition
from schedulerd.protocol.api_answers import JobList, NextList
from schedulerd.protocol.api_types import Job, JobDetail, JobFacts

router = APIRouter(prefix="/v1", tags=["jobs"])

Limit = Annotated[int, Query(ge=1, le=1000, description="How many items at most.")]
Cursor = Annotated[str, Query(max_length=512, description="`next_cursor` of the page before.")]

_PAGE = 1000
_GLOB = frozenset("*?[")
TOML = "application/toml"


class JobFilter:
    """Which jobs to list; every filter that is given has to fit."""

    def __init__(
        self,
        name: Annotated[
            list[str] | None, Query(description="Names or globs; one of them has to fit.")
        ] = None,
        tag: Annotated[list[str] | None, Query(description="Tags; one of them has to be there.")] = None,
        search: Annotated[str, Query(max_length=256, description="A part of name or description.")] = "",
        paused: Annotated[bool | None, Query(description="Paused or not.")] = None,
        failing: Annotated[bool | None, Query(description="Whether the last run failed.")] = None,
    ) -> None:
        self.names = name or []
        self.tags = tag or []
        self.search = search.lower()
        self.paused = paused
        self.failing = failing
        self.chooses = bool(name or tag or search) or paused is not None or failing is not None

    def fits(self, facts: JobFacts, definition: Definition) -> bool:
        """Whether the job is one of those asked for."""
        job = definition.job
        is_paused = facts.pause is not None or job.paused
        is_failing = facts.last_run is not None and facts.last_run.state == "failed"
        return (
            (not self.names or any(fnmatchcase(facts.name, name) for name in self.names))
            and (not self.tags or any(tag in job.tags for tag in self.tags))
            and (self.search in facts.name or self.search in job.description.lower())
            and self.paused in (None, is_paused)
            and self.failing in (None, is_failing)
        )


def page_of_jobs(
    context: Context, reader: LedgerReader, wanted: JobFilter, cursor: str, limit: int
) -> tuple[list[Job], str | None]:
    """One page of jobs by name, and the cursor of the next."""
    found: list[tuple[JobFacts, Definition]] = []
    for facts in _candidates(reader, wanted, cursor, limit + 1):
        definition = definition_of(facts)
        if wanted.fits(facts, definition):
            found.append((facts, definition))
            if len(found) > limit:
                break
    page = found[:limit]
    views = context.views(tuple(facts.name for facts, _ in page)) if page else {}
    now = context.now()
    items = [job_view(facts, definition, views.get(facts.name), now) for facts, definition in page]
    return items, (page[-1][0].name if len(found) > limit else None)


def _candidates(reader: LedgerReader, wanted: JobFilter, after: str, enough: int) -> Iterator[JobFacts]:
    """Jobs later than `after`, by name, among which are all that `wanted` fits."""
    if wanted.names and _GLOB.isdisjoint("".join(wanted.names)):
        for name in sorted(set(wanted.names)):
            facts = reader.job(name) if name > after else None
            if facts is not None:
                yield facts
        return
    size = _PAGE if wanted.chooses else enough
    while page := reader.jobs(after, size):
        yield from page
        if len(page) < size:
            return
        after = page[-1].name


def detail_of_job(context: Context, reader: LedgerReader, name: str) -> tuple[JobDetail, Definition]:
    """One job with its definition. Raises CommandError not_found."""
    facts = found_job(reader, name)
    view = context.views((name,)).get(name)
    definition = view.definition if view else definition_of(facts)
    summary = job_view(facts, definition, view, context.now())
    return job_detail(summary, definition), definition


@router.get("/jobs", response_model=JobList)
def list_jobs(
    ctx: Ctx, wanted: Annotated[JobFilter, Depends()], limit: Limit = 100, cursor: Cursor = ""
) -> Response:
    """Jobs by name."""
    with ctx.readers.reader() as reader:
        items, following = page_of_jobs(ctx, reader, wanted, cursor, limit)
    return as_json(JobList(items=items, next_cursor=following))


@router.get(
    "/jobs/{name}",
    response_model=JobDetail,
    responses={200: {"content": {TOML: {"schema": {"type": "string"}}}}},
)
def show_job(ctx: Ctx, request: Request, name: str) -> Response:
    """One job with its definition; as the TOML of a job file for `Accept: application/toml`."""
    with ctx.readers.reader() as reader:
        detail, definition = detail_of_job(ctx, reader, name)
    headers = {"ETag": etag(definition.version), "Vary": "Accept"}
    if TOML in request.headers.get("accept", ""):
        return Response(jobfiles.to_toml(definition), headers=headers, media_type=f"{TOML}; charset=utf-8")
    return as_json(detail, headers=headers)


@router.get("/jobs/{name}/next", response_model=NextList)
def next_fires(
    ctx: Ctx,
    name: str,
    n: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 10,
    start: Annotated[str | None, Query(alias="from", description="RFC 3339; default now.")] = None,
    until: Annotated[str | None, Query(description="RFC 3339; default no end.")] = None,
) -> Response:
    """Coming fire times, whether the job is paused or not."""
    after = ctx.now() if start is None else read_time(start, "from") - timedelta(microseconds=1)
    end = None if until is None else read_time(until, "until")
    with ctx.readers.reader() as reader:
        facts = found_job(reader, name)
    definition = definition_of(facts)
    fires = coming(definition.job, anchor_of(facts), after, end, n, facts.runs)
    return as_json(NextList(items=next_views(fires)))
