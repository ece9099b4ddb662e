"""What the properties of fire times draw from: legal expressions of every form, zones, stretches of real time."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from hypothesis import strategies as st

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory", "posixrules"})
JUMPY = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Caracas",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Norfolk",
]


def numeric(low: int, high: int) -> st.SearchStrategy[str]:
    """A plain element: number, range, step."""
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted)
    step = st.integers(1, high)
    return st.one_of(
        value.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        st.tuples(pair, step).map(lambda p: f"{p[0][0]}-{p[0][1]}/{p[1]}"),
        st.tuples(value, step).map(lambda p: f"{p[0]}/{p[1]}"),
        step.map(lambda n: f"*/{n}"),
    )


def hashed(low: int, high: int) -> st.SearchStrategy[str]:
    """`H` in its four forms."""
    pair = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    step = st.integers(1, high + 5)
    return st.one_of(
        st.sampled_from(["H", "h"]),
        step.map(lambda n: f"H/{n}"),
        pair.map(lambda p: f"H({p[0]}-{p[1]})"),
        st.tuples(pair, step).map(lambda p: f"H({p[0][0]}-{p[0][1]})/{p[1]}"),
    )


def field(low: int, high: int, *more: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    kinds = [numeric(low, high), numeric(low, high), hashed(low, high), *more]
    elements = st.lists(st.one_of(*kinds), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), elements)


DAY_NUMBER = st.integers(1, 31)
DAYS = field(
    1,
    31,
    st.sampled_from(["L", "LW", "L-1", "L-3", "L-30", "L-2W", "l-5w", "?"]),
    DAY_NUMBER.map(lambda n: f"{n}W"),
)
WEEKDAY = st.one_of(
    st.integers(0, 7).map(str), st.sampled_from(["sun", "MON", "Tue", "wed", "THU", "FRI", "sat"])
)
WEEKDAYS = field(
    0,
    7,
    WEEKDAY,
    st.sampled_from(["mon-fri", "SUN-SAT/2", "2-FRI", "?", "?/2"]),
    st.tuples(WEEKDAY, st.integers(1, 5)).map(lambda p: f"{p[0]}#{p[1]}"),
    WEEKDAY.map(lambda d: f"{d}L"),
    WEEKDAY.map(lambda d: f"{d}#L"),
    WEEKDAY.map(lambda d: f"L{d}"),
)
MONTHS = field(1, 12, st.sampled_from(["jan", "FEB", "Mar", "apr-oct", "Nov", "jun/3"]))
# Hours near the jumps are tried more often than others; days are mostly left open, so that something fires.
HOURS = st.one_of(
    field(0, 23),
    st.lists(st.sampled_from(["0", "1", "2", "3", "23", "0-3", "1-2"]), min_size=1).map(",".join),
)
OPEN = st.just("*")
MACROS = st.sampled_from(
    ["@yearly", "@Annually", "@monthly", "@weekly", "@DAILY", "@midnight", "@hourly", " @hourly "]
)
FIVE = st.one_of(
    *[
        st.tuples(
            field(0, 59),
            HOURS,
            st.one_of(OPEN, OPEN, DAYS),
            st.one_of(OPEN, OPEN, MONTHS),
            st.one_of(OPEN, OPEN, WEEKDAYS),
        ).map(" ".join)
    ]
    * 9,
    MACROS,
)
SIX = st.tuples(field(0, 59), FIVE.filter(lambda text: "@" not in text)).map(" ".join)
EXPRESSIONS = st.one_of(FIVE, FIVE, FIVE, SIX)


@lru_cache(maxsize=4096)
def days_of(name: str, year: int) -> tuple[list[datetime], list[datetime]]:
    """The days of a year (UTC midnights), and those in which the zone's clock jumps."""
    info = zoneinfo.ZoneInfo(name)
    first = datetime(year, 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=n) for n in range(366)]
    offsets = [day.astimezone(info).utcoffset() for day in days]
    jumps = [day for day, here, there in zip(days, offsets, offsets[1:], strict=False) if here != there]
    return days, jumps


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime, int]:
    """(zone, start, hours): a stretch of real time, most often with a jump of the zone's clock in it."""
    name = draw(st.one_of(st.sampled_from(JUMPY), st.sampled_from(ZONES)))
    days, jumps = days_of(name, draw(st.integers(1970, 2040)))
    day = draw(st.sampled_from(jumps)) if jumps and draw(st.integers(0, 3)) else draw(st.sampled_from(days))
    start = day - timedelta(minutes=draw(st.integers(0, 900)))
    return name, start, draw(st.integers(1, 40))
