"""Filling in templates for one attempt, right before it starts. Leaves the grammar to templates.py.

Where the text goes decides on quoting: for a shell every value is one quoted word, elsewhere it stays as it is.
"""

import json
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schedulerd.protocol.ids import rfc3339, split_attempt_id
from schedulerd.protocol.messages import Order, Spec
from schedulerd.protocol.templates import Fault, Reference, parse

PARENT_JOB = "SCHEDULERD_PARENT_JOB"  # in an Order's environment: the job whose end caused this run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_FORMATS = {"date": "%Y-%m-%d", "time": "%H:%M:%S", "hour": "%H", "minute": "%M"}


class TemplateError(Exception):
    """A template cannot be filled in for this attempt; the text says which one and what it lacks."""


class Values:
    """What the names stand for in one attempt. Reads the item only when a template asks for it."""

    def __init__(self, spec: Spec, order: Order, worker_name: str) -> None:
        self._spec = spec
        self._order = order
        self._worker = worker_name

    @cached_property
    def _item(self) -> object:
        if self._order.item is None:
            raise TemplateError("this attempt has no item")
        try:
            return json.loads(self._order.item)
        except (ValueError, RecursionError) as error:
            raise TemplateError(f"the item is not JSON: {error}") from None

    def lookup(self, path: tuple[str, ...]) -> object:
        """A string, or a JSON value; for `items` a list with one value an item. Raises TemplateError."""
        root, names = path[0], path[1:]
        if root == "item":
            return _descend(self._item, "item", names)
        if root == "matrix":
            return _descend(self._item, "matrix", names)
        if root == "items":
            if not isinstance(self._item, list):
                raise TemplateError("items has no value: this attempt has one item, not a chunk of them")
            return [_descend(item, f"items[{index}]", names) for index, item in enumerate(self._item)]
        if root == "fire_time":
            return self._fire_time(names)
        if root == "parent":
            if names != ("job",) or PARENT_JOB not in self._order.env:
                raise TemplateError(f"{'.'.join(path)} has no value: no other job caused this run")
            return self._order.env[PARENT_JOB]
        run, subtask, number = split_attempt_id(self._order.attempt)
        known = {
            "run_id": run,
            "subtask": str(subtask),
            "subtasks": str(self._spec.subtasks),
            "attempt": str(number),
            "worker": self._worker,
        }
        if names or root not in known:
            raise TemplateError(f"{'.'.join(path)} does not exist")
        return known[root]

    def _fire_time(self, names: tuple[str, ...]) -> str:
        instant = _EPOCH + timedelta(microseconds=self._spec.fire_utc_us)
        if not names:
            return rfc3339(instant)
        if names == ("epoch",):
            return str(self._spec.fire_utc_us // 1_000_000)
        try:
            wall = instant.astimezone(ZoneInfo(self._spec.timezone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise TemplateError(f'timezone "{self._spec.timezone}" is not known on this worker') from None
        if len(names) != 1 or names[0] not in _WALL_FORMATS:
            raise TemplateError(f"fire_time.{'.'.join(names)} does not exist")
        return wall.strftime(_WALL_FORMATS[names[0]])


def _descend(value: object, where: str, names: Iterable[str]) -> object:
    for name in names:
        if not isinstance(value, dict):
            raise TemplateError(f'{where} has no field "{name}": it is {_kind(value)}')
        if name not in value:
            raise TemplateError(
                f'{where} has no field "{name}"; it has {", ".join(map(str, value)) or "none"}'
            )
        value = value[name]
        where = f"{where}.{name}"
    return value


def _kind(value: object) -> str:
    kinds = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "null")


def _plain(value: object) -> str:
    """Strings as they are, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(value: object, reference: Reference) -> str:
    """Safe in shell text; the values of `items` as words with a blank between."""
    words = value if reference.path[0] == "items" and isinstance(value, list) else [value]
    return " ".join(_plain(word) if reference.is_raw else shlex.quote(_plain(word)) for word in words)


def render_text(text: str, values: Values) -> str:
    """`text` for a place that no shell reads (an argument, an environment value). Raises TemplateError."""
    if "{{" not in text:
        return text
    return "".join(
        part if isinstance(part, str) else _plain(values.lookup(part.path)) for part in _sound_parts(text)
    )


def render_shell(text: str, values: Values) -> str:
    """`text` for a shell: every value is one quoted word unless it is `| raw`. Raises TemplateError."""
    if "{{" not in text:
        return text
    return "".join(
        part if isinstance(part, str) else _quoted(values.lookup(part.path), part)
        for part in _sound_parts(text)
    )


def render_argv(argv: Iterable[str], values: Values) -> list[str]:
    """The arguments; one that is exactly `{{ items }}` or `{{ items.x }}` becomes one an item. Raises TemplateError."""
    rendered: list[str] = []
    for text in argv:
        parts = _sound_parts(text) if "{{" in text else [text]
        first = parts[0] if len(parts) == 1 else ""
        if isinstance(first, Reference) and first.path[0] == "items":
            found = values.lookup(first.path)
            rendered.extend(map(_plain, found if isinstance(found, list) else [found]))
        else:
            rendered.append(render_text(text, values))
    return rendered


def _sound_parts(text: str) -> list[str | Reference]:
    """The pieces of `text`. Raises TemplateError for the first fault."""
    parts: list[str | Reference] = []
    for part in parse(text):
        if isinstance(part, Fault):
            raise TemplateError(part.message)
        parts.append(part)
    return parts
