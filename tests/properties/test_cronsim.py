"""cronsim, a second and independent opinion: the same fire times on its dialect, and every known difference by name.

`DIFFERENCES` is the list that docs/explanation/time.md tells; one that is not in it is a fault of one of the two.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given
from hypothesis import strategies as st
from properties.cron_material import OPEN, numeric, windows
from properties.test_fire_times import short
from properties.zone_jumps import Jump, jumps_of

from schedulerd.core.cron import CronError, fire_times

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "time.md"


class Difference(NamedTuple):
    """One known disagreement; `theirs` and `ours` are the first answers in UTC, or None for a refusal."""

    title: str  # as the page has it
    expression: str
    timezone: str
    after: str
    theirs: list[str] | None
    ours: list[str] | None


DIFFERENCES = [
    Difference(
        "asked in the second pass of a fold",
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-25T01:00",
        ["2026-10-25T00:30", "2026-10-26T01:30"],
        ["2026-10-26T01:30", "2026-10-27T01:30"],
    ),
    Difference(
        "a jump that is no whole hour",
        "0 * * * *",
        "Asia/Pyongyang",
        "2018-05-04T14:00",
        ["2018-05-04T14:30", "2018-05-04T16:00"],
        ["2018-05-04T14:30", "2018-05-04T15:00"],
    ),
    Difference(
        "a jump that is no whole hour",
        "*/20 2 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T13:00",
        ["2026-04-04T16:10", "2026-04-05T15:30"],
        ["2026-04-04T15:30", "2026-04-04T15:50"],
    ),
    Difference(
        "a day that begins with a gap",
        "*/30 0 24 4 *",
        "Africa/Cairo",
        "2026-04-22T12:00",
        ["2026-04-23T22:00"],
        ["2027-04-23T22:00"],
    ),
    Difference(
        "a jump of more than three hours",
        "30 2 * * *",
        "Pacific/Apia",
        "2011-12-30T08:00",
        ["2011-12-30T10:00", "2011-12-30T12:30"],
        ["2011-12-30T12:30", "2011-12-31T12:30"],
    ),
    Difference(
        "six fields in a gap or fold",
        "0 30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00",
        ["2026-03-30T00:30"],
        ["2026-03-29T01:00"],
    ),
    Difference(
        "a range of one value with a step",
        "5-5/15 * * * *",
        "UTC",
        "2026-01-01T00:00",
        ["2026-01-01T00:05", "2026-01-01T00:20"],
        ["2026-01-01T00:05", "2026-01-01T01:05"],
    ),
    Difference("a step behind `L`", "0 0 L/2 * *", "UTC", "2026-01-01T00:00", ["2026-01-31T00:00"], None),
    Difference("days that never come", "0 0 */100 * 1#4", "UTC", "2026-01-01T00:00", [], None),
    Difference("a name with `L`", "0 0 * * FRIL", "UTC", "2026-01-01T00:00", None, ["2026-01-30T00:00"]),
    Difference("forms that it has not", "0 0 15W * *", "UTC", "2026-01-01T00:00", None, ["2026-01-15T00:00"]),
    Difference("forms that it has not", "0 0 L-1 * *", "UTC", "2026-01-01T00:00", None, ["2026-01-30T00:00"]),
    Difference("forms that it has not", "0 0 ? * 1", "UTC", "2026-01-01T00:00", None, ["2026-01-05T00:00"]),
    Difference("forms that it has not", "@daily", "UTC", "2026-01-01T00:00", None, ["2026-01-02T00:00"]),
]


def field(low: int, high: int, *more: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # a range of one value with a step is a known difference
    plain = numeric(low, high).filter(lambda text: not re.match(r"(\d+)-\1/", text))
    return st.one_of(OPEN, st.lists(st.one_of(plain, plain, *more), min_size=1, max_size=3).map(",".join))


WEEKDAY = st.integers(0, 7)
DIALECT = st.tuples(
    field(0, 59),
    st.one_of(field(0, 23), st.sampled_from(["0", "1,2,3", "0-3", "2", "23"])),
    st.one_of(OPEN, OPEN, field(1, 31, st.sampled_from(["L", "LW", "lw"]))),
    st.one_of(OPEN, OPEN, field(1, 12, st.sampled_from(["JAN", "mar-oct", "Nov"]))),
    st.one_of(
        OPEN,
        OPEN,
        field(
            0,
            7,
            st.sampled_from(["sun", "MON-fri"]),
            st.tuples(WEEKDAY, st.integers(1, 5)).map(lambda p: f"{p[0]}#{p[1]}"),
            WEEKDAY.map(lambda day: f"{day}L"),
        ),
    ),
).map(" ".join)


@short
@given(DIALECT, windows(), st.integers(0, 2400))
def test_cronsim_has_the_same_fire_times_on_its_dialect(
    expression: str, window: tuple[str, datetime, int], later: int
) -> None:
    timezone, start, _ = window
    after = start + timedelta(minutes=later)
    assume(not after.astimezone(ZoneInfo(timezone)).fold)
    try:
        ours = in_utc(fire_times(expression, timezone, after, 5))
    except CronError as error:
        assert "never comes" in str(error)  # noqa: PT017 - any other refusal is a fault
        assert theirs(expression, timezone, after, 1) in (None, [])
        return
    assume(ours and not is_told_apart(timezone, after, ours[-1]))
    assert theirs(expression, timezone, after, 5) == ours


@pytest.mark.parametrize("known", DIFFERENCES, ids=[f"{d.expression} {d.timezone}" for d in DIFFERENCES])
def test_a_known_difference_from_cronsim_is_still_one(known: Difference) -> None:
    after = datetime.fromisoformat(known.after).replace(tzinfo=UTC)
    count = max(len(known.theirs or ()), len(known.ours or ()), 1)
    found = theirs(known.expression, known.timezone, after, count)
    assert texts(found) == known.theirs
    if known.ours is None:
        with pytest.raises(CronError):
            fire_times(known.expression, known.timezone, after, count)
    else:
        assert texts(in_utc(fire_times(known.expression, known.timezone, after, count))) == known.ours


def test_the_page_tells_each_difference_and_no_other() -> None:
    section = PAGE.read_text().split("## Where cronsim answers otherwise", 1)[1].split("\n## ", 1)[0]
    told = re.findall(r"^\| (?!when|---)(.+?) \|", section, re.MULTILINE)
    assert told == list(dict.fromkeys(known.title for known in DIFFERENCES))


def theirs(expression: str, timezone: str, after: datetime, count: int) -> list[datetime] | None:
    """cronsim's answers in UTC, fewer when it gives up; None for a refusal."""
    try:
        # cronsim takes the local time to the second
        times = CronSim(expression, after.astimezone(ZoneInfo(timezone)))
    except CronSimError:
        return None
    found = []
    try:
        for _ in range(count):
            found.append(next(times).astimezone(UTC))
    except (StopIteration, RuntimeError):
        pass
    return found


@lru_cache(maxsize=1024)
def odd_jumps(timezone: str) -> list[Jump]:
    """The jumps at which cronsim is known to answer otherwise."""
    return [
        jump
        for jump in jumps_of(timezone)
        if (jump.after - jump.before) % 3600
        or jump.kind[2] % 3600
        or jump.after - jump.before > 3 * 3600
        or (jump.after > jump.before and jump.kind[2] == 0)
    ]


def is_told_apart(timezone: str, after: datetime, until: datetime) -> bool:
    first, last = after.timestamp() - 86_400, until.timestamp() + 86_400
    return any(first <= jump.instant <= last for jump in odd_jumps(timezone))


def in_utc(fires: list[datetime]) -> list[datetime]:
    return [fire.astimezone(UTC) for fire in fires]


def texts(fires: list[datetime] | None) -> list[str] | None:
    return None if fires is None else [fire.isoformat()[:16] for fire in fires]
