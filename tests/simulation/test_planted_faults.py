"""Faults planted on purpose must be caught: a checker that is content with a spoilt world proves nothing."""

from pathlib import Path

import pytest
from simulation.planted import (
    DedupeOff,
    EpochUncheckedByLedger,
    EpochUncheckedByWorker,
    Planted,
    SendBeforeCommit,
)
from simulation.play import play, scratch

MOST_SEEDS = 100


@pytest.mark.parametrize(
    ("planted", "props"),
    [
        (DedupeOff(), {"P2"}),
        (SendBeforeCommit(), {"order", "P2"}),
        (EpochUncheckedByWorker(), {"P4"}),
        (EpochUncheckedByLedger(), {"P4"}),
    ],
    ids=lambda value: value.name if isinstance(value, Planted) else "",
)
def test_a_planted_fault_is_caught(planted: Planted, props: set[str]) -> None:
    missing = set(props)
    for seed in range(1, MOST_SEEDS):
        with scratch() as directory:
            verdict = play(seed, Path(directory), planted)
        missing -= {prop for prop, _ in verdict.violations}
        if not missing:
            return
    pytest.fail(
        f"{planted.name} was not caught by {sorted(missing)} within {MOST_SEEDS} seeds", pytrace=False
    )
