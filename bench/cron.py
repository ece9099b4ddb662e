"""What one `next` costs, beside croniter's and cronsim's in the same run."""

import statistics
import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from bench.report import show
from schedulerd.core.cron import parse
from schedulerd.core.search import next_instant
from schedulerd.core.zones import zone

EXPRESSIONS = ("* * * * *", "*/5 9-17 * * 1-5", "0 3 * * *", "0 0 29 2 *")
ZONE = "Europe/Prague"
BEGIN = datetime(2026, 3, 1, 12, 30, tzinfo=ZoneInfo(ZONE))
STEPS = 300  # fire times in a row, each asked for from the one before
ROUNDS = 5


def following() -> None:
    """Microseconds for the next fire time of an expression that is parsed already, in a zone with summer time."""
    for expression in EXPRESSIONS:
        ways: dict[str, Callable[[int], None]] = {
            "ours": lambda steps, text=expression: _ours(text, steps),
            "croniter": lambda steps, text=expression: _croniter(text, steps),
            "cronsim": lambda steps, text=expression: _cronsim(text, steps),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(_microseconds(way))
        medians = {name: statistics.median(times) for name, times in found.items()}
        show("next_us", expression=expression, zone=ZONE, **medians, runs=found["ours"])


def _microseconds(way: Callable[[int], None]) -> float:
    steps = STEPS
    way(1)
    begun = time.perf_counter()
    way(steps)
    return (time.perf_counter() - begun) / steps * 1e6


def _ours(expression: str, steps: int) -> None:
    """Without the cache that the fire times of many jobs share."""
    times, where, at = parse(expression), zone(ZONE), int(BEGIN.timestamp())
    for _ in range(steps):
        found = next_instant(times, where, at)
        at = int(BEGIN.timestamp()) if found is None else found[0]


def _croniter(expression: str, steps: int) -> None:
    times = croniter(expression, BEGIN)
    for _ in range(steps):
        times.get_next(datetime)


def _cronsim(expression: str, steps: int) -> None:
    times = CronSim(expression, BEGIN)
    for _ in range(steps):
        next(times)
