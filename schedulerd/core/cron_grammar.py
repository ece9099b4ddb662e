"""One field of a cron expression -> the values and special days it names, or a refusal with place and hint.

croniter expands the plain lists, ranges and steps, always from text this module has checked and written out
in numbers: left alone it wraps reversed ranges and reads `5-5` as a full cycle. Leaves what fields mean
together to `cron`. Source: crontab(5), Debian's cron; Jenkins for `H`; Quartz for `L`, `W` and `#`.
"""

import re
from functools import lru_cache

from croniter import croniter
from msgspec import Struct

from schedulerd.core.cron_days import LastDay, LastWeekday, NearestWeekday, NthWeekday, SpecialDay
from schedulerd.core.cron_fields import (
    DAY,
    FIELDS,
    WEEKDAY,
    CronError,
    Field,
    Refused,
    letter_hint,
    value_of,
)
from schedulerd.core.stable import stable_hash


class FieldValues(Struct, frozen=True, kw_only=True):
    """One field, read. `mask` has bit v set for every plain value v (weekday 7 is written 0)."""

    mask: int
    is_star: bool  # the text begins with `*` or `?`
    special: tuple[SpecialDay, ...] = ()


_PLAIN = re.compile(r"(?:[*?]|([A-Za-z]+|\d+)(?:-([A-Za-z]+|\d+))?)(?:/(\d+))?", re.ASCII)
_HASH = re.compile(r"H(?:\((\d+)-(\d+)\))?(?:/(\d+))?", re.ASCII | re.IGNORECASE)
_LAST_DAY = re.compile(r"L(?:-(\d+))?(W)?", re.ASCII | re.IGNORECASE)
_NEAREST = re.compile(r"(\d+)W", re.ASCII | re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"(?:L([A-Z]{3}|\d+)|([A-Z]{3}|\d+)#?L)", re.ASCII | re.IGNORECASE)
_NTH_WEEKDAY = re.compile(r"([A-Z]+|\d+)#(\d+)", re.ASCII | re.IGNORECASE)


def read_field(field: Field, text: str, offset: int, expression: str, name: str) -> FieldValues:
    """What `text`, standing at `offset` of `expression`, names in `field`; `name` is the job's, for `H`.

    Raises CronError.
    """
    try:
        return _read(field.label, text, name)
    except Refused as refusal:
        raise CronError(
            refusal.problem, expression=expression, offset=offset + refusal.offset, hint=refusal.hint
        ) from None


@lru_cache(maxsize=8192)
def _read(label: str, text: str, name: str) -> FieldValues:
    """`read_field` without the place, so that tables of many jobs read each field text once. Raises Refused."""
    field = FIELDS[label]
    plain: list[str] = []
    special: list[SpecialDay] = []
    at = 0
    for element in text.split(","):
        try:
            found = _read_element(field, element, name)
        except Refused as refusal:
            raise Refused(refusal.problem, refusal.hint, at + refusal.offset) from None
        if isinstance(found, str):
            plain.append(found)
        else:
            special.append(found)
        at += len(element) + 1
    mask = expand(field.high == WEEKDAY.high, field.low, field.high, ",".join(plain)) if plain else 0
    return FieldValues(mask=mask, is_star=text[0] in "*?", special=tuple(dict.fromkeys(special)))


@lru_cache(maxsize=4096)
def expand(is_weekday: bool, low: int, high: int, checked: str) -> int:
    """The values of a checked list in numbers, as a mask; weekday 7 becomes 0. croniter expands."""
    place = {(0, 59): 0, (0, 23): 1, (1, 31): 2, (1, 12): 3, (0, 7): 4}[low, high]
    fields = ["*"] * 5
    fields[place] = checked
    values = croniter.expand(" ".join(fields))[0][place]
    if values == ["*"]:
        values = list(range(low, (6 if is_weekday else high) + 1))
    mask = 0
    for value in values:
        mask |= 1 << (int(value) % 7 if is_weekday else int(value))
    return mask


def _read_element(field: Field, element: str, name: str) -> str | SpecialDay:
    """One place of a list: checked plain text in numbers, or a special day. Raises Refused."""
    if not element:
        raise Refused(f"{field.label}: an empty place in a list", "remove the spare comma")
    if match := _HASH.fullmatch(element):
        return _hashed(field, match, name)
    if field is DAY and (day := _special_day_of_month(element)):
        return day
    if field is WEEKDAY and (weekday := _special_weekday(element)):
        return weekday
    match = _PLAIN.fullmatch(element)
    if match is None:
        raise _junk(field, element)
    return _plain(field, element, match)


def _plain(field: Field, element: str, match: re.Match[str]) -> str:
    """`*`, `?`, N, A-B, each with or without a step, as text that croniter reads right."""
    first, last, step_text = match[1], match[2], match[3]
    if element[0] == "?" and not field.takes_question:
        raise Refused(f'{field.label}: "?" is for day of month and weekday only', 'write "*"')
    step = 1
    if step_text is not None:
        step = int(step_text)
        if step == 0:
            raise Refused(f"{field.label}: a step of 0 never moves on", "write 1 or more", match.start(3))
    if first is None:
        low, high = field.low, field.high
    else:
        low = value_of(field, first, match.start(1))
        high = low if last is None else value_of(field, last, match.start(2))
        if last is None and step_text is not None:
            high = field.high
    if low > high:
        raise _reversed(field, element, low, high, step)
    if low == high or step > high - low:
        return str(low)
    return f"{low}-{high}/{step}" if step > 1 else f"{low}-{high}"


