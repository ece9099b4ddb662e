"""Each kind of fault alone, for as long as it lasts at most: nothing lost, nothing twice, on time again after it.

Each comes in one shape of cluster, those that hit the leader in all; `--every-shape` plays all of them in all.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.faults.kit.cluster import Cluster
from acceptance.faults.kit.doing import Stage
from acceptance.faults.kit.faults import KINDS
from acceptance.faults.kit.nemesis import Nemesis, Planned, plan, read_plan
from acceptance.faults.kit.trial import SHAPES, Trial

CALM = 12.0  # seconds of load after the recovery

AT_HOME = {
    "standby": {
        "rolling_restart",
        "consul_forgets",
        "cut_scheduler_worker",
        "cut_to_worker",
        "cut_from_worker",
        "cut_worker_consul",
        "loss",
    },
    "postgres": {
        "consul_restart",
        "cut_scheduler_consul",
        "cut_scheduler_worker_for_long",
        "unplug_worker",
        "resets",
        "slow_link",
        "burst",
    },
}


def alone(kind: str, cluster: Cluster) -> list[Planned]:
    """That fault after two seconds."""
    return [Planned("f1", kind, 2.0, KINDS[kind].hold[1], KINDS[kind].draw(random.Random(kind), cluster))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which kinds in which shapes."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize(("kind", "shape"), list(cases(metafunc.config.getoption("--every-shape"))))


def cases(is_every_shape: bool = False) -> Iterator[tuple[str, str]]:
    """(kind, shape); a kind whose shape is not told below is at home where it applies first."""
    for name, kind in KINDS.items():
        able = [shape for shape in SHAPES if kind.applies(bare(name, shape))]
        if is_every_shape or kind.hits_leader:
            yield from ((name, shape) for shape in able)
        else:
            yield name, next((shape for shape, names in AT_HOME.items() if name in names), able[0])


def bare(kind: str, shape: str) -> Cluster:
    """The cluster that this kind is played on; not entered, it is a plan and no more."""
    return Cluster(Path(), Path(), has_small_disks=kind.startswith("full_"), **SHAPES[shape])


@pytest.mark.long
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


def test_every_kind_is_played_and_the_leader_is_hit_in_every_shape() -> None:
    played = list(cases())
    assert {kind for kind, _ in played} == set(KINDS)
    assert {shape for _, shape in played} == set(SHAPES)
    assert not {kind for kinds in AT_HOME.values() for kind in kinds} - set(KINDS)
    assert set(played) <= set(cases(is_every_shape=True))
    assert {shape for kind, shape in played if kind == "kill_leader"} == set(SHAPES)


def test_a_plan_is_its_seeds_and_has_every_kind_before_any_comes_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, tmp_path, has_postgres=True)
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
