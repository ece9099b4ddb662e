"""Faults planted on purpose must be caught: a checker that is content with a spoilt world proves nothing.

Each must break the very promise that it endangers, not just any.
"""

from pathlib import Path

import pytest
from simulation.plan import SIEGE_EVERY
from simulation.planted_leader import LEADERS
from simulation.planted_worker import WORKERS
from simulation.play import play, scratch
from simulation.shrink import shrunk

MOST_SEEDS = 300
ALL = {**LEADERS, **WORKERS}
SLOW = (
    "no fence",
    "lost before the lease rule",
    "copies trusted",
    "whoever comes first after a takeover",
)  # they show only when a worker is away for longer than a term


@pytest.mark.parametrize("name", ALL)
def test_a_planted_fault_is_caught(name: str) -> None:
    planted, props = ALL[name]
    missing = set(props)
    seeds = range(1, MOST_SEEDS)
    if name in SLOW:
        seeds = range(SIEGE_EVERY // 2, MOST_SEEDS * SIEGE_EVERY, SIEGE_EVERY)
    with scratch() as directory:
        for seed in seeds:
            missing -= play(seed, Path(directory), planted).props
            if not missing:
                return
    pytest.fail(f"{name} was not caught by {sorted(missing)} within {len(seeds)} seeds", pytrace=False)


def test_a_failing_plan_is_made_small_and_still_fails() -> None:
    planted, _ = ALL["dedupe off"]
    with scratch() as directory:
        seed = 1
        while "P2" not in (verdict := play(seed, Path(directory), planted)).props:
            seed += 1
        small = shrunk(verdict, Path(directory), planted, seconds=10.0)
        again = play(small.plan, Path(directory), planted)
    assert verdict.violations[0][0] in again.props
    assert len(small.plan.events) <= len(verdict.plan.events) // 2
    assert f"SEED={small.plan.text}" in small.text
