"""The grammar `{{ name(.name)* [| raw] }}`: checked where job files are read, filled in where commands start.

Nothing more than that grammar exists: no expressions, no escapes, and no way to write a literal `{{` (in a shell,
`{""{` is one). Leaves filling in to rendering.py.
"""

import difflib
import re
from functools import lru_cache

from msgspec import Struct

# Root -> the names it may be followed by. None: any, of any depth.
_FIELDS: dict[str, tuple[str, ...] | None] = {
    "item": None,
    "items": None,
    "matrix": None,
    "subtask": (),
    "subtasks": (),
    "fire_time": ("date", "time", "hour", "minute", "epoch"),
    "run_id": (),
    "attempt": (),
    "worker": (),
    "parent": ("job",),
}
_MUST_HAVE_FIELD = frozenset({"matrix", "parent"})
_OF_ITEMS = frozenset({"item", "items", "matrix"})

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_REFERENCE = re.compile(rf"\{{\{{[ \t]*({_NAME}(?:\.{_NAME})*)[ \t]*(\|[ \t]*raw[ \t]*)?\}}\}}")
_SHOWN = 40  # characters of a faulty template that a message repeats


class Reference(Struct, frozen=True):
    """One `{{ ... }}` of a text."""

    offset: int  # in characters, of its first brace
    path: tuple[str, ...]  # root first, never empty
    is_raw: bool

    @property
    def text(self) -> str:
        """The names with their dots."""
        return ".".join(self.path)


class Fault(Struct, frozen=True):
    """A `{{` that is not the beginning of a template."""

    offset: int
    message: str


def check_template(
    text: str,
    *,
    chunked: bool,
    has_item: bool = True,
    has_parent: bool = True,
    axes: tuple[str, ...] | None = None,
) -> list[tuple[int, str]]:
    """Every fault of `text` that shows before it is filled in: (offset in characters, what was found and expected).

    `chunked`: the job splits with `chunk`. `has_item` False: there is never an item here (no split over items, or a
    gather, setup or split command). `has_parent` False: no other job can cause this run. `axes`: what `matrix` may be
    followed by, if that is known. A field that an item lacks is not known here and fails its attempt alone.
    """
    faults = []
    for part in parse(text):
        if isinstance(part, Fault):
            faults.append((part.offset, part.message))
        elif isinstance(part, Reference):
            message = _fault_of(part, chunked, has_item, has_parent) or _fault_of_axis(part, axes)
            if message:
                faults.append((part.offset, message))
    return faults


def _fault_of(reference: Reference, chunked: bool, has_item: bool, has_parent: bool) -> str:
    root, *names = reference.path
    if root not in _FIELDS:
        near = difflib.get_close_matches(root, _FIELDS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; expected one of {', '.join(_FIELDS)}"
        return f'template name "{root}" does not exist{hint}'
    fields = _FIELDS[root]
    if fields is not None and (len(names) > 1 or (names and names[0] not in fields)):
        known = f"only {', '.join(f'{root}.{field}' for field in fields)}" if fields else "no fields"
        return f'template "{reference.text}" does not exist: {root} has {known}'
    if root in _MUST_HAVE_FIELD and not names:
        return f'template "{root}" needs a field: expected {root}.{"job" if root == "parent" else "NAME"}'
    if root in _OF_ITEMS and not has_item:
        return f'template "{reference.text}" has no value here: there are no items'
    if root == "parent" and not has_parent:
        return f'template "{reference.text}" has no value here: no other job causes this run'
    if chunked and root in ("item", "matrix"):
        return f'template "{reference.text}" cannot be used with chunk; expected "items", which has them all'
    if not chunked and root == "items":
        return f'template "{reference.text}" cannot be used without chunk; expected "item"'
    return ""


def _fault_of_axis(reference: Reference, axes: tuple[str, ...] | None) -> str:
    if reference.path[0] != "matrix" or axes is None or reference.path[1] in axes:
        return ""
    if not axes:
        return f'template "{reference.text}" has no value here: the job is not split by a matrix'
    near = difflib.get_close_matches(reference.path[1], axes, 1)
    hint = f'did you mean "matrix.{near[0]}"?' if near else f"expected matrix.{' or matrix.'.join(axes)}"
    return f'template "{reference.text}" does not exist: the matrix has no such name, {hint}'


def needs_item(text: str) -> bool:
    """It names the item or items of its attempt."""
    return "{{" in text and any(
        isinstance(part, Reference) and part.path[0] in _OF_ITEMS for part in parse(text)
    )


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[str | Reference | Fault, ...]:
    """The text in pieces: literal text, references, and faults where a `{{` begins no template."""
    parts: list[str | Reference | Fault] = []
    done = 0
    while (start := text.find("{{", done)) >= 0:
        match = _REFERENCE.match(text, start)
        if start > done:
            parts.append(text[done:start])
        if match is None:
            line = text[start:].splitlines()[0]
            close = line.find("}}")
            found = line[: close + 2] if close >= 0 else line[:_SHOWN]
            parts.append(
                Fault(start, f"found {found}, expected {{{{ name.name }}}} or {{{{ name.name | raw }}}}")
            )
            done = start + 2
        else:
            parts.append(Reference(start, tuple(match[1].split(".")), match[2] is not None))
            done = match.end()
    if done < len(text):
        parts.append(text[done:])
    return tuple(parts)
