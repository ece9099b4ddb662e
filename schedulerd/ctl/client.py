"""An HTTP client for one schedulerd, over TCP or its Unix socket. Turns refusals into Failures; knows no verbs."""

import http.client
import json
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from schedulerd.ctl.exits import OF_STATUS, Exit, Failure

DEFAULT_SOCKET = "/run/schedulerd/api.sock"
DEFAULT_URL = "http://127.0.0.1:7480"
_TIMEOUT = 70.0  # seconds; a reload of a large table takes its time
_PAGE = 1000
_HOPS = 3  # redirects followed for one request: the lead may change hands meanwhile

Query = Mapping[str, str | int | bool | list[str] | None]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises Failure when it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Failure(Exit.FAILED, "the server's answer is not JSON; is it a schedulerd?") from error


class Client:
    """One address; the connection is kept between requests."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, **query: str | int | bool | list[str] | None) -> Any:
        """The JSON at `path`."""
        return self.request("GET", path, query=query).json()

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that answers a POST."""
        return self.request("POST", path, body=body, headers=headers).json()

    def items(
        self, path: str, limit: int | None = None, **query: str | int | bool | list[str] | None
    ) -> Iterator[Any]:
        """The items of a list, following its cursors to the end or to `limit`."""
        cursor: str | None = ""
        left = limit
        while cursor is not None and left != 0:
            size = _PAGE if left is None else min(left, _PAGE)
            page = self.get(path, **query, limit=size, cursor=cursor or None)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page["next_cursor"]

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. Raises Failure for every answer that is a refusal, and when nobody answers."""
        sent = {"Accept": "application/json", "Schedulerd-User": _user(), **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        target = path + (f"?{text}" if (text := _query_text(query or {})) else "")
        answer = self._exchange(method, target, data, sent)
        hops = 0
        while answer.status in (307, 308) and (location := answer.headers.get("Location", "")):
            if hops == _HOPS:
                raise Failure(
                    Exit.UNREACHABLE, "standbys send on to each other, nobody of them leads; try again"
                )
            hops += 1
            answer = self._elsewhere(location, method, data, sent)
        if answer.status >= 400:
            raise _refusal(answer)
        if answer.status >= 300:
            raise Failure(
                Exit.FAILED, f"the server answered {answer.status}; is {self.address} a schedulerd?"
            )
        return answer

    def _elsewhere(
        self, location: str, method: str, data: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """The same request at the leader, where a standby sends it; with the token, which is the cluster's."""
        parts = urlsplit(location)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        other = Client(f"{parts.scheme}://{parts.netloc}")
        try:
            return other._exchange(method, target, data, headers)
        finally:
            other.close()

    def stream(
        self, path: str, *, query: Query | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        """The lines of an answer that goes on, on a connection of its own, until it breaks or the server ends it.

        Raises Failure for a refusal, and when nobody answers.
        """
        sent = {"Accept": "text/event-stream", "Schedulerd-User": _user(), **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        target = path + (f"?{text}" if (text := _query_text(query or {})) else "")
        connection = _connection(self.address)
        try:
            connection.request("GET", target, headers=sent)
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(Answer(response.status, response.headers, response.read()))
            while line := response.readline():
                yield line.decode("utf-8", "replace").rstrip("\n")
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        is_fresh = self._connection is None
        connection = self._connection = self._connection or _connection(self.address)
        try:
            connection.request(method, target, body=data, headers=dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not is_fresh and method == "GET":  # a kept connection that the server closed meanwhile
                return self._exchange(method, target, data, headers)
            raise self._unreachable(error) from error
        except TimeoutError as error:
            self.close()
            raise Failure(
                Exit.UNREACHABLE, f"{self.address} did not answer within {_TIMEOUT:.0f} s"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Failure:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Failure(
            Exit.UNREACHABLE,
            f"no schedulerd answers at {self.address}: {text}",
            ["is it running? another address: -H URL, -H unix:PATH or SCHEDULERD_ADDR"],
        )


def default_address() -> str:
    """`SCHEDULERD_ADDR`; else the Unix socket if it is there; else loopback."""
    if address := os.environ.get("SCHEDULERD_ADDR"):
        return address
    return f"unix:{DEFAULT_SOCKET}" if os.path.exists(DEFAULT_SOCKET) else DEFAULT_URL


def path_of(*parts: str) -> str:
    """`/v1/...` with every part quoted."""
    return "/v1/" + "/".join(quote(part, safe="@~") for part in parts)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address: str) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address.removeprefix("unix:").removeprefix("//"))
    if address.startswith("/"):
        return _UnixConnection(address)
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
        raise Failure(Exit.USAGE, f'"{address}" is no address; expected http://HOST:PORT or unix:PATH')
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT)
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT)


def _query_text(query: Query) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                pairs.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
    return urlencode(pairs)


def _refusal(answer: Answer) -> Failure:
    """The Failure that a problem+json stands for."""
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    detail = problem.get("detail") or f"the server answered {answer.status}"
    near = problem.get("near") or []
    faults = problem.get("faults") or []
    if near:
        detail = f"{detail}; did you mean {' or '.join(near)}?"
    return Failure(OF_STATUS.get(answer.status, Exit.FAILED), detail, faults, problem)


def _user() -> str:
    """Who asks, for the record: `alice@host`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"[:64]
