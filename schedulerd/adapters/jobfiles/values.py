"""Single values of a document: their types, limits and the sentences that refuse them. Knows nothing of keys."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from schedulerd.adapters.jobfiles.durations import EXAMPLE, PATTERN, format_duration, parse_duration
from schedulerd.adapters.jobfiles.faults import refusal, shown, wrong_kind
from schedulerd.core.zones import UnknownZone, zone
from schedulerd.hostkit.settings import LABEL
from schedulerd.protocol.ids import JOB_NAME

NAME_RULE = "expected a lower-case letter or digit, then up to 62 of a-z 0-9 . _ -"
MAX_WORD = (
    64 * 1024
)  # bytes of one argument, command line, item or variable; Linux takes 128 KiB for one string
MAX_SCRIPT = 256 * 1024  # bytes
MAX_SUBTASKS = 100_000

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,62}")
_AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%")
_VARIABLE = re.compile(r"[^=\0]+")
_OWN_VARIABLES = frozenset(
    {
        "SCHEDULERD_ATTEMPT",
        "SCHEDULERD_ATTEMPT_ID",
        "SCHEDULERD_EPOCH",
        "SCHEDULERD_FENCE",
        "SCHEDULERD_FIRE_TIME",
        "SCHEDULERD_IDEMPOTENCY_KEY",
        "SCHEDULERD_ITEM",
        "SCHEDULERD_ITEMS_FILE",
        "SCHEDULERD_JOB",
        "SCHEDULERD_NEED_MET",
        "SCHEDULERD_PREVIOUS_OUTCOME",
        "SCHEDULERD_RUN_ID",
        "SCHEDULERD_SUBTASK",
        "SCHEDULERD_SUBTASKS",
        "SCHEDULERD_WORKER",
    }
)


def _text(value: str, limit: int = MAX_WORD) -> str:
    if "\0" in value:
        raise refusal(
            f"{shown(value)} holds a NUL character, which no program can be given", value.index("\0")
        )
    if (size := len(value.encode())) > limit:
        raise refusal(f"{size:,} bytes of text were found, expected at most {limit:,}")
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise refusal(f"{shown(value)} is empty, expected something to run")
    return value


def _script(value: str) -> str:
    return _filled(_text(value, MAX_SCRIPT))


def _program(words: list[str]) -> list[str]:
    if not words or not words[0]:
        raise refusal(f"{shown(words)} names no program, expected a list that begins with one")
    return words


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise refusal(f"{shown(value)} is not an absolute path, expected one that begins with /")
    return value


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise refusal(wrong_kind(value, EXAMPLE))
    try:
        return parse_duration(value)
    except ValueError as error:
        raise refusal(str(error)) from error


def _at_least(least: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < least:
            found = format_duration(value)
            raise refusal(f'"{found}" is too short, expected at least "{format_duration(least)}"')
        return value

    return AfterValidator(check)


def _zone(value: str) -> str:
    try:
        zone(value)
    except UnknownZone as error:
        near = " or ".join(f'"{name}"' for name in error.near)
        hint = f"did you mean {near}?" if near else 'expected an IANA name such as "Europe/Prague"'
        raise refusal(f"{shown(value)} is an unknown zone, {hint}") from error
    return value


def _label(value: str) -> str:
    if not LABEL.fullmatch(value.removeprefix("!")):
        raise refusal(f'{shown(value)} is not a label, expected "role=db", "!spot" or the like')
    return value


def _pool(value: str) -> str:
    if not JOB_NAME.fullmatch(value):
        raise refusal(f"{shown(value)} cannot name a pool, {NAME_RULE}")
    return value


def _tag(value: str) -> str:
    if not _TAG.fullmatch(value):
        raise refusal(f"{shown(value)} is not a tag, expected up to 63 letters, digits and . _ : / @ + -")
    return value


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise refusal(f'{shown(name)} cannot name a variable, expected no "=" in it')
    if name in _OWN_VARIABLES:
        raise refusal(f"{name} is set by the worker for every attempt, expected another name")
    return _text(name)


def _json_item(value: object) -> object:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise refusal(f"{shown(value)} cannot be JSON, expected text, numbers, lists and tables") from error
    _text(text)
    return value


def _axis(name: str) -> str:
    if not _AXIS.fullmatch(name):
        raise refusal(f"{shown(name)} cannot be named in a template, expected letters, digits, - and _")
    return name


def _need(value: object) -> object:
    if value == "all" or (
        isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SUBTASKS
    ):
        return value
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)) and 0 < Decimal(found[1]) <= 100:
        return value
    raise refusal(f'{shown(value)} was found, expected "all", a count of subtasks, or a share such as "95%"')


def millionths(percent: str) -> int:
    """`"99.5%"` as so many of a million."""
    return int(Decimal(percent.removesuffix("%")) * 10_000)


def _true(value: object) -> object:
    if value is not True:
        raise refusal(f"{shown(value)} was found, expected true or no such key")
    return value


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _schema_one_or_many(element: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [element, {"type": "array", "items": element, "minItems": 1}]})


Word = Annotated[str, AfterValidator(_text)]
Words = Annotated[list[Word], Field(max_length=4096), AfterValidator(_program)]
CommandLine = Annotated[Word, AfterValidator(_filled)]
ScriptText = Annotated[str, AfterValidator(_script)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["90s", "1h30m"]}),
]
Positive = Annotated[Duration, _at_least(timedelta(milliseconds=1))]
Period = Annotated[Duration, _at_least(timedelta(milliseconds=100))]
OneOrMany = Annotated[
    list[Word],
    BeforeValidator(_one_or_many),
    Field(min_length=1, max_length=1000),
    _schema_one_or_many({"type": "string"}),
]
Instant = Annotated[Any, WithJsonSchema({"type": "string", "format": "date-time"})]
_DATES = {"type": "string", "examples": ["2026-12-24", "2026-12-24/2027-01-02"]}
CALENDAR_PARTS: dict[str, Any] = {
    "dates": {
        "anyOf": [_DATES, {"type": "array", "items": _DATES}],
        "description": "Days, or ranges of them with both ends included.",
    },
    "weekdays": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": 'Such as "sat", or a range "mon-fri".',
    },
    "times": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Ranges of times, START/END, the end excluded.",
    },
}
_CALENDAR: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, **CALENDAR_PARTS},
            "additionalProperties": False,
        },
    ]
}
Calendars = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [*_CALENDAR["anyOf"], {"type": "array", "items": _CALENDAR, "minItems": 1, "maxItems": 20}]}
    ),
]
Instants = Annotated[
    list[Any],
    BeforeValidator(_one_or_many),
    Field(min_length=1, max_length=10_000),
    _schema_one_or_many({"type": "string", "format": "date-time"}),
]
Zone = Annotated[str, AfterValidator(_zone)]
Label = Annotated[str, AfterValidator(_label)]
PoolName = Annotated[str, AfterValidator(_pool)]
Tag = Annotated[str, AfterValidator(_tag)]
Variable = Annotated[str, AfterValidator(_variable)]
Item = Annotated[Any, AfterValidator(_json_item)]
Axis = Annotated[str, AfterValidator(_axis)]
AxisValues = Annotated[list[Item], Field(min_length=1, max_length=MAX_SUBTASKS)]
Combination = dict[Axis, Item]
NeedText = Annotated[
    Any,
    BeforeValidator(_need),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "all"},
                {"type": "integer", "minimum": 1, "maximum": MAX_SUBTASKS},
                {"type": "string", "pattern": rf"^{_PERCENT.pattern}$", "examples": ["95%"]},
            ]
        }
    ),
]
ExitCode = Annotated[int, Field(ge=0, le=255)]
OnlyTrue = Annotated[bool | None, BeforeValidator(_true), WithJsonSchema({"const": True})]
Directory = Annotated[Word, AfterValidator(_absolute)]
