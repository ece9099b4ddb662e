"""How many wall times of a parsed expression a stretch has: months by their day masks, days by their time masks."""

from datetime import date

from schedulerd.core.cron_walls import CronTimes, shape

_DAY = 86_400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def count_walls(times: CronTimes, first: int, end: int) -> int:
    """Number of matching walls in first..end-1: the length of `CronTimes.walls_between`."""
    if end <= first:
        return 0
    first_day, first_time = divmod(first, _DAY)
    end_day, end_time = divmod(end, _DAY)
    found = _days(times, first_day, end_day) * _before(times, _DAY)
    if first_time and _days(times, first_day, first_day + 1):
        found -= _before(times, first_time)
    if end_time and _days(times, end_day, end_day + 1):
        found += _before(times, end_time)
    return found


def _before(times: CronTimes, time: int) -> int:
    """Matches of a matching day before its second `time`."""
    hour, inside = divmod(time, 3600)
    minute, second = divmod(inside, 60)
    a_minute = times.seconds.bit_count()
    found = _below(times.hours, hour) * times.minutes.bit_count() * a_minute
    if times.hours >> hour & 1:
        found += _below(times.minutes, minute) * a_minute
        if times.minutes >> minute & 1:
            found += _below(times.seconds, second)
    return found


def _below(mask: int, value: int) -> int:
    return (mask & ((1 << value) - 1)).bit_count()


def _days(times: CronTimes, first: int, end: int) -> int:
    """Matching days in first..end-1, counted from 1970, month by month."""
    found, day = 0, first
    while day < end:
        here = date.fromordinal(day + _EPOCH_ORDINAL)
        begin = day - here.day + 1  # of the month
        kind = shape(here.year, here.month, begin + _EPOCH_ORDINAL)
        length = 28 + kind // 7
        if times.months >> here.month & 1:
            mask = times.days[kind] >> here.day << here.day
            if begin + length > end:
                mask &= (1 << (end - begin + 1)) - 1
            found += mask.bit_count()
        day = begin + length
    return found
