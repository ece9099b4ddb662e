"""Durations as people write them: `"90s"`, `"1h30m"`, `"500ms"`, `"2d"`. Integers with units, no bare numbers."""

import re
from datetime import timedelta
from functools import lru_cache

PATTERN = r"^(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"
EXAMPLE = 'a duration with its units, such as "90s" or "1h30m"'
LONGEST = timedelta(days=36500)

_UNITS = {  # longest first: a duration names each unit at most once and in this order
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PART = re.compile(r"(\d+)(ms|[wdhms])", re.ASCII)


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """What `text` says. Raises ValueError with a sentence that says what was found and what was expected."""
    total, position, units = timedelta(), 0, list(_UNITS)
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise ValueError(f"{_found(text, position)}, expected {EXAMPLE}")
        if part[2] not in units:
            raise ValueError(
                f'"{text}" repeats or reorders its units, expected the longest first, such as "1h30m"'
            )
        units = units[units.index(part[2]) + 1 :]
        count = int(part[1].lstrip("0")[:18] or "0")  # more digits are too long in any unit
        total = total + count * _UNITS[part[2]] if count <= LONGEST // _UNITS[part[2]] else LONGEST * 2
        if total > LONGEST:
            raise ValueError(f'"{text}" is too long, expected at most "{format_duration(LONGEST)}"')
        position = part.end()
    if not text:
        raise ValueError(f'"" is empty, expected {EXAMPLE}')
    return total


def _found(text: str, position: int) -> str:
    if text.strip().isdigit():
        return f'"{text}" has no unit'
    rest = text[position:]
    return f'"{text}" is not a duration' if position == 0 else f'"{text}" cannot be read from "{rest}" on'


def format_duration(duration: timedelta) -> str:
    """The text that `parse_duration` reads as `duration`, in days and smaller units; whole milliseconds."""
    rest, parts = duration, []
    for name, unit in _UNITS.items():
        if name != "w" and rest >= unit:
            count, rest = divmod(rest, unit)
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"
