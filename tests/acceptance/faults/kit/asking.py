"""Asks a scheduler over its Unix socket, which no fault of the network touches. What it answers is the caller's."""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

_JSON = {"Content-Type": "application/json", "Host": "localhost"}


def ask(path: Path, target: str, method: str, seconds: float) -> Any:
    """JSON of the API behind the socket `path`. Raises OSError or HTTPException, and AssertionError for a refusal."""
    return json.loads(read(path, target, method, seconds))


def read(path: Path, target: str, method: str, seconds: float) -> bytes:
    """As `ask`, the answer as it came."""
    connection = _OverSocket(path, seconds)
    try:
        connection.request(method, target, body=b"{}" if method == "POST" else None, headers=_JSON)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise AssertionError(f"{method} {target} was answered with {answer.status}: {body[:500]!r}")
        return body
    finally:
        connection.close()


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """To the Unix socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.path.relpath(self._path))  # a socket's path holds 107 bytes
