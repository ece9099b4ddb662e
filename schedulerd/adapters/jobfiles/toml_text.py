"""Offsets inside TOML text: the parts of a dotted key, the end of a value, what a list or inline table holds.

Whatever is read here has been accepted by the parser; nothing is validated, nothing recurses deeper than a path.
"""

import re
import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]  # names of keys, and indexes from 0 into lists

_STRING = (
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\]|\\.)*+"'
    r"|'[^']*+'"
)
_KEY = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
KEYS = rf"{_KEY}(?:[ \t]*+\.[ \t]*+{_KEY})*+"
_ONE_KEY = re.compile(_KEY)
_ONE_STRING = re.compile(_STRING, re.DOTALL)
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*+)*+")
_TOKEN = re.compile(rf"(?:{_STRING})|#[^\n]*+|[\[\]{{}}]|[^\[\]{{}}\"'#]++", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]*+")
_KEY_EQUALS = re.compile(rf"(?P<keys>{KEYS})[ \t]*+=[ \t]*+")
_CONTINUATION = re.compile(r"\\[ \t]*\n[ \t\n]*+")
_ESCAPED = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)


def printable(text: str) -> str:
    """One line that is safe on a terminal: characters that do not print as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def names_of(keys: str) -> tuple[str, ...]:
    """The parts of a dotted key as they read after unquoting."""
    if '"' not in keys and "'" not in keys:
        return tuple(part.strip() for part in keys.split(".")) if "." in keys else (keys,)
    return tuple(_unquoted(match[0]) for match in _ONE_KEY.finditer(keys))


def _unquoted(key: str) -> str:
    if key[0] == '"':
        return next(iter(tomllib.loads(f"{key} = 0")))
    return key[1:-1] if key[0] == "'" else key


def part_of(text: str, key: int, index: int) -> int:
    """Offset of the `index`-th part of the dotted key that begins at `key`."""
    for _ in range(index):
        match = _ONE_KEY.match(text, key)
        if match is None:
            break
        key = match.end()
        while text[key : key + 1] in (" ", "\t", "."):
            key += 1
    return key


def end_of(text: str, value: int) -> int:
    """Offset after the value that begins at `value`."""
    if text[value : value + 1] not in ("[", "{"):
        string = _ONE_STRING.match(text, value)
        if string is not None:
            return string.end()
        scalar = _SCALAR.match(text, value)
        return value + len(scalar[0].rstrip()) if scalar else value
    depth, position = 0, value
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
            if not depth:
                break
    return position


def descend(text: str, key: int, value: int, rest: Path) -> tuple[int, int]:
    """Offsets of key and value of what stands at `rest` inside a value; else of its nearest parent."""
    if not rest:
        return key, value
    for path, inner_key, inner_value in _inside(text, value):
        if path == rest[: len(path)]:
            last = part_of(text, inner_key, len(path) - 1)
            return descend(text, last, inner_value, rest[len(path) :])
        if rest == path[: len(rest)]:
            return part_of(text, inner_key, len(rest) - 1), -1
    return key, value


def _inside(text: str, value: int) -> Iterator[tuple[Path, int, int]]:
    """(path, offset of the whole key, offset of the value) of each element of a list or table."""
    opening = text[value : value + 1]
    position, index = value + 1, 0
    while opening in ("[", "{") and position < len(text):
        position = _skip_space(text, position)
        if opening == "[":
            if text[position : position + 1] == "]":
                return
            yield (index,), position, position
            index += 1
        else:
            match = _KEY_EQUALS.match(text, position)
            if match is None:
                return
            names = names_of(match["keys"])
            yield names, position, match.end()
            position = match.end()
        position = _skip_space(text, end_of(text, position))
        if text[position : position + 1] != ",":
            return
        position += 1


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def character_of(text: str, value: int, index: int) -> int:
    """Offset of the `index`-th character of the string literal that begins at `value`."""
    quote = text[value : value + 1]
    if quote not in ('"', "'"):
        return value
    is_long = text.startswith(quote * 3, value)
    position = value + (3 if is_long else 1)
    if is_long and text[position : position + 1] == "\n":
        position += 1
    if quote == "'":
        return position + index
    while position < len(text):
        if text[position] == "\\" and (joined := _CONTINUATION.match(text, position)):
            position = joined.end()
            continue
        if index == 0:
            break
        escaped = _ESCAPED.match(text, position)
        position = escaped.end() if escaped else position + 1
        index -= 1
    return position
