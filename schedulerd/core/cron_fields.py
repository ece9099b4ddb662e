"""The places of a cron expression: what each may hold, and the refusal of what it may not. Knows no searching."""

import difflib
import re

from msgspec import Struct

from schedulerd.errors import SchedulerdError


class CronError(SchedulerdError, ValueError):
    """A cron expression is refused. `str()` is the whole sentence; the parts are for a reader of files."""

    def __init__(self, problem: str, *, expression: str = "", offset: int = 0, hint: str = "") -> None:
        where = f' (character {offset + 1} of "{expression}")' if expression else ""
        super().__init__(f"{problem}{where}{'; ' + hint if hint else ''}")
        self.problem = problem  # what was found and what was expected, without the place
        self.expression = expression
        self.offset = offset  # of the offending text in the expression, from 0
        self.hint = hint  # what to write instead; empty when there is nothing sensible to say


class Field(Struct, frozen=True, kw_only=True):
    """What may stand in one place of an expression."""

    label: str  # as messages and the hash name it
    low: int
    high: int
    names: tuple[str, ...] = ()  # names[i] means low + i
    hash_high: int | None = None  # where a bare `H` ends; None = high
    takes_question: bool = False


SECOND = Field(label="second", low=0, high=59)
MINUTE = Field(label="minute", low=0, high=59)
HOUR = Field(label="hour", low=0, high=23)
DAY = Field(label="day of month", low=1, high=31, hash_high=28, takes_question=True)
MONTH = Field(
    label="month",
    low=1,
    high=12,
    names=("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
WEEKDAY = Field(
    label="weekday",
    low=0,
    high=7,
    names=("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
    hash_high=6,
    takes_question=True,
)


FIELDS = {field.label: field for field in (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)}


class Refused(Exception):
    """Inside the grammar: a refusal whose offset counts from the start of the element or field."""

    def __init__(self, problem: str, hint: str = "", offset: int = 0) -> None:
        super().__init__(problem)
        self.problem, self.hint, self.offset = problem, hint, offset


def value_of(field: Field, text: str, offset: int) -> int:
    """A number or name of the field. Raises Refused."""
    if text.isdigit():
        value = int(text)
        if not field.low <= value <= field.high:
            raise Refused(f'{field.label} "{text}" is not in {field.low}-{field.high}', "", offset)
        return value
    if text.upper() in field.names:
        return field.low + field.names.index(text.upper())
    if not field.names:
        raise Refused(
            f'{field.label} "{text}" is not a number in {field.low}-{field.high}',
            letter_hint(field, text),
            offset,
        )
    near = difflib.get_close_matches(text.upper()[:3], field.names, n=1)
    hint = f'write "{near[0]}"' if near else "names are " + ", ".join(field.names)
    raise Refused(f'{field.label} "{text}" is neither a number nor a three-letter name', hint, offset)


def letter_hint(field: Field, element: str) -> str:
    """What to say when an `L`, `W` or `#` stands in a field that has none."""
    letters = element.upper()
    if field is not DAY and re.fullmatch(r"L?(-?\d+)?W", letters):
        return "W belongs into day of month"
    if ("L" in letters or "#" in letters) and field is not WEEKDAY:
        return (
            "L and # belong into day of month and weekday"
            if field is not DAY
            else "weekdays are the last field"
        )
    return ""
