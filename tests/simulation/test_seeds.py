"""The real cores of scheduler and worker over a network that fails: many seeds, none of which may break a promise.

`--seeds N` (or SEEDS=N) plays more of them, SEED=n replays one and prints its event list.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.play import play, scratch

CHUNK = 20
_REPLAYED = os.environ.get("SEED")
_ASKED = os.environ.get("SEEDS")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Seeds in chunks, so that a run shows how far it is."""
    if "seeds" not in metafunc.fixturenames:
        return
    if _REPLAYED:
        chunks = [range(int(_REPLAYED), int(_REPLAYED) + 1)]
    else:
        count = int(_ASKED) if _ASKED else metafunc.config.getoption("--seeds")
        chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    metafunc.parametrize("seeds", chunks, ids=[f"{chunk.start}-{chunk.stop - 1}" for chunk in chunks])


def test_no_seed_breaks_a_promise(seeds: range, capsys: pytest.CaptureFixture[str]) -> None:
    with scratch() as directory:
        for seed in seeds:
            verdict = play(seed, Path(directory))
            if _REPLAYED:
                with capsys.disabled():
                    print(verdict.text)
            if verdict.violations:
                pytest.fail(verdict.text, pytrace=False)


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    """A simulator in which nothing goes wrong would prove nothing."""
    with scratch() as directory:
        verdicts = [play(seed, Path(directory)) for seed in range(1, 16)]
    told = "\n".join(text for verdict in verdicts for _, _, text in verdict.lines)
    for what in (
        "leads in epoch 4",
        "steps down",
        "is killed",
        "is stopped",
        "the disk failed",
        "cuts",
        "(catchup)",
        "=lost/",
        "=unstarted/",
        "=timeout/",
        "=cancelled/",
        "RecordLateResults",
        "closes",
        "Refused(refusals=[]",
        "OVERLAP",
        "PAUSED",
        "MISFIRE",
    ):
        assert what in told, what
    assert sum(verdict.starts for verdict in verdicts) > 200
    for count in ("lost", "repeated", "slow", "refused"):
        assert sum(verdict.frames[count] for verdict in verdicts) > 20, count


def test_a_seed_is_the_same_in_every_process() -> None:
    program = (
        "import sys; from pathlib import Path; from simulation.play import play, scratch\n"
        "with scratch() as directory: print(play(7, Path(directory)).lines)"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 10_000
