"""The OpenAPI description: FastAPI's, plus the job document (the types that read job files) and problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from schedulerd.adapters import jobfiles
from schedulerd.api.problems import MEDIA_TYPE
from schedulerd.api.routes.backfill import BODY
from schedulerd.protocol.api_answers import LogLine, Problem

_REF = "#/components/schemas/"


def install(app: FastAPI) -> None:
    """Make `/openapi.json` tell all shapes; built at the first request for it."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for shape in (Problem, LogLine):
        schemas.update(
            _with_definitions(shape.__name__, TypeAdapter(shape).json_schema(ref_template=_REF + "{model}"))
        )
    schemas.update(_moved(jobfiles.json_schema()["$defs"]))
    answer = {"description": "Refused.", "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = answer
        if path == "/v1/jobs/{name}":
            _body(operations["put"], "application/json", {"$ref": f"{_REF}JobDocument"})
            patch = {"type": "object", "description": "Keys of JobDocument; null takes one away."}
            _body(operations["patch"], "application/json", patch)
        elif path == "/v1/jobs/{name}/backfill":
            _body(operations["post"], "application/json", BODY)
    return schema


def _body(operation: dict[str, Any], media_type: str, schema: dict[str, Any]) -> None:
    operation["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}


def _with_definitions(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema.pop("$defs", {}), name: schema}


def _moved(value: Any) -> Any:
    """`value` with its references pointing at the components."""
    if isinstance(value, dict):
        return {key: _moved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner) for inner in value]
    return value.replace("#/$defs/", _REF) if isinstance(value, str) else value
