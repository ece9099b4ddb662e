"""Many faults, one after the other and sometimes two at once, under load, for 15 minutes: P1 to P8 hold at the end.

`make faults MINUTES=15`; the faults are drawn from a seed that is printed, and a log of them can be played again.
"""

import random
from pathlib import Path

import pytest
from acceptance.faults.kit.cluster import Cluster
from acceptance.faults.kit.nemesis import plan, read_plan
from acceptance.faults.kit.trial import SHAPES, Trial

BASELINE = 30.0  # seconds of load before the first fault, for what is normal
TAIL = 60.0  # seconds after the last fault and its recovery in which all is on time


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In which shapes: what the two schedulers on one SQLite file add is in the others, or is played alone."""
    if "shape" in metafunc.fixturenames:
        is_every = metafunc.config.getoption("--every-shape")
        metafunc.parametrize("shape", SHAPES if is_every else ["one-scheduler", "postgres"])


@pytest.mark.long
def test_nothing_is_lost_or_done_twice_in_a_mixed_run(
    tmp_path: Path, consul_program: Path, request: pytest.FixtureRequest, shape: str
) -> None:
    minutes = float(request.config.getoption("--minutes"))
    replay = request.config.getoption("--replay")
    seed = request.config.getoption("--fault-seed")
    seed = random.SystemRandom().randrange(10_000) if seed is None else int(seed)
    with Cluster(tmp_path, consul_program, **SHAPES[shape]) as cluster:
        faults = read_plan(Path(replay)) if replay else plan(seed, minutes * 60 - BASELINE - TAIL, cluster)
        print(f"{shape}, seed {seed}, {len(faults)} faults; for --replay: {tmp_path / 'faults.jsonl'}")
        trial = Trial(cluster)
        trial.begin()
        trial.rest(BASELINE)
        trial.faults(faults)
        trial.recover()
        trial.rest(TAIL)
        outcome = trial.close(baseline=BASELINE, tail=TAIL)
    print(outcome.report())
    assert not outcome.findings, outcome.report()
    assert not outcome.growth, outcome.report()
    assert len(outcome.history.faults) == len(faults)
    assert outcome.late, "nothing was required: the run is too short for its faults"
