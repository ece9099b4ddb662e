"""JSON Schema of a job file, for editors (`#:schema`), from the very types that read it."""

from typing import Any

from schedulerd.adapters.jobfiles import catalog
from schedulerd.adapters.jobfiles.documents import JobDocument, Pool
from schedulerd.adapters.jobfiles.values import CALENDAR_PARTS
from schedulerd.protocol.ids import JOB_NAME

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of one `*.toml` of a jobs directory: `job` and `pool` with a table for each name."""
    job = _without_null(JobDocument.model_json_schema(ref_template="#/$defs/{model}"))
    definitions = job.pop("$defs", {})
    job["allOf"] = [_exactly_one(catalog.WORK_KEYS), _at_most_one(catalog.TRIGGER_KEYS)]
    definitions["Split"] |= _exactly_one(catalog.SPLIT_KEYS)
    for step in ("Step", "Gather"):
        definitions[step] |= _exactly_one(catalog.WORK_KEYS)
    return {
        "$schema": DIALECT,
        "title": "schedulerd job file",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "job": {
                "type": "object",
                "propertyNames": {"pattern": f"^{JOB_NAME.pattern}$"},
                "additionalProperties": {"$ref": "#/$defs/JobDocument"},
            },
            "pool": {
                "type": "object",
                "propertyNames": {"pattern": f"^{JOB_NAME.pattern}$"},
                "additionalProperties": {"$ref": "#/$defs/Pool"},
            },
            "calendar": {
                "type": "object",
                "propertyNames": {"pattern": f"^{JOB_NAME.pattern}$"},
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": False,
                    "minProperties": 1,
                    "properties": {
                        **CALENDAR_PARTS,
                        "ics": {
                            "type": "string",
                            "description": "An iCalendar file, from this file's directory.",
                        },
                    },
                },
            },
        },
        "$defs": {"JobDocument": job, "Pool": Pool.model_json_schema(), **definitions},
    }


def _exactly_one(keys: tuple[str, ...]) -> dict[str, Any]:
    return {"oneOf": [{"required": [key]} for key in keys]}


def _at_most_one(keys: tuple[str, ...]) -> dict[str, Any]:
    return {
        "anyOf": [
            {"not": {"anyOf": [{"required": [other]} for other in keys if other != key]}} for key in keys
        ]
    }


def _without_null(schema: Any) -> Any:
    """TOML has no null: a key that may be left out is of its type only, without the default null."""
    if isinstance(schema, list):
        return [_without_null(element) for element in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _without_null(value) for key, value in schema.items() if (key, value) != ("default", None)}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        return {**kinds[0], **schema}
    return schema | {"anyOf": kinds} if kinds else schema
