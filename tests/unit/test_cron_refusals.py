"""Every refusal of a cron text: at which character it points, and what it says to write instead."""

from datetime import UTC, datetime

import pytest

from schedulerd.core.cron import CronError, fire_times

REFUSALS = [
    # fields: five, or six with seconds first
    ("", 0, "empty", 'like "0 3 * * *"'),
    ("0 3 * *", 7, "4 fields", "minute hour day-of-month month weekday"),
    ("0 3", 3, "2 fields", "minute hour day-of-month month weekday"),
    ("0 0 3 * * * 2030", 12, "7 fields", "there is no year field"),
    ("0 0 3 * * * 2030 x", 12, "8 fields", "minute hour day-of-month month weekday"),
    # reversed ranges, with the list that says it
    ("0 22-2 * * *", 2, "runs backwards", 'write "22-23,0-2"'),
    ("0 22-4/3 * * *", 2, "runs backwards", 'write "22,1,4"'),
    ("50-10 * * * *", 0, "runs backwards", 'write "50-59,0-10"'),
    ("0 0 28-3 * *", 4, "runs backwards", 'write "28-31,1-3"'),
    ("0 0 * nov-feb *", 6, "runs backwards", 'write "11-12,1-2"'),
    ("0 0 * * FRI-SUN", 8, "runs backwards", 'write "5-6,0"'),
    ("0 0 * * 7-2", 8, "runs backwards", 'write "0-2"'),
    ("0 0,22-2 * * *", 4, "runs backwards", 'write "22-23,0-2"'),
    # days that never come
    ("0 0 31 2 *", 4, "never comes", "no month named here has such a day"),
    ("0 0 31 feb,apr ?", 4, "never comes", "no month named here has such a day"),
    ("0 0 30W 2 *", 4, "never comes", "no month named here has such a day"),
    ("0 0 */100 * 1#4", 4, "never comes", "no month named here has such a day"),
    ("5 0 0 L-30 9 *", 6, "never comes", "no month named here has such a day"),
    # L, W and #
    ("0 0 1-5W * *", 4, "not the range", 'list them: "14W,15W"'),
    ("0 0 15W-20 * *", 4, "not understood", 'L and W take no range and no step: "L", "L-3", "LW" or "15W"'),
    ("0 0 L/2 * *", 4, '"L"', 'L and W take no range and no step: "L", "L-3", "LW" or "15W"'),
    ("0 0 5-L * *", 6, '"L"', 'L and W take no range and no step: "L", "L-3", "LW" or "15W"'),
    ("0 0 W * *", 4, "no day for W", 'write a day before it: "15W", or "LW"'),
    ("0 0 0W * *", 4, "1-31", 'the first day is "1", the last is "L"'),
    ("0 0 L-0 * *", 6, "1-30", 'the last day itself is "L"'),
    ("0 0 5L * *", 4, "not understood", "weekdays are the last field"),
    ("0 0 1#2 * *", 4, "not understood", "weekdays are the last field"),
    ("0 0 * * L", 8, "bare L", 'the last Friday is "5L", Saturday is "6"'),
    ("0 0 * * 1,L", 10, "bare L", 'the last Friday is "5L", Saturday is "6"'),
    ("0 0 * * 1-5L", 8, "not understood", 'L takes one weekday: "5L", several are "1L,5L"'),
    ("0 0 * * L-2", 8, '"L"', 'L takes one weekday: "5L", several are "1L,5L"'),
    ("0 0 * * MON-FRI#2", 8, "not the range", 'list them: "1#2,2#2"'),
    ("0 0 * * 5#0", 10, "#1-#5", 'the last one is "#L"'),
    ("0 0 * * 5#6", 10, "#1-#5", 'the last one is "#L"'),
    ("0 0 * * MON#-1", 8, "1-5 or L", 'like "5#3" or "5#L"'),
    ("0 0 * * 2W", 8, "not understood", "W belongs into day of month"),
    ("0 5L * * *", 2, "not understood", "L and # belong into day of month and weekday"),
    # H
    ("H/0 * * * *", 2, "step of 0", 'write "H"'),
    ("H(10-5) * * * *", 0, "runs backwards", 'write "H(5-10)"'),
    ("0 H(0-24) * * *", 6, "0-23", 'midnight is "0"'),
    ("H(5) * * * *", 0, "not understood", 'the forms of H are "H", "H/15", "H(0-29)" and "H(0-29)/10"'),
    ("H-5 * * * *", 0, '"H"', 'the forms of H are "H", "H/15", "H(0-29)" and "H(0-29)/10"'),
    ("*/H * * * *", 0, "not understood", 'the forms of H are "H", "H/15", "H(0-29)" and "H(0-29)/10"'),
    # a zone inside the text
    ("TZ=Europe/Berlin 0 3 * * *", 0, "time zone", 'set timezone = "Europe/Berlin" beside it'),
    ("CRON_TZ=UTC 0 0 3 * * *", 0, "time zone", 'set timezone = "UTC" beside it'),
    ("  cron_tz=Asia/Tokyo @daily", 2, "time zone", 'set timezone = "Asia/Tokyo" beside it'),
    # junk
    ("9,,19 * * * *", 2, "empty place", "remove the spare comma"),
    ("9, * * * *", 2, "empty place", "remove the spare comma"),
    ("/15 * * * *", 0, "step of nothing", 'write "*/15"'),
    ("*/0 * * * *", 2, "step of 0", "write 1 or more"),
    ("0 24 * * *", 2, "0-23", 'midnight is "0"'),
    ("60 * * * *", 0, "0-59", 'the full hour is "0"'),
    ("60 0 3 * * *", 0, "0-59", 'the full minute is "0"'),
    ("0 0 32 * *", 4, "1-31", 'the first day is "1", the last is "L"'),
    ("0 0 * 0 *", 6, "1-12", 'January is "1", December is "12"'),
    ("0 0 * * 8", 8, "0-7", 'Sunday is "0" or "7", Saturday is "6"'),
    ("0 0 * * friday", 8, "three-letter", 'write "FRI"'),
    ("0 0 * jully *", 6, "three-letter", 'write "JUL"'),
    ("0 0 * * xyz", 8, "three-letter", "names are SUN, MON, TUE, WED, THU, FRI, SAT"),
    ("? 0 * * *", 0, "day of month and weekday only", 'write "*"'),
    ("0 -3 * * *", 2, "negative", 'midnight is "0"'),
    ("0 3-5-7 * * *", 2, "not understood", 'like "0", "0-23" or "*/2"'),
    ("1.5 * * * *", 0, "not understood", 'like "0", "0-59" or "*/2"'),
    ("x * * * *", 0, "not a number", 'like "0", "0-59" or "*/2"'),
    ("٣ * * * *", 0, "ASCII", 'write it with ASCII digits and letters, like "0"'),
    ("0 0 */-2 * *", 4, "not understood", 'like "1", "1-31" or "*/2"'),
    ("@montly", 0, "not a macro", 'write "@monthly"'),
    ("@every 5", 7, "no duration", 'like "90s" or "1h30m"'),
    ("@every 10ms", 7, "not between", 'like "90s" or "1h30m"'),
    ("1," * 1500 + "1 * * * *", 0, "characters", "split it into a list of expressions"),
]


