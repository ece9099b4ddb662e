"""For probes and Prometheus. None but /metrics asks the loop, and that one waits only briefly."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from starlette.requests import Request
from starlette.responses import Response

from schedulerd.api.context import Ctx, as_json
from schedulerd.api.gauges import refresh
from schedulerd.protocol.api_answers import Readiness, Version

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """The server answers."""
    return "ok\n"


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(ctx: Ctx) -> Response:
    """200 when the daemon does its work; 503 with the reasons when it does not."""
    status = ctx.door.status()
    answer = Readiness(
        ready=status.ready, reasons=list(status.reasons), is_leading=status.is_leading, epoch=status.epoch
    )
    return as_json(answer, 200 if status.ready else 503)


@router.get("/version", response_model=Version)
async def version(ctx: Ctx) -> Response:
    """The version of schedulerd."""
    return as_json(Version(version=ctx.door.status().version))


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(ctx: Ctx, request: Request) -> Response:
    """Prometheus text format."""
    gauges = request.app.state.metrics
    refresh(gauges, ctx.door)
    return Response(gauges.render(), media_type=gauges.content_type)
