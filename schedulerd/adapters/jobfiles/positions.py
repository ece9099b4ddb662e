"""Where in a TOML text its keys and values stand, which the parser does not tell.

One cheap pass finds the statements (headers and `key = value`); what is inside a value is looked at only when
somebody asks for a place in it. The text must be TOML that the parser has accepted, with "\\n" line ends: nothing is
validated here.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from schedulerd.adapters.jobfiles.toml_text import (
    KEYS,
    Path,
    character_of,
    descend,
    end_of,
    names_of,
    part_of,
)

_REST = r"[ \t]*+(?:#[^\n]*+)?+(?:\n|\Z)"  # what may follow a statement on its line

_LINE_STRING = r'"(?!"")(?:[^"\\\n]|\\.)*+"'

# One statement a match. A value that may go on over several lines leaves `rest` unmatched; so do nested lists.
_STATEMENT = re.compile(
    rf"[ \t]*+(?:"
    rf"(?P<blank>(?:#[^\n]*+)?+(?:\n|\Z))"
    rf"|(?P<open>\[\[?)[ \t]*+(?P<header>{KEYS})[ \t]*+\]\]?{_REST}"
    rf"|(?P<keys>{KEYS})[ \t]*+=[ \t]*+(?P<value>)"
    rf"(?:(?:{_LINE_STRING}|'(?!'')[^'\n]*+'|[^\s\"'\[{{#][^\n#]*+|\[(?:[^\[\]{{\"'#\n]|{_LINE_STRING})*+\])"
    rf"(?P<rest>{_REST}))?+"
    rf")",
    re.DOTALL,
)


class Statement(NamedTuple):
    """One header or one `key = value`."""

    path: Path  # from the root; lists of tables give indexes
    base: int  # how many parts of `path` the table header gave; the others are spelled at `key`
    key: int  # offset of the first character of the (dotted) key
    value: int  # offset of the value's first character; -1 for a header


class Positions:
    """The statements of one text, and line and column of everything in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.statements = list(_statements(text))
        self._lines: list[int] = []
        self._places: dict[Path, Statement] = {}

    def line(self, offset: int) -> int:
        """Line of a character, from 1."""
        if not self._lines:
            self._lines = [0, *(match.end() for match in re.finditer("\n", self._text))]
        return bisect_right(self._lines, offset)

    def line_column(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, both from 1, columns counted in characters."""
        line = self.line(offset)
        return line, offset - self._lines[line - 1] + 1

    def offset(self, path: Path) -> int:
        """Offset of the key that ends `path`."""
        return self._offsets(path)[0]

    def key(self, path: Path) -> tuple[int, int]:
        """Line and column of the key that ends `path` (of the element, if an index ends it).

        For what the text does not hold: of the nearest parent that it holds.
        """
        return self.line_column(self._offsets(path)[0])

    def value(self, path: Path) -> tuple[int, int]:
        """Line and column of the value at `path`; of its key, where the value is a table with a header."""
        key, value = self._offsets(path)
        return self.line_column(key if value < 0 else value)

    def character(self, path: Path, index: int) -> tuple[int, int]:
        """Line and column of the `index`-th character (from 0, after unescaping) of the string at `path`."""
        key, value = self._offsets(path)
        return self.line_column(key if value < 0 else character_of(self._text, value, index))

    def span(self, path: Path) -> tuple[int, int]:
        """Offsets of the value's first character and of the one after it; (-1, -1) for a table with a header."""
        _, value = self._offsets(path)
        return (-1, -1) if value < 0 else (value, end_of(self._text, value))

    def _offsets(self, path: Path) -> tuple[int, int]:
        """Offsets of key and value; the value's is -1 where it is spelled over several statements."""
        if not self._places:
            self._places = _places(self.statements)
        for length in range(len(path), 0, -1):
            statement = self._places.get(path[:length])
            if statement is None:
                continue
            part = sum(1 for name in statement.path[statement.base : length] if isinstance(name, str)) - 1
            key = part_of(self._text, statement.key, max(part, 0))
            if length < len(statement.path) or statement.value < 0:
                return key, -1
            return descend(self._text, key, statement.value, path[length:])
        return 0, -1


def dotted(path: Path) -> str:
    """`split.items[2]`; names that are no bare keys in quotes."""
    text = ""
    for name in path:
        if isinstance(name, int):
            text += f"[{name}]"
        else:
            bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
            text += ("." if text else "") + (name if bare else json.dumps(name, ensure_ascii=False))
    return text


def _places(statements: list[Statement]) -> dict[Path, Statement]:
    """The statement of each path and of each path on the way to it; an own statement before a mention."""
    places: dict[Path, Statement] = {}
    for statement in statements:
        places.setdefault(statement.path, statement)
    for statement in statements:
        for length in range(len(statement.path) - 1, statement.base, -1):
            places.setdefault(statement.path[:length], statement)
    return places


def _statements(text: str) -> Iterator[Statement]:
    table: Path = ()
    lists: dict[Path, int] = {}  # lists of tables -> index of their newest element
    position, size = 0, len(text)
    match_statement = _STATEMENT.match
    while position < size:
        match = match_statement(text, position)
        if match is None:  # not TOML: the caller has been told so by the parser
            position = _next_line(text, position)
            continue
        position = match.end()
        if (header := match["header"]) is not None:
            table = _table_path(names_of(header), lists, is_list=match["open"] == "[[")
            yield Statement(table, 0, match.start("header"), -1)
        elif (keys := match["keys"]) is not None:
            value = match.start("value")
            yield Statement(table + names_of(keys), len(table), match.start("keys"), value)
            if match["rest"] is None:
                position = _next_line(text, end_of(text, value))


def _table_path(names: tuple[str, ...], lists: dict[Path, int], *, is_list: bool) -> Path:
    """The path that a header opens: every list of tables on its way stands for its newest element."""
    if not lists and not is_list:
        return names
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in lists:
            path = (*path, lists[path])
    path = (*path, names[-1])
    if is_list:
        lists[path] = lists.get(path, -1) + 1
    return (*path, lists[path]) if path in lists else path


def _next_line(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1
