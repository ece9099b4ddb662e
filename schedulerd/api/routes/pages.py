"""The web pages: plain HTML that can be read without script; script adds buttons and keeps them fresh."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from schedulerd.adapters import jobfiles
from schedulerd.api.context import Context, Ctx, found_job, found_run
from schedulerd.api.routes.jobs import Cursor, JobFilter, detail_of_job, page_of_jobs
from schedulerd.api.views.fleet import cluster_view, next_views, worker_view
from schedulerd.api.views.jobs import anchor_of
from schedulerd.api.views.pages import STEPS, page
from schedulerd.core import requests as rq
from schedulerd.core.coming import coming
from schedulerd.errors import CommandError
from schedulerd.protocol.api_answers import Cluster
from schedulerd.protocol.api_types import RunQuery, Worker

router = APIRouter(include_in_schema=False)

Show = Literal["", "paused", "failing"]
_SHOWS = (("", "all jobs"), ("paused", "paused"), ("failing", "failing"))
_JOBS = 50
_RUNNING = 50
_RECENT = 20
_SUBTASKS = 200
_FIRES = 8


@router.get("/")
def overview(
    ctx: Ctx, q: Annotated[str, Query(max_length=256)] = "", show: Show = "", cursor: Cursor = ""
) -> Response:
    """Running now, jobs, recent runs, workers."""
    wanted = JobFilter(
        search=q, paused=True if show == "paused" else None, failing=True if show == "failing" else None
    )
    with ctx.readers.reader() as reader:
        jobs, following = page_of_jobs(ctx, reader, wanted, cursor, _JOBS)
        running, more = reader.runs(RunQuery(states=("pending", "running"), limit=_RUNNING))
        recent, _ = reader.runs(RunQuery(limit=_RECENT))
    cluster, workers = _fleet(ctx)
    here = {key: value for key, value in (("q", q), ("show", show)) if value}
    return page(
        "overview.html",
        {
            "cluster": cluster,
            "running": running,
            "running_more": more is not None,
            "jobs": jobs,
            "recent": recent,
            "workers": workers,
            "q": q,
            "show": show,
            "shows": _SHOWS,
            "cursor": cursor,
            "first_page": f"/?{urlencode(here)}",
            "next_page": f"/?{urlencode({**here, 'cursor': following})}" if following else None,
        },
    )


@router.get("/jobs/{name}")
def job_page(ctx: Ctx, name: str) -> Response:
    """One job: definition, runs, coming fire times."""

    def show() -> dict[str, Any]:
        with ctx.readers.reader() as reader:
            detail, definition = detail_of_job(ctx, reader, name)
            runs, _ = reader.runs(RunQuery(job=name, limit=_RECENT))
            anchor = anchor_of(found_job(reader, name))
        fires = next_views(coming(definition.job, anchor, ctx.now(), None, _FIRES))
        return {"job": detail, "runs": runs, "toml": jobfiles.to_toml(definition), "fires": fires}

    return _page(ctx, "job.html", "/jobs/", show)


@router.get("/runs/{run}")
def run_page(ctx: Ctx, run: str) -> Response:
    """One run: its attempts and what they wrote last."""

    def show() -> dict[str, Any]:
        with ctx.readers.reader() as reader:
            detail = reader.run(found_run(reader, run), _SUBTASKS)
        if detail is None:
            raise CommandError("not_found", f'there is no run "{run}"')
        return {"run": detail, "subtasks": detail.subtasks_detail, "steps": STEPS}

    return _page(ctx, "run.html", "/runs/", show)


def _page(context: Context, template: str, base: str, show: Callable[[], dict[str, Any]]) -> Response:
    """The page, or one that says what is not there and what may have been meant."""
    cluster, _ = _fleet(context)
    try:
        values = show()
    except CommandError as error:
        if error.kind != "not_found":
            raise
        near = [(base + quote(name, safe="@"), name) for name in error.near]
        values = {"cluster": cluster, "title": "Not found", "detail": error.text, "near": near}
        return page("problem.html", values, 404)
    return page(template, {"cluster": cluster, **values})


def _fleet(context: Context) -> tuple[Cluster, list[Worker]]:
    """The cluster and its workers; without a leader's answer only what is known anyway."""
    status = context.door.status()
    if not status.is_leading:
        return cluster_view(status, None), []
    try:
        view = cast(rq.ClusterView, context.ask(rq.DescribeCluster()))
        workers = cast(tuple[rq.WorkerView, ...], context.ask(rq.DescribeWorkers()))
    except CommandError:
        return cluster_view(status, None), []
    return cluster_view(status, view), [
        worker_view(worker) for worker in sorted(workers, key=lambda w: w.name)
    ]
