"""Faults a test run has the time for: a control without any is clean, and those at the heart of the protocol."""

from pathlib import Path

from acceptance.faults.kit.cluster import Cluster
from acceptance.faults.kit.nemesis import Planned
from acceptance.faults.kit.trial import LOAD, SHAPES, Trial

SHORT = tuple((job, min(seconds, 1.0)) for job, seconds in LOAD)  # ends soon when the trial does
WARM_UP = 3.0


def test_without_faults_everything_is_on_time_and_recorded_as_it_was(
    tmp_path: Path, consul_program: Path
) -> None:
    with Cluster(tmp_path, consul_program) as cluster:
        trial = Trial(cluster, SHORT)
        trial.begin(warm_up=WARM_UP)
        trial.rest(8)
        outcome = trial.close()
    assert not outcome.findings, outcome.report()
    assert len(outcome.late) > 12, outcome.report()
    assert {attempt.state for attempt in outcome.history.attempts} == {
        "succeeded",
        "failed",
    }  # flaky fails once


def test_a_killed_leader_and_a_deaf_one_lose_and_double_nothing(tmp_path: Path, consul_program: Path) -> None:
    faults = [
        Planned("f1", "kill_leader", 1.0, 1.0),
        Planned("f2", "cut_from_worker", 5.0, 5.0, {"from": "w1", "to": "s1"}),
    ]
    with Cluster(tmp_path, consul_program) as cluster:
        trial = Trial(cluster, SHORT)
        trial.begin(warm_up=WARM_UP)
        trial.faults(faults, in_a_hurry=True)
        trial.be_served()
        trial.rest(2)
        outcome = trial.close()
    assert not outcome.findings, outcome.report()
    assert len(outcome.history.faults) == 2
    assert outcome.history.kills


def test_a_database_that_crashes_amid_a_commit_and_ended_backends_lose_and_double_nothing(
    tmp_path: Path, consul_program: Path
) -> None:
    faults = [
        Planned("f1", "crash_postgres", 1.0, 0.5, {"how": "immediate"}),
        Planned("f2", "end_backends", 4.0, 1.0),
    ]
    with Cluster(tmp_path, consul_program, **SHAPES["postgres"]) as cluster:
        trial = Trial(cluster, SHORT)
        trial.begin(warm_up=WARM_UP)
        trial.faults(faults, in_a_hurry=True)
        trial.be_served()
        trial.rest(2)
        outcome = trial.close()
    assert not outcome.findings, outcome.report()
    assert len(outcome.history.faults) == 2
    assert len(outcome.history.epochs) > 1, "no leadership ended"
