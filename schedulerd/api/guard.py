"""What every request passes before it reaches a route: body size, Host, Origin; and what every answer carries.

Until there are tokens, whoever can connect may do everything. A browser on this host can connect too, so a page of
somebody else must not be able to use it: Host has to name this server (a rebound DNS name does not), and what
changes something must not come from another origin. Knows nothing of routes.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schedulerd.api.problems import problem

MAX_BODY = 1 << 20  # bytes
_TOO_LARGE = f"the body is larger than {MAX_BODY:,} bytes"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware; `own_names` are host names, besides addresses and localhost, that mean this server."""

    def __init__(self, app: ASGIApp, own_names: Sequence[str] = ()) -> None:
        self._app = app
        self._own_names = frozenset(name.lower() for name in own_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await problem(*refusal)(scope, receive, _with_headers(send))
            return
        await self._app(scope, _bounded(receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_unix(scope) and not self._is_own(host):
            return 403, f'Host "{host}" is not a name of this server; use its address or localhost'
        if scope["method"] not in SAFE_METHODS and (reason := _foreign(scope, headers, host)):
            return 403, reason
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return 400, f'Content-Length "{length[:40]}" is not a number'
        if int(length[:20]) > MAX_BODY:
            return 413, _TOO_LARGE
        return None

    def _is_own(self, host: str) -> bool:
        """An address cannot be rebound by DNS, so any will do; of names only those that are known."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name.endswith(".localhost") or name in self._own_names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def is_unix(scope: Scope) -> bool:
    """Whether the request came over a Unix socket, which no browser can reach."""
    server = scope.get("server")
    return server is not None and server[1] is None


def _foreign(scope: Scope, headers: Headers, host: str) -> str:
    """Why a request that changes something is taken for a foreign page's; empty when it is not."""
    origin = headers.get("origin")
    if origin is not None:
        if origin.lower() == f"{scope['scheme']}://{host}".lower():
            return ""
        return f'a page of "{origin}" may not change anything here'
    site = headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin"):
        return ""
    return f"a {site} page may not change anything here"


def _bounded(receive: Receive) -> Receive:
    """`receive`, until the body is over MAX_BODY: a chunked body tells no length beforehand."""
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413, _TOO_LARGE)  # FastAPI turns any other exception into a 400
        return message

    return counting


def _with_headers(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return adding
