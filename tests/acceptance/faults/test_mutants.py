"""The fault tests can fail: the product spoilt in one place meets a fault that finds it, and the checker says so."""

import signal
from pathlib import Path

import pytest
from acceptance.faults.kit.checker import kinds
from acceptance.faults.kit.cluster import Cluster, boot_now
from acceptance.faults.kit.history import Fault
from acceptance.faults.kit.mutant import command
from acceptance.faults.kit.nemesis import Planned
from acceptance.faults.kit.trial import Outcome, Trial

WORKERS = ("w1", "w2", "w3")
TWICE = {"doubled", "repeated"}  # what the protocol exists to prevent


def meet(place: Path, consul_program: Path, name: str, program: str, fault: Planned) -> Outcome:
    """The load with the mutation on every host of that program, and one fault."""
    hosts = WORKERS if program == "workerd" else ("s1",)
    with Cluster(place, consul_program, programs={host: command(name, program) for host in hosts}) as cluster:
        trial = Trial(cluster)
        trial.begin()
        trial.faults([fault])
        trial.be_served()
        trial.rest(6)
        outcome = trial.close()
    print(outcome.report())
    return outcome


@pytest.mark.long
def test_a_worker_that_does_not_know_an_attempt_again_is_caught(tmp_path: Path, consul_program: Path) -> None:
    fault = Planned("f1", "cut_from_worker", 1.0, 8.0, {"from": "w1", "to": "s1"})
    outcome = meet(tmp_path, consul_program, "dedupe_off", "workerd", fault)
    assert "doubled" in kinds(outcome.findings)


@pytest.mark.long
def test_a_worker_without_a_journal_is_caught(tmp_path: Path, consul_program: Path) -> None:
    fault = Planned("f1", "rolling_kill", 1.0, 0.0)
    outcome = meet(tmp_path, consul_program, "journal_off", "workerd", fault)
    assert kinds(outcome.findings).keys() & {"repeated", "differs"}


@pytest.mark.long
def test_a_scheduler_that_forgets_its_marks_is_caught(tmp_path: Path, consul_program: Path) -> None:
    fault = Planned("f1", "kill_leader", 1.0, 1.0)
    outcome = meet(tmp_path, consul_program, "mark_not_persisted", "schedulerd", fault)
    assert outcome.findings


def two_leaders(place: Path, consul_program: Path, name: str) -> Outcome:
    """The first scheduler is stopped, a second takes the ledger, the first wakes up and is killed 8 s later."""
    programs = {host: command(name, "schedulerd") for host in ("s1", "s2")}
    programs |= {host: command(name, "workerd") for host in WORKERS}
    with Cluster(place, consul_program, schedulers=("s1", "s2"), programs=programs) as cluster:
        trial = Trial(cluster)
        trial.begin(only="s1")
        began = boot_now()
        cluster.send("s1", signal.SIGSTOP)
        trial.rest(3)
        cluster.start_daemon("s2")
        cluster.daemons["s2"].wait_said("READY=1", 90)
        trial.rest(3)
        cluster.send("s1", signal.SIGCONT)
        trial.rest(8)
        cluster.kill("s1")
        trial.nemesis.done.append(
            Fault(name="f1", kind="two_leaders", began=began, ended=boot_now(), recovery=30.0)
        )
        trial.host = "s2"
        trial.be_served()
        trial.rest(6)
        outcome = trial.close()
    print(outcome.report())
    return outcome


@pytest.mark.long
def test_leaders_whose_epoch_nobody_checks_are_caught(tmp_path: Path, consul_program: Path) -> None:
    assert kinds(two_leaders(tmp_path, consul_program, "epoch_off").findings).keys() & (TWICE | {"stale"})


@pytest.mark.long
def test_without_locks_the_epoch_alone_keeps_two_leaders_from_doing_anything_twice(
    tmp_path: Path, consul_program: Path
) -> None:
    outcome = two_leaders(tmp_path, consul_program, "locks_off")
    assert not outcome.findings, outcome.report()
