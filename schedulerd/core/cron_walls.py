"""The wall times that a parsed expression matches: searching forward, one by one or in bulk.

Knows masks and the calendar; neither text nor zones. Walls are whole seconds since 1970, as if the wall clock
were UTC.
"""

from collections.abc import Iterator
from datetime import date

from msgspec import Struct

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LAST_ORDINAL = date.max.toordinal()
_DAY = 86_400
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class CronTimes(Struct, frozen=True, kw_only=True):
    """A parsed expression: masks with bit v set for the value v. Cached, shared by all jobs with its text."""

    expression: str
    seconds: int
    minutes: int
    hours: int
    months: int
    days: tuple[int, ...]  # mask of matching days for each shape of a month
    is_fixed: bool  # neither minute nor hour begins with `*`: gap and fold policies apply
    first_second: int
    first_minute: int  # seconds of an hour at which its first match stands
    first_time: int  # seconds of a day at which its first match stands

    def next_wall(self, wall: int) -> int | None:
        """First matching wall at or after `wall`; None past the year 9999."""
        day, time = divmod(wall, _DAY)
        day += _EPOCH_ORDINAL
        if day > _LAST_ORDINAL or day < 1:
            return None
        here = date.fromordinal(day)
        month = here.month
        if self.months >> month & 1:
            day_of_month = here.day
            first = day - day_of_month + 1
            rest = self.days[shape(here.year, month, first)] >> day_of_month
            if rest & 1:
                found = self._next_time(time)
                if found >= 0:
                    return wall - time + found
            rest >>= 1
            if rest:
                ahead = (rest & -rest).bit_length()
                return wall - time + ahead * _DAY + self.first_time
        found_day = self._day_in_later_month(here.year, month)
        return None if found_day is None else (found_day - _EPOCH_ORDINAL) * _DAY + self.first_time

    def walls_between(self, first: int, end: int) -> Iterator[int]:
        """Every match in first..end-1, in order; cheaper than asking for each."""
        hours = [hour * 3600 for hour in values(self.hours)]
        inside = [m * 60 + s for m in values(self.minutes) for s in values(self.seconds)]
        found = self.next_wall(first)
        while found is not None and found < end:
            midnight = found - found % _DAY
            is_whole = midnight >= first and midnight + _DAY <= end
            for hour in hours:
                base = midnight + hour
                if is_whole or (base >= first and base + 3600 <= end):
                    for time in inside:
                        yield base + time
                elif base + 3600 > first and base < end:
                    for time in inside:
                        if first <= base + time < end:
                            yield base + time
            found = self.next_wall(midnight + _DAY)

    def _next_time(self, time: int) -> int:
        """First matching second of the day at or after `time`; -1 when the day has no more."""
        hour, inside = divmod(time, 3600)
        rest = self.hours >> hour
        if rest & 1:
            minute, second = divmod(inside, 60)
            later = self.minutes >> minute
            if later & 1:
                seconds = self.seconds >> second
                if seconds:
                    return time + (seconds & -seconds).bit_length() - 1
            later >>= 1
            if later:
                minute += (later & -later).bit_length()
                return hour * 3600 + minute * 60 + self.first_second
        rest >>= 1
        if rest:
            return (hour + (rest & -rest).bit_length()) * 3600 + self.first_minute
        return -1

    def _day_in_later_month(self, year: int, month: int) -> int | None:
        """The ordinal of the first matching day after the given month; None past year 9999."""
        while True:
            rest = self.months >> (month + 1)
            if rest:
                month += (rest & -rest).bit_length()
            else:
                year += 1
                month = (self.months & -self.months).bit_length() - 1
                if year > 9999:
                    return None
            first = date(year, month, 1).toordinal()
            mask = self.days[shape(year, month, first)]
            if mask:
                return first + (mask & -mask).bit_length() - 2


def shape(year: int, month: int, first: int) -> int:
    """Index into `days` of the month whose first day has the ordinal `first`."""
    if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return 7 + first % 7
    return (_LENGTHS[month] - 28) * 7 + first % 7


def lowest(mask: int) -> int:
    """The smallest value of a mask that is not empty."""
    return (mask & -mask).bit_length() - 1


def values(mask: int) -> list[int]:
    """The values of a mask, ascending."""
    return [value for value in range(mask.bit_length()) if mask >> value & 1]
