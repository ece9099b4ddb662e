"""The HTTP API on a free port before a SmallScheduler, and plain requests to it."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from support.small_scheduler import SmallScheduler

from schedulerd.adapters.metrics import Metrics
from schedulerd.api.server import Server, build_app, serve


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@contextmanager
def served(
    scheduler: SmallScheduler, socket_path: str | None = None, listen: str = "127.0.0.1:0"
) -> Iterator[Server]:
    """The server, listening."""
    app = build_app(scheduler, scheduler.reader, metrics=Metrics(), now=lambda: scheduler.now)
    server = serve(app, listen, socket_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def call(
    server: Server,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    data: bytes | None = None,
) -> Answer:
    """One request as a program makes it."""
    host, _, port = server.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        sent = dict(headers or {})
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=data, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
