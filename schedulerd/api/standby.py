"""What a standby does with requests that only the leader can answer: it sends them there, or says who leads.

Reads are answered from the ledger by every scheduler. Knows nothing of what is asked.
"""

from dataclasses import asdict

from starlette.types import ASGIApp, Receive, Scope, Send

from schedulerd.api.door import Door, DoorStatus
from schedulerd.api.guard import SAFE_METHODS, is_unix
from schedulerd.api.problems import problem
from schedulerd.api.views.fleet import leader_view

_OWN = ("/v1/check",)  # orders nothing: any scheduler can do it
_LEADERS = ("/v1/workers",)  # not in the ledger: only the leader knows


class Standby:
    """ASGI middleware, behind the guard."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if this scheduler can answer it."""
        if scope["type"] == "http" and _is_for_leader(scope["method"], scope["path"]):
            status = self._door.status()
            if status.is_standby:
                await self._elsewhere(status, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _elsewhere(self, status: DoorStatus, scope: Scope) -> ASGIApp:
        leader = status.leader
        if leader is not None and leader.id == status.id:
            return problem(
                503, "this schedulerd was elected and only just begins to lead", {"Retry-After": "1"}
            )
        if leader is None:
            reasons = "; ".join(status.reasons) or "it has only just stopped"
            return problem(503, f"nobody leads at the moment: {reasons}", {"Retry-After": "2"})
        shown = asdict(leader_view(leader))
        text = f"this schedulerd is a standby; the leader is {leader.words()}, epoch {leader.epoch}"
        if not leader.url:
            return problem(503, f"{text}; it has no [api] advertise to be reached at", leader=shown)
        if is_unix(scope):  # whoever may use a socket of this host is nobody known on the leader's
            return problem(503, f"{text}; ask it at {leader.url}", leader=shown)
        path = scope.get("raw_path", b"").decode("ascii") or scope["path"]
        query = scope.get("query_string", b"").decode("ascii")
        location = f"{leader.url}{path}{f'?{query}' if query else ''}"
        return problem(307, f"{text}; go on there", {"Location": location}, leader=shown)


def _is_for_leader(method: str, path: str) -> bool:
    if method in SAFE_METHODS:
        return path in _LEADERS
    return path.startswith("/v1/") and path not in _OWN
