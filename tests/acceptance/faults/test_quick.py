"""Faults a test run has the time for: a control without any is clean, and two at the heart of the protocol."""

from pathlib import Path

import pytest
from acceptance.faults.kit.cluster import Cluster
from acceptance.faults.kit.nemesis import Planned
from acceptance.faults.kit.trial import Trial


def test_without_faults_everything_is_on_time_and_recorded_as_it_was(
    tmp_path: Path, consul_program: Path
) -> None:
    with Cluster(tmp_path, consul_program) as cluster:
        trial = Trial(cluster)
        trial.begin()
        trial.rest(12)
        outcome = trial.close()
    assert not outcome.findings, outcome.report()
    assert len(outcome.late) > 20
    assert {attempt.state for attempt in outcome.history.attempts} == {
        "succeeded",
        "failed",
    }  # flaky fails once
    print(outcome.report())


@pytest.mark.parametrize(
    "fault",
    [
        Planned("f1", "kill_leader", 1.0, 2.0),
        Planned("f1", "cut_from_worker", 1.0, 5.0, {"from": "w1", "to": "s1"}),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_short_fault_loses_and_doubles_nothing(
    tmp_path: Path, consul_program: Path, fault: Planned
) -> None:
    with Cluster(tmp_path, consul_program) as cluster:
        trial = Trial(cluster)
        trial.begin()
        trial.faults([fault])
        trial.be_served()
        trial.rest(4)
        outcome = trial.close()
    print(outcome.report())
    assert not outcome.findings, outcome.report()
