"""The fault tests can fail: the product spoilt in one place meets a fault that finds it, and the checker says so."""

import signal
from pathlib import Path

import pytest
from acceptance.faults.kit.checker import kinds
from acceptance.faults.kit.cluster import Cluster, boot_now
from acceptance.faults.kit.history import Fault, JobPlan
from acceptance.faults.kit.mutant import command
from acceptance.faults.kit.nemesis import Planned
from acceptance.faults.kit.trial import Outcome, Trial
from support.waiting import wait_until

WORKERS = ("w1", "w2", "w3")
TWICE = {"doubled", "repeated"}  # what the protocol exists to prevent


BUSY = tuple(  # every worker always has something in hand
    (JobPlan(name=f"busy-{number}", period=2.0), 1.0 + number * 0.15) for number in range(6)
)


# Each Dispatch is sent again before it is answered; 2 s each way would not get through a handshake.
SENT_AGAIN = [
    Planned("f1", "delay", 1.0, 30.0, {"host": "w1", "delay_ms": 1600, "jitter_ms": 0, "seed": 1}),
]
# What starts and ends while no word gets through is written down, or else it is lost with the worker.
KILLED_UNHEARD = [
    *(
        Planned(f"f{number}", "cut_from_worker", 1.0, 12.0, {"from": host, "to": "s1"})
        for number, host in enumerate(WORKERS)
    ),
    Planned("f9", "rolling_kill", 4.0, 0.0),
]
RESTARTED = [Planned("f1", "kill_leader", 1.0, 1.0)]


def meet(
    place: Path, consul_program: Path, faults: list[Planned], name: str = "", program: str = ""
) -> Outcome | None:
    """The load, with the mutation on every host of that program, and these faults; None when nobody serves after it."""
    hosts = {"": (), "workerd": WORKERS, "schedulerd": ("s1",)}[program]
    with Cluster(place, consul_program, programs={host: command(name, program) for host in hosts}) as cluster:
        trial = Trial(cluster, BUSY)
        trial.begin()
        trial.faults(faults)
        if not wait_until(lambda: cluster.ready_workers() == set(WORKERS), 60, every=0.5):
            return None
        trial.rest(6)
        outcome = trial.close()
    print(outcome.report())
    return outcome


@pytest.mark.long
@pytest.mark.parametrize(
    "faults", [SENT_AGAIN, KILLED_UNHEARD, RESTARTED], ids=["sent-again", "killed-unheard", "restarted"]
)
def test_what_finds_the_mutants_finds_nothing_in_the_product(
    tmp_path: Path, consul_program: Path, faults: list[Planned]
) -> None:
    outcome = meet(tmp_path, consul_program, faults)
    assert outcome is not None
    assert not outcome.findings, outcome.report()


@pytest.mark.long
def test_a_worker_that_does_not_know_an_attempt_again_is_caught(tmp_path: Path, consul_program: Path) -> None:
    outcome = meet(tmp_path, consul_program, SENT_AGAIN, "dedupe_off", "workerd")
    assert outcome is not None
    assert "doubled" in kinds(outcome.findings), outcome.report()


@pytest.mark.long
def test_a_worker_without_a_journal_is_caught(tmp_path: Path, consul_program: Path) -> None:
    outcome = meet(tmp_path, consul_program, KILLED_UNHEARD, "journal_off", "workerd")
    assert outcome is not None
    assert kinds(outcome.findings).keys() & {"repeated", "differs"}, outcome.report()


@pytest.mark.long
def test_a_scheduler_that_forgets_its_marks_is_caught(tmp_path: Path, consul_program: Path) -> None:
    """It fires again what it has fired; or its ledger refuses a second row, and it cannot even begin."""
    outcome = meet(tmp_path, consul_program, RESTARTED, "mark_not_persisted", "schedulerd")
    assert outcome is None or outcome.findings


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
