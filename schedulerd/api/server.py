"""Puts the application together: routes, guard, problems, OpenAPI. Leaves listening to serving.py."""

import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from schedulerd.adapters.ledger.base import LedgerReader
from schedulerd.adapters.metrics import Metrics
from schedulerd.api import openapi, problems
from schedulerd.api.context import Context
from schedulerd.api.door import Door
from schedulerd.api.guard import Guard
from schedulerd.api.readers import Readers
from schedulerd.api.routes import backfill, events, fleet, health, job_orders, jobs, pages, runs, table, why
from schedulerd.api.serving import Server, serve
from schedulerd.api.standby import Standby
from schedulerd.hostkit import clock

__all__ = ["Server", "build_app", "serve"]

STATIC = Path(__file__).parent / "ui" / "static"
THREADS = 16  # requests that are worked on at once; the others wait


def build_app(
    door: Door,
    open_reader: Callable[[], LedgerReader],
    *,
    metrics: Metrics | None = None,
    defaults: Callable[[], Mapping[str, Any]] = dict,
    own_names: Sequence[str] = (),
    now: Callable[[], datetime] = clock.utc_now,
) -> FastAPI:
    """The HTTP application.

    `open_reader` is called in the server's threads, for a few readers that are kept; `defaults` tells [defaults] of
    the settings as they are now, for jobs made through the API; `own_names` are host names by which people reach this
    server besides the host's own name, localhost and plain addresses.
    """
    readers = Readers(open_reader)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        readers.close()

    app = FastAPI(
        title="schedulerd",
        version=door.status().version,
        summary="Jobs, runs, workers and fire times of one schedulerd.",
        docs_url=None,  # their pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.context = Context(door, readers, defaults, now)
    app.state.metrics = metrics or Metrics()
    app.state.closing = threading.Event()  # set when the server stops: answers that never end must end then
    app.state.followers = 0
    problems.install(app)
    for room in (health, jobs, job_orders, backfill, runs, why, fleet, events, table, pages):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    names = {name for name in (socket.gethostname(), *own_names) if name}
    app.add_middleware(Standby, door=door)
    app.add_middleware(Guard, own_names=sorted(names))
    openapi.install(app)
    return app
