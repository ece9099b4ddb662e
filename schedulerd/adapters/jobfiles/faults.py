"""What is wrong with a job table, in plain sentences. Knows nothing of files; pydantic's words end here."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails, PydanticCustomError

from schedulerd.adapters.jobfiles.catalog import BELONGS_TO_A_JOB, keys_of, later_keys
from schedulerd.adapters.jobfiles.positions import dotted
from schedulerd.adapters.jobfiles.toml_text import Path, printable
from schedulerd.errors import JobFileError

SHOWN = 60  # characters of a value that a sentence repeats
_OURS = "sentence"

_TYPES = {
    "string_type": "a string",
    "string_sub_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "list_type": "a list of strings",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_LISTS = {"success_codes": "a list of integers", "items": "a list"}
_BOUNDS = {
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "too_short": "expected at least {min_length} element",
    "too_long": "expected at most {max_length:,} elements",
    "string_too_short": "expected some text",
    "string_too_long": "expected at most {max_length:,} characters",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong at `path` below the job (or file) it was found in."""

    path: Path
    text: str  # what was found, what was expected
    at_key: bool = False  # the key is wrong, not its value
    index: int | None = None  # which character of the string at `path`

    @property
    def key(self) -> str:
        """The path as people write it: `split.items[2]`; empty for the job itself."""
        return dotted(self.path)

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer (RFC 6901): `/split/items/2`; empty for the job itself."""
        return "".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in self.path)


class DocumentError(JobFileError):
    """A job given as a document is faulty; lines begin with JSON pointers, `details` holds the same in parts."""

    def __init__(self, details: Iterable[Fault]) -> None:
        self.details = tuple(details)
        super().__init__(
            [printable(f"{fault.pointer}: {fault.text}".removeprefix(": ")) for fault in self.details]
        )


def refusal(text: str, index: int | None = None) -> PydanticCustomError:
    """The error by which a validator of ours tells its own sentence (and which character it speaks of)."""
    return PydanticCustomError(_OURS, "{text}", {"text": text, "index": index})


def fault_of(error: ErrorDetails, document: Mapping[str, Any], level: str = "") -> Fault:
    """The sentence for one error of pydantic in `document`, which is a job ("") or "defaults"."""
    path = tuple(error["loc"])
    at_key = path[-1:] == ("[key]",)
    path = existing(path[:-1] if at_key else path, document)
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == _OURS:
        return Fault(path=path, text=context["text"], at_key=at_key, index=context.get("index"))
    if kind == "extra_forbidden":
        return Fault(path=path, text=unknown_key(path, level), at_key=True)
    if kind in ("literal_error", "enum"):
        return Fault(path=path, text=_unknown_value(path, found, str(context["expected"])))
    if kind in _TYPES:
        later = isinstance(found, dict) and path[:1] == ("env",) and "credential" in found
        expected = _LISTS.get(str(path[-1]), _TYPES[kind]) if kind == "list_type" else _TYPES[kind]
        text = "a credential is not supported yet, expected a string" if later else _wrong(found, expected)
        return Fault(path=path, text=text, at_key=at_key)
    expected = _BOUNDS.get(kind, "expected something else").format_map(context)
    return Fault(path=path, text=f"{shown(found)} is out of range, {expected}", at_key=at_key)


def unknown_key(path: Path, level: str) -> str:
    """Why the key that ends `path` is refused: known but not supported yet, out of place, or unknown."""
    key, parent = str(path[-1]), level if len(path) == 1 else str(path[-2])
    if key in later_keys(parent):
        return "not supported yet, leave it out"
    if parent == "defaults" and key in BELONGS_TO_A_JOB:
        return "speaks of one job and cannot be a default, write it into the job"
    near = did_you_mean(key, keys_of(parent)) or did_you_mean(key, later_keys(parent), 0.8)
    return f"unknown key{(elsewhere(key) if parent != 'file' else '') or near}"


def elsewhere(key: str) -> str:
    """`, did you mean "split.shards"?` for a key that belongs into a table of the job."""
    homes = [f'"{table}.{key}"' for table in ("split", "retry") if key in keys_of(table) | later_keys(table)]
    return f", did you mean {' or '.join(homes)}?" if homes else ""


def did_you_mean(found: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`, did you mean "shell"?`, or nothing if no known word is near."""
    near = get_close_matches(found, sorted(known), n=1, cutoff=likeness)
    return f', did you mean "{near[0]}"?' if near else ""


def shown(value: object) -> str:
    """A value as a sentence repeats it: as JSON where it can be, cut to a length people read."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return kind_of(value)
    text = printable(text)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def kind_of(value: object) -> str:
    """What a value is, in the words of TOML."""
    kinds: list[tuple[type, str]] = [
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a float"),
        (str, "a string"),
        (datetime, "a date and time"),
        (date, "a date"),
        (time, "a time of day"),
        (list, "a list"),
        (dict, "a table"),
    ]
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def wrong_kind(found: object, expected: str) -> str:
    """`90 is an integer, expected a string`."""
    return _wrong(found, expected)


def _wrong(found: object, expected: str) -> str:
    if isinstance(found, dict | list) or found is None:
        return f"{kind_of(found)} was found, expected {expected}"
    return f"{shown(found)} is {kind_of(found)}, expected {expected}"


def _unknown_value(path: Path, found: object, expected: str) -> str:
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    if not isinstance(found, str):
        return _wrong(found, "one of " + ", ".join(f'"{word}"' for word in words))
    near = did_you_mean(found, words)
    expected = ", ".join(f'"{word}"' for word in words)
    return f"{shown(found)} is unknown{near or ','} expected one of {expected}"


def existing(path: Path, document: Any) -> Path:
    """As much of `path` as `document` holds, but its last known key even if that is missing from it."""
    for length, name in enumerate(path):
        held = isinstance(document, dict) and name in document
        held = held or (isinstance(document, list) and isinstance(name, int) and name < len(document))
        if not held:
            return path[:length]
        document = document[name]
    return path
