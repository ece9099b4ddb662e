"""The account of every fire time: a virtual week, and in the end each fire time has exactly one row with its reason.

Minutely jobs are played for a few hours, and for longer and with more seeds by `--seeds N` above the usual number.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from simulation.account import Week
from simulation.play import scratch

SPRING = datetime(2026, 3, 26, tzinfo=UTC)  # clocks go forward in Berlin
AUTUMN = datetime(2026, 10, 31, tzinfo=UTC)  # and back in New York
USUAL = 2000  # seeds of `make test`
MOST = 10  # long weeks of minutely jobs
KINDS = {"schedule", "catchup", "misfire", "too_old", "paused", "overlap"}
LONG = {*KINDS, "queue_full"}  # longer queues than in a week of hourly jobs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """More weeks when more seeds are asked for."""
    if "minutely_seed" in metafunc.fixturenames:
        metafunc.parametrize(
            "minutely_seed", range(min(MOST, max(1, metafunc.config.getoption("--seeds") // 10_000)))
        )


def test_the_rows_of_a_week_are_the_fire_times_of_two_thousand_jobs() -> None:
    with scratch() as directory:
        week = Week(1, Path(directory), start=SPRING, jobs=2000, hours=168, minutely=False)
        week.play()
        kinds = week.account()
    assert set(kinds) == KINDS
    assert sum(kinds.values()) > 200_000
    assert {"outage", "failover", "clock", "pause", "pause for", "edit", "remove", "added again"} <= set(
        week.counts
    )


def test_the_rows_of_minutely_jobs_are_their_fire_times(
    minutely_seed: int, request: pytest.FixtureRequest
) -> None:
    is_long = request.config.getoption("--seeds") > USUAL
    hours, jobs = (168, 30) if is_long else (30, 10)
    with scratch() as directory:
        week = Week(100 + minutely_seed, Path(directory), start=AUTUMN, jobs=jobs, hours=hours, minutely=True)
        week.play()
        kinds = week.account()
    assert kinds.keys() <= LONG
    assert {"schedule", "misfire", "paused"} <= kinds.keys()
