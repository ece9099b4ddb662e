"""Every refusal of the API as RFC 9457 problem+json. Leaves to others when to refuse."""

import logging
from dataclasses import asdict
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schedulerd.errors import CommandError, JobFileError, LedgerError
from schedulerd.protocol.api_answers import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS = {"not_found": 404, "conflict": 409, "invalid": 422, "unavailable": 503}
_TITLES = {
    307: "Elsewhere",
    400: "Bad request",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Wrong media type",
    422: "Invalid",
    500: "Internal error",
    503: "Unavailable",
}


class Refusal(Exception):
    """A request that is refused with `status` and a sentence; `more` adds members to the problem."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """The response for one refusal; members that are empty are left out."""
    title = _TITLES.get(status, "Error")
    members = asdict(Problem(type="about:blank", title=title, status=status, detail=detail, **more))
    shown = {key: value for key, value in members.items() if value not in (None, [])}
    return Response(msgspec.json.encode(shown), status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Give `app` the handlers, so that no other shape of an error ever leaves it."""

    @app.exception_handler(Refusal)
    def refused(_: Request, error: Refusal) -> Response:
        return problem(error.status, error.detail, error.headers, **error.more)

    @app.exception_handler(CommandError)
    def command_refused(_: Request, error: CommandError) -> Response:
        status = STATUS.get(error.kind, 500)
        headers = {"Retry-After": "2"} if status == 503 else None
        return problem(status, error.text, headers, near=list(error.near))

    @app.exception_handler(JobFileError)
    def job_refused(_: Request, error: JobFileError) -> Response:
        return problem(422, _first(error.faults), faults=error.faults)

    @app.exception_handler(LedgerError)
    def ledger_unreadable(_: Request, error: LedgerError) -> Response:
        log.error("the ledger cannot be read for the API: %s", error)
        return problem(503, f"the ledger cannot be read now: {error}", {"Retry-After": "2"})

    @app.exception_handler(RequestValidationError)
    def not_valid(_: Request, error: RequestValidationError) -> Response:
        faults = [_fault(fault) for fault in error.errors()]
        return problem(422, _first(faults), faults=faults)

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path}"
        elif error.status_code == 405:
            detail = f"{request.method} is not possible at {request.url.path}"
        return problem(error.status_code, detail, dict(error.headers or {}))

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> Response:
        log.error("a request failed  method=%s path=%s", request.method, request.url.path, exc_info=error)
        return problem(500, "schedulerd could not answer because of a fault of its own; its log says more")


def _first(faults: list[str]) -> str:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{faults[0]}{more}" if faults else "the request is not valid"


def _fault(error: Any) -> str:
    """`query.limit: Input should be ...`: where, and what was expected."""
    where = ".".join(str(part) for part in error["loc"])
    found = error.get("input")
    shown = f", found {found!r}"[:80] if isinstance(found, str | int | float | bool) else ""
    return f"{where}: {error['msg']}{shown}"