@pytest.mark.parametrize(("expression", "offset", "problem", "hint"), REFUSALS)
def test_a_refusal_points_at_its_place_and_says_what_to_write(
    expression: str, offset: int, problem: str, hint: str
) -> None:
    with pytest.raises(CronError) as refused:
        fire_times(expression, "UTC", datetime(2026, 1, 1, tzinfo=UTC), 1)
    error = refused.value
    assert (error.offset, error.hint) == (offset, hint), str(error)
    assert problem in error.problem
    assert str(error).endswith(f"; {hint}")
    if error.expression:
        assert f"(character {offset + 1} of " in str(error)


@pytest.mark.parametrize(
    "expression",
    [
        "5,5,5 3,3 * * 1,MON,1",  # duplicates in a list
        "*/60 */24 */31 */12 */7",  # a step wider than its range
        "0 0 31 2 1",  # the day never comes, the weekday does
        "0 0 * * 5-7",
        "0 0 * * 6-7",
        "0 0 * * 0-7",
        "0 0 * * Sun-sAt",
        "007 03 01 01 07",
        "0 0 ? * ?",
        "0 0 1,15W,L-2,LW * 1#1,FRIL,L2,3#L",
        "H H(1-5)/2 H H H",
        "H,30 0 * * *",
        "0 0 29 2 *",
        "0 0 L-28 2 *",
    ],
)
def test_what_is_legal_is_not_refused(expression: str) -> None:
    fires = fire_times(expression, "UTC", datetime(2026, 1, 1, tzinfo=UTC), 2)
    assert len(fires) == 2
    assert all(fire.second == 0 for fire in fires)
