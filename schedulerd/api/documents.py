"""Jobs between the API's bodies and the job table: parsing, merge patches, versions as ETags."""

from typing import Any

from schedulerd.adapters import jobfiles
from schedulerd.api.context import Context
from schedulerd.api.problems import Refusal
from schedulerd.model.job import Definition


def parse(context: Context, name: str, document: dict[str, Any]) -> Definition:
    """The definition a body describes, the settings' defaults filled in. Raises DocumentError with every fault."""
    return jobfiles.parse_job(name, document, defaults=context.defaults())


def patched(document: Any, patch: Any) -> Any:
    """`document` after an RFC 7396 merge patch: null takes a key away, tables are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = patched(merged.get(key), value)
    return merged


def etag(version: str) -> str:
    """The ETag of a job's definition."""
    return f'"{version}"'


def expected_version(if_match: str | None, current: Definition | None) -> str | None:
    """What If-Match demands of the job table; None = nothing. Raises Refusal 412 when it cannot be met."""
    if if_match is None:
        return None
    if current is None:
        raise Refusal(412, "If-Match: there is no such job")
    if if_match.strip() == "*":
        return current.version
    wanted = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    if current.version not in wanted:
        name, version = current.job.name, current.version
        raise Refusal(
            412, f"If-Match: {name} is at version {version}, not {', '.join(wanted)}; read it again"
        )
    return current.version


def must_be_new(if_none_match: str | None) -> bool:
    """Whether If-None-Match allows only a new job. Raises Refusal for anything but `*`."""
    if if_none_match is None:
        return False
    if if_none_match.strip() != "*":
        raise Refusal(400, f'If-None-Match: "{if_none_match}" was found; only * is possible here')
    return True