def _reversed(field: Field, element: str, low: int, high: int, step: int) -> Refused:
    """The refusal of `22-2`, with the list that says it."""
    top = 6 if field is WEEKDAY else field.high
    around = (
        [*range(low, top + 1), *range(field.low, high + 1)] if low <= top else [*range(field.low, high + 1)]
    )
    parts: list[str] = []
    chosen = around[::step]
    while chosen:
        run = 1
        while run < len(chosen) and chosen[run] == chosen[run - 1] + 1:
            run += 1
        parts.append(str(chosen[0]) if run == 1 else f"{chosen[0]}-{chosen[run - 1]}")
        chosen = chosen[run:]
    return Refused(f'{field.label}: the range "{element}" runs backwards', f'write "{",".join(parts)}"')


def _hashed(field: Field, match: re.Match[str], name: str) -> str:
    """`H`, `H/15`, `H(0-29)`, `H(0-29)/10`: values chosen by the job's name and the field."""
    low = field.low
    high = field.high if field.hash_high is None else field.hash_high
    if match[1] is not None:
        low = value_of(field, match[1], match.start(1))
        high = value_of(field, match[2], match.start(2))
        if low > high:
            raise Refused(f"{field.label}: H({low}-{high}) runs backwards", f'write "H({high}-{low})"')
    chosen = stable_hash(name, field.label)
    if match[3] is None:
        return str(low + chosen % (high - low + 1))
    step = int(match[3])
    if step == 0:
        raise Refused(f"{field.label}: H with a step of 0 never moves on", 'write "H"', match.start(3))
    start = low + chosen % min(step, high - low + 1)
    return str(start) if start + step > high else f"{start}-{high}/{step}"


def _special_day_of_month(element: str) -> SpecialDay | None:
    """`L`, `L-3`, `LW`, `L-5W`, `15W`; None for anything else."""
    if match := _LAST_DAY.fullmatch(element):
        back = 0
        if match[1] is not None:
            back = int(match[1])
            if not 1 <= back <= 30:
                raise Refused(
                    f'day of month: "L-{match[1]}" goes back {match[1]} days, expected 1-30',
                    'the last day itself is "L"',
                    match.start(1),
                )
        return LastDay(back=back, is_nearest_weekday=match[2] is not None)
    if match := _NEAREST.fullmatch(element):
        return NearestWeekday(day=value_of(DAY, match[1], 0))
    if element.upper().endswith("W"):
        if "-" in element or "/" in element:
            raise Refused(f'day of month: W takes one day, not the range "{element}"', 'list them: "14W,15W"')
        raise Refused(
            f'day of month: "{element}" names no day for W', 'write a day before it: "15W", or "LW"'
        )
    return None


def _special_weekday(element: str) -> SpecialDay | None:
    """`5L`, `L5`, `FRIL`, `LFRI`, `5#3`, `5#L`; None for anything else."""
    if element.upper() == "L":
        raise Refused("weekday: a bare L says no day", 'the last Friday is "5L", Saturday is "6"')
    if match := _LAST_WEEKDAY.fullmatch(element):
        place = 1 if match[1] is not None else 2
        return LastWeekday(weekday=value_of(WEEKDAY, match[place], match.start(place)) % 7)
    if match := _NTH_WEEKDAY.fullmatch(element):
        count = int(match[2])
        if not 1 <= count <= 5:
            raise Refused(f'weekday: "#{match[2]}" is not in #1-#5', 'the last one is "#L"', match.start(2))
        return NthWeekday(weekday=value_of(WEEKDAY, match[1], 0) % 7, count=count)
    if "#" in element:
        if "-" in element.split("#")[0]:
            raise Refused(
                f'weekday: "#" takes one weekday, not the range in "{element}"', 'list them: "1#2,2#2"'
            )
        raise Refused(f'weekday: "{element}" is not a weekday, "#" and 1-5 or L', 'like "5#3" or "5#L"')
    return None


def _junk(field: Field, element: str) -> Refused:
    """The refusal of what has no form of the grammar at all."""
    if element.startswith("-"):
        return Refused(
            f'{field.label}: "{element}" begins with "-"; there are no negative values', field.beyond
        )
    if element.startswith("/"):
        return Refused(f'{field.label}: "{element}" has a step of nothing', f'write "*{element}"')
    if any(not " " < letter <= "~" for letter in element):
        problem = f"{field.label}: {element!a} holds a character that is not plain ASCII"
        return Refused(problem, f'write it with ASCII digits and letters, like "{field.low}"')
    shape = f"expected *, a value in {field.low}-{field.high}, a range A-B, a step */N, or a list of them"
    return Refused(f'{field.label}: "{element}" is not understood, {shape}', letter_hint(field, element))
