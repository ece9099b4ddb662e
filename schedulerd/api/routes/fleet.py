"""Workers, slots, the cluster: what is neither job nor run."""

from typing import Annotated, cast

from fastapi import APIRouter, Query
from starlette.responses import Response

from schedulerd.api.context import Caller, Ctx, as_json, no_job
from schedulerd.api.routes.jobs import Cursor, Limit
from schedulerd.api.views.fleet import cluster_view, leader_view, worker_view
from schedulerd.core import requests as rq
from schedulerd.errors import LedgerError
from schedulerd.protocol.api_answers import Cluster, SlotList, StepDownAnswer, WorkerList

router = APIRouter(prefix="/v1", tags=["fleet"])


@router.get("/workers", response_model=WorkerList)
def list_workers(ctx: Ctx) -> Response:
    """Workers by name, as the leader sees them."""
    views = cast(tuple[rq.WorkerView, ...], ctx.ask(rq.DescribeWorkers()))
    return as_json(
        WorkerList(items=[worker_view(view) for view in sorted(views, key=lambda v: (v.name, v.id))])
    )


@router.get("/slots", response_model=SlotList)
def list_slots(
    ctx: Ctx, job: Annotated[str, Query(description="Of this job.")], limit: Limit = 100, cursor: Cursor = ""
) -> Response:
    """Every fire time that has passed, newest first: its run, or why there is none."""
    with ctx.readers.reader() as reader:
        items, following = reader.slots(job, cursor, limit)
        if not items and reader.job(job) is None:
            raise no_job(reader, job)
    return as_json(SlotList(items=items, next_cursor=following))


@router.get("/cluster", response_model=Cluster)
def show_cluster(ctx: Ctx) -> Response:
    """The scheduler that answers and the work in its hands."""
    status = ctx.door.status()
    view = cast(rq.ClusterView, ctx.ask(rq.DescribeCluster())) if status.is_leading else None
    jobs = 0
    if view is None:
        try:
            with ctx.readers.reader() as reader:
                jobs = len(reader.job_names())
        except LedgerError:
            pass  # there is none yet, or it cannot be read now: who leads is still worth telling
    return as_json(cluster_view(status, view, jobs))


@router.post("/cluster/step-down", response_model=StepDownAnswer)
def step_down(ctx: Ctx, by: Caller) -> Response:
    """Have the leader let another lead; answered once somebody leads again, within seconds."""
    before = ctx.door.status()
    after = ctx.door.step_down(by)
    leader = None if after.leader is None else leader_view(after.leader)
    return as_json(StepDownAnswer(handed_over=leader is not None and leader.id != before.id, leader=leader))
