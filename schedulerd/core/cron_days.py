"""Which days of a month an expression names, for every shape a month can have.

A month's shape is its length (28 to 31) and the weekday of its first day: 28 shapes in all. Every rule about
days is a mask of bits 1..31 for each shape, so that searching and refusing the impossible are look-ups. Knows
nothing of text.
"""

from functools import lru_cache

from msgspec import Struct

SHAPES = 28
_MONTH_LENGTHS = {1: (31,), 2: (28, 29), 3: (31,), 4: (30,), 5: (31,), 6: (30,)} | {
    7: (31,),
    8: (31,),
    9: (30,),
    10: (31,),
    11: (30,),
    12: (31,),
}


class LastDay(Struct, frozen=True, kw_only=True):
    """`back` days before the month's last; the nearest Monday-to-Friday to it when `is_nearest_weekday`."""

    back: int
    is_nearest_weekday: bool


class NearestWeekday(Struct, frozen=True, kw_only=True):
    """The Monday-to-Friday nearest to `day` in the same month; nothing in a month without that day."""

    day: int


class LastWeekday(Struct, frozen=True, kw_only=True):
    """The month's last `weekday` (0 = Sunday)."""

    weekday: int


class NthWeekday(Struct, frozen=True, kw_only=True):
    """The month's `count`th `weekday` (0 = Sunday), 1 to 5; nothing in a month without it."""

    weekday: int
    count: int


SpecialDay = LastDay | NearestWeekday | LastWeekday | NthWeekday


def shape_of(length: int, first_weekday: int) -> int:
    """The index into a day table; `first_weekday` with 0 = Sunday."""
    return (length - 28) * 7 + first_weekday


@lru_cache(maxsize=4096)
def day_table(
    days: int,
    day_special: tuple[SpecialDay, ...],
    weekdays: int,
    weekday_special: tuple[SpecialDay, ...],
    is_either: bool,
) -> tuple[int, ...]:
    """For each shape the mask of days that match: in either field when `is_either`, else in both."""
    table = []
    for length in (28, 29, 30, 31):
        whole = (1 << (length + 1)) - 2
        for first in range(7):
            by_day = days
            for special in day_special:
                by_day |= _special_mask(special, length, first)
            by_weekday = 0
            for day in range(1, length + 1):
                if weekdays >> ((first + day - 1) % 7) & 1:
                    by_weekday |= 1 << day
            for special in weekday_special:
                by_weekday |= _special_mask(special, length, first)
            table.append((by_day | by_weekday if is_either else by_day & by_weekday) & whole)
    return tuple(table)


def can_match(table: tuple[int, ...], months: int) -> bool:
    """Whether any month of the mask `months` has a day in `table`.

    Every month begins on every weekday, and February has every shape of both its lengths, within 400 years.
    """
    return any(
        any(table[shape_of(length, first)] for length in lengths for first in range(7))
        for month, lengths in _MONTH_LENGTHS.items()
        if months >> month & 1
    )


def _special_mask(special: SpecialDay, length: int, first: int) -> int:
    """The one day of the month that `special` names, as a mask; 0 when it has none."""
    match special:
        case LastDay(back=back, is_nearest_weekday=is_nearest):
            day = length - back
            if day < 1:
                return 0
            return 1 << (_nearest(day, length, first) if is_nearest else day)
        case NearestWeekday(day=day):
            return 1 << _nearest(day, length, first) if day <= length else 0
        case LastWeekday(weekday=weekday):
            last_weekday = (first + length - 1) % 7
            return 1 << (length - (last_weekday - weekday) % 7)
        case NthWeekday(weekday=weekday, count=count):
            day = 1 + (weekday - first) % 7 + 7 * (count - 1)
            return 1 << day if day <= length else 0


def _nearest(day: int, length: int, first: int) -> int:
    """The Monday-to-Friday nearest to `day`, without leaving the month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
