"""The search for a fire time always ends soon, answers strictly after the question, and never with the past.

Steps are lines of Python that run inside schedulerd's core, counted by the interpreter: no assumption about how it
searches.
"""

import sys
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties.cron_material import EXPRESSIONS, FIVE, ZONES
from properties.test_fire_times import is_possible, short
from properties.test_transitions import CLOCKS, chosen
from properties.zone_jumps import BEGIN, END

from schedulerd.core import cron_grammar
from schedulerd.core.cron import CronError, fire_times, parse
from schedulerd.core.search import Fold, next_instant
from schedulerd.core.zones import zone

# A century of Casablanca, four jumps a year, is some 400 segments of at most 40 lines; finding segments once for all
# is not counted in.
MOST_STEPS = 40_000
RARE = [
    "0 0 29 2 *",
    "0 0 29 2 */7",
    "0 0 * 2 1#5",
    "0 0 */31 1 0",
    "0 0 LW 2 *",
    "*/60 2 * 3 0#L",  # in Berlin at the gap, every year: never
    "*/30 0 30 12 *",
    "59 59 23 31 12 *",
    "* * * * * *",
]


class Steps:
    """How many lines of schedulerd's core run inside the `with`."""

    def __enter__(self) -> "Steps":
        self.count = 0
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_globals.get("__name__", "")
        return self._line if name.startswith("schedulerd.core") else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.count += 1
        assert self.count <= 50 * MOST_STEPS, "the search goes on and on"
        return self._line


@short
@given(
    st.one_of(EXPRESSIONS, EXPRESSIONS, st.sampled_from(RARE)),
    st.sampled_from(ZONES),
    st.integers(-150_000_000, 4_000_000_000),
    st.sampled_from(Fold),
)
def test_the_search_ends_within_its_bound_and_strictly_after(
    expression: str, timezone: str, at: int, fold: Fold
) -> None:
    if not is_possible(expression):
        return
    times, where = parse(expression), zone(timezone)
    next_instant(times, where, at, fold)  # the zone's segments are found once
    with Steps() as steps:
        found = next_instant(times, where, at, fold)
    assert steps.count <= MOST_STEPS
    assert found is None or found[0] > at


@pytest.mark.parametrize("expression", RARE)
def test_the_rarest_expressions_end_within_the_bound_in_the_zones_with_most_jumps(expression: str) -> None:
    for timezone in ("UTC", "Europe/Berlin", "Africa/Casablanca", "Asia/Gaza", "Pacific/Apia"):
        for year in (1970, 2011, 2026, 2096, 2990):
            at = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
            times, where = parse(expression), zone(timezone)
            next_instant(times, where, at)
            with Steps() as steps:
                next_instant(times, where, at)
            assert steps.count <= MOST_STEPS, (timezone, year)


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 31 2 *",
        "0 0 31W 2 *",
        "* * * 30 2 ?",
        "0 0 L-29 2 *",
        "0 0 22-2 * *",
        "*/0 * * * *",
        "9" * 1500 + " * * * *",
        "*/" + "9" * 1500 + " 0 31 2 *",
        ",".join(["1-31"] * 500) + " * * * *",
        "1 2 3 4 5 6 7 8",
        "@every 0s",
        "H(9-1) * * * *",
    ],
)
def test_a_refusal_comes_before_any_long_search(expression: str) -> None:
    cron_grammar._read.cache_clear()
    with Steps() as steps, pytest.raises(CronError):
        fire_times(expression, "Europe/Berlin", datetime(2026, 1, 1, tzinfo=UTC), 10**9)
    assert steps.count < 10_000


def test_asked_inside_any_fold_it_never_answers_with_the_past() -> None:
    for name in CLOCKS:
        info = ZoneInfo(name)
        for jump in chosen(name):
            size = jump.before - jump.after
            if size <= 0:
                continue
            for part in range(-4, 5):  # in the first pass, at the jump, in the second
                after = datetime.fromtimestamp(jump.instant + part * size // 4, UTC)
                # as a reader of that zone asks: with `fold` set in the second pass
                for asked in (after, after.astimezone(info)):
                    for expression in ("30 2 * * *", "15,45 0-3,23 * * *", "*/15 * * * *", "0 */2 * * *"):
                        fires = [fire.astimezone(UTC) for fire in fire_times(expression, name, asked, 3)]
                        assert after < fires[0] < fires[1] < fires[2], (name, after, expression)


@short
@given(FIVE, st.sampled_from(ZONES), st.integers(BEGIN, END))
def test_asking_again_from_an_answer_walks_the_same_row(expression: str, timezone: str, instant: int) -> None:
    if not is_possible(expression):
        return
    after = datetime.fromtimestamp(instant, UTC)
    row = fire_times(expression, timezone, after, 4)
    one_by_one = []
    for _ in row:
        # the answer itself, with its zone and fold, is the next question
        [following] = fire_times(expression, timezone, after, 1)
        assert following.astimezone(UTC) > after.astimezone(UTC)
        one_by_one.append(following)
        after = following
    assert one_by_one == row
    if row:
        just_before = row[0].astimezone(UTC) - timedelta(microseconds=1)
        assert fire_times(expression, timezone, just_before, 1) == row[:1]
