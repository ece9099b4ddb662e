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
    beyond: str  # what to write instead of a value that is out of range


SECOND = Field(label="second", low=0, high=59, beyond='the full minute is "0"')
MINUTE = Field(label="minute", low=0, high=59, beyond='the full hour is "0"')
HOUR = Field(label="hour", low=0, high=23, beyond='midnight is "0"')
DAY = Field(
    label="day of month",
    low=1,
    high=31,
    hash_high=28,
    takes_question=True,
    beyond='the first day is "1", the last is "L"',
)
MONTH = Field(
    label="month",
    low=1,
    high=12,
    names=("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    beyond='January is "1", December is "12"',
)
WEEKDAY = Field(
    label="weekday",
    low=0,
    high=7,
    names=("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
    hash_high=6,
    takes_question=True,
    beyond='Sunday is "0" or "7", Saturday is "6"',
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
            raise Refused(f'{field.label} "{text}" is not in {field.low}-{field.high}', field.beyond, offset)
        return value
    if text.upper() in field.names:
        return field.low + field.names.index(text.upper())
    if not field.names:
        raise Refused(
            f'{field.label} "{text}" is not a number in {field.low}-{field.high}',
            letter_hint(field, text),
            offset,
        )
    problem = f'{field.label} "{text}" is neither a number nor a three-letter name'
    raise Refused(problem, letter_hint(field, text), offset)


def letter_hint(field: Field, element: str) -> str:
    """What to write instead of an element that has no form of the grammar; letters point to what was meant."""
    letters = element.upper()
    if re.search(r"(?<![A-Z])H(?![A-Z])", letters):
        return 'the forms of H are "H", "H/15", "H(0-29)" and "H(0-29)/10"'
    if field is not DAY and re.fullmatch(r"L?(-?\d+)?W", letters):
        return "W belongs into day of month"
    if field is DAY and ("#" in letters or re.fullmatch(r"(\d+|[A-Z]{3})L|L(\d+|[A-Z]{3})", letters)):
        return "weekdays are the last field"
    if field is DAY and re.search(r"(?<![A-Z])[LW]+(?![A-Z])", letters):
        return 'L and W take no range and no step: "L", "L-3", "LW" or "15W"'
    if field is WEEKDAY and re.search(r"(?<![A-Z])L|L(?![A-Z])", letters):
        return 'L takes one weekday: "5L", several are "1L,5L"'
    if re.search(r"(?<![A-Z])L|L(?![A-Z])|#", letters) and element not in field.names:
        return "L and # belong into day of month and weekday"
    if field.names and letters.isalpha():
        near = difflib.get_close_matches(letters[:3], field.names, n=1)
        return f'write "{near[0]}"' if near else "names are " + ", ".join(field.names)
    return f'like "{field.low}", "{field.low}-{field.high}" or "*/2"'
