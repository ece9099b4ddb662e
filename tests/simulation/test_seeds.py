"""The real cores of scheduler and worker over a network that fails: many seeds, none of which may break a promise.

`--seeds N` (or SEEDS=N) plays more of them, FIRST=n begins elsewhere, SEED=n (or the longer text that a failure prints)
replays one and prints its event list.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from simulation.plan import Plan, plan_of
from simulation.play import play, scratch
from simulation.shrink import shrunk
from simulation.weights import CALLS, FAULTS

CHUNK = 50
_REPLAYED = os.environ.get("SEED")
_ASKED = os.environ.get("SEEDS")
_FIRST = int(os.environ.get("FIRST") or 0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Seeds in chunks, so that a run shows how far it is."""
    if "plans" not in metafunc.fixturenames:
        return
    if _REPLAYED:
        metafunc.parametrize("plans", [[_REPLAYED]], ids=["replayed"])
        return
    count = _FIRST + (int(_ASKED) if _ASKED else metafunc.config.getoption("--seeds"))
    chunks = [range(first, min(first + CHUNK, count)) for first in range(_FIRST, count, CHUNK)]
    metafunc.parametrize("plans", chunks, ids=[f"{chunk.start}-{chunk.stop - 1}" for chunk in chunks])


def test_no_seed_breaks_a_promise(plans: range | list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with scratch() as directory:
        for text in plans:
            plan: Plan = plan_of(text)
            verdict = play(plan, Path(directory))
            if _REPLAYED:
                with capsys.disabled():
                    print(verdict.text)
            if verdict.violations:
                if not _REPLAYED:
                    verdict = shrunk(verdict, Path(directory))
                pytest.fail(verdict.text, pytrace=False)


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    """A simulator in which nothing goes wrong would prove nothing."""
    frames: Counter[str] = Counter()
    starts = 0
    told = ""
    with scratch() as directory:
        for seed in (*range(1, 60), *range(60, 260, 10)):
            verdict = play(seed, Path(directory))
            frames.update(verdict.frames)
            starts += verdict.starts
            told += "\n".join(text for _, _, text in verdict.chronicle.lines) + "\n"
    for what in (
        *(f" {name}\n" for name in (*FAULTS, *CALLS, "weather", "siege")),
        "leads in epoch 4",
        "steps down",
        "is killed",
        "is stopped",
        "the disk failed",
        "a commit in limbo is written after all",
        "hears all",
        "is deaf",
        "the disk failed at an fsync",
        "the state directory of",
        "worker_lost",
        "duplicate_worker",
        "stale_frame",
        "cuts",
        "(catchup)",
        "=lost/",
        "=lost/fenced",
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
    assert starts > 500
    for count in ("lost", "repeated", "slow", "refused", "replayed"):
        assert frames[count] > 20, count


def test_a_seed_is_the_same_in_every_process() -> None:
    program = (
        "import sys; from pathlib import Path; from simulation.play import play, scratch\n"
        "with scratch() as directory:\n"
        "    for seed in (6, 7): print(play(seed, Path(directory)).chronicle.lines)"
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


def test_a_plan_is_the_same_after_its_text_form() -> None:
    plan = plan_of(12)
    assert plan_of(plan.text) == plan
    fewer = plan.with_events(plan.events[1:7]).with_ends(plan.events[6].at + 0.5).with_jobs((0, 1))
    assert plan_of(fewer.text) == fewer
