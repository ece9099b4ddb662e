"""Each kind of fault alone, for as long as it lasts at most: nothing lost, nothing twice, on time again after it."""

import random
from pathlib import Path

import pytest
from acceptance.faults.kit.cluster import Cluster
from acceptance.faults.kit.doing import Stage
from acceptance.faults.kit.faults import KINDS, POSTGRES
from acceptance.faults.kit.nemesis import Nemesis, Planned, plan, read_plan
from acceptance.faults.kit.trial import SHAPES, Trial

CALM = 12.0  # seconds of load after the recovery


def alone(kind: str, cluster: Cluster) -> list[Planned]:
    """That fault after two seconds."""
    return [Planned("f1", kind, 2.0, KINDS[kind].hold[1], KINDS[kind].draw(random.Random(kind), cluster))]


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "postgres" not in kind])
def test_a_fault_alone_loses_and_doubles_nothing(
    tmp_path: Path, consul_program: Path, kind: str, shape: str
) -> None:
    is_full = kind.startswith("full_")
    with Cluster(tmp_path, consul_program, has_small_disks=is_full, **SHAPES[shape]) as cluster:
        trial = Trial(cluster)
        trial.begin()
        trial.faults(alone(kind, cluster))
        trial.recover()
        trial.rest(CALM)
        outcome = trial.close()
    print(outcome.report())
    assert not outcome.findings, outcome.report()
    assert outcome.late, "nothing was required"


def test_a_plan_is_its_seeds_and_has_every_kind_before_any_comes_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, tmp_path, others=[POSTGRES])
    planned = plan(7, 3_600, cluster)
    assert planned == plan(7, 3_600, cluster)
    assert planned != plan(8, 3_600, cluster)
    drawn = [fault.kind for fault in planned]
    once = {kind for kind in KINDS if not kind.endswith("_for_long") and KINDS[kind].applies(cluster)}
    assert once <= set(drawn)
    for one, other in zip(planned, planned[2:], strict=False):
        assert other.at > one.at + one.hold  # at most two at once


def test_a_log_of_faults_is_a_plan_that_makes_them_again(tmp_path: Path) -> None:
    """Two that overlap, made on real links; the log gives the same plan, and each was lifted in its turn."""
    planned = [
        Planned("f1", "cut_to_worker", 0.1, 4.0, {"from": "s1", "to": "w1"}),
        Planned("f2", "loss", 0.3, 0.1, {"host": "w2", "per_mille": 50}),
    ]
    with Cluster(tmp_path, tmp_path) as cluster:
        nemesis = Nemesis(Stage(cluster, tmp_path, {}, []), tmp_path / "faults.jsonl")
        nemesis.run(planned, in_a_hurry=True)
    assert sorted(read_plan(tmp_path / "faults.jsonl"), key=lambda fault: fault.name) == planned
    first, second = sorted(nemesis.done, key=lambda fault: fault.name)
    assert first.began < second.began < second.ended < first.ended
