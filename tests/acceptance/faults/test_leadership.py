"""Faults of leadership with real processes: kill -9, a Consul that is gone, a host that slept, many hand-overs."""

import random
import signal
import time
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.fleet import Fleet, lines
from support.schedulers import (
    LEASE,
    LOCK_DELAY,
    TTL,
    USUAL,
    WITNESSED,
    Schedulers,
    events,
    fires_on,
    pair,
    stop_between_commits,
    take_account,
    took_over,
)
from support.waiting import wait_until

pytestmark = pytest.mark.long


def test_after_kill_9_the_standby_leads_in_time_and_nothing_is_lost_or_doubled(
    schedulers: Schedulers, seen: Path
) -> None:
    alpha, beta = pair(schedulers, seen)
    alpha.process.kill()
    assert took_over(beta, 30) <= 2 * TTL + LOCK_DELAY + 0.5  # a poll, and the looks at it
    assert fires_on(seen)
    schedulers.start(alpha)
    assert alpha.is_standby()
    take_account(alpha, seen)


def test_a_leader_whose_host_slept_begins_anew_before_it_acts(schedulers: Schedulers, seen: Path) -> None:
    schedulers.start_worker()
    only = schedulers.start(schedulers.make("alpha", table=WITNESSED.format(seen=seen)))
    assert wait_until(only.leads, 30)
    only.clock.write_text("5 5")
    assert wait_until(lambda: len(events(only, "leader_gained")) == 2, 30)
    assert "lease: the lease ran out" in events(only, "leader_lost")[0]["detail"]
    assert wait_until(only.leads, 30)


def test_the_loss_of_consul_fences_a_leader_that_it_elected(
    tmp_path: Path, own_consul: ConsulAgent, seen: Path
) -> None:
    with Schedulers(tmp_path, own_consul, "lost") as schedulers:
        alpha, beta = pair(schedulers, seen)
        own_consul.kill()
        began = time.monotonic()
        assert wait_until(lambda: not alpha.leads(), 20, every=0.005)
        assert time.monotonic() - began <= LEASE + 0.5
        count = len(lines(seen))
        assert not wait_until(lambda: len(lines(seen)) > count + 1, 3.0)  # one may have been under way
        for scheduler in (alpha, beta):
            found = scheduler.get("/readyz")
            assert not found["ready"]
            assert any(own_consul.address in reason for reason in found["reasons"])
        assert "nobody leads" in alpha.ctl("pause", "tick", code=4)
        assert [job["name"] for job in beta.json("list")["items"]] == ["tick"]  # reading goes on
        own_consul.start()
        assert wait_until(lambda: alpha.leads() or beta.leads(), 30)
        assert fires_on(seen)
        take_account(beta, seen)


def test_the_loss_of_consul_stops_nothing_with_the_lock_of_a_directory(
    tmp_path: Path, own_consul: ConsulAgent, seen: Path
) -> None:
    with Fleet(tmp_path, own_consul, "file") as fleet:
        fleet.table(WITNESSED.format(seen=seen))
        fleet.start_worker("w")
        fleet.start_scheduler()
        fleet.wait_ready("w")
        own_consul.kill()
        assert fires_on(seen, 9)  # longer than any lease
        assert fleet.json("leader")["leader"]["epoch"] == 1


def test_both_kinds_of_election_do_not_share_a_ledger(schedulers: Schedulers) -> None:
    leader = schedulers.start(schedulers.make("alpha"))
    other = schedulers.make("beta")
    config = other.place / "schedulerd.toml"
    config.write_text(config.read_text().replace('kind = "consul"\nttl', 'kind = "file"\nttl'))
    refused = schedulers.start(other, until="")
    assert refused.process.wait() == 1
    assert f"{schedulers.ledger}.lock: process {leader.process.pid} holds the lock" in refused.log


def test_with_the_usual_terms_a_killed_leader_is_followed_within_25_seconds(
    tmp_path: Path, consul: ConsulAgent, cluster: str, seen: Path
) -> None:
    with Schedulers(tmp_path, consul, cluster, election=USUAL) as schedulers:
        alpha, beta = pair(schedulers, seen)
        # not right after a renewal: the bound counts from it, the measurement from the kill
        assert wait_until(lambda: 1.0 < alpha.get("/v1/cluster")["lease_age_seconds"] < 2.5, 20)
        alpha.process.kill()
        assert took_over(beta, 60) <= 25.0
        assert fires_on(seen)
        take_account(beta, seen)


def test_many_ends_of_leaders_lose_and_double_no_fire_time(schedulers: Schedulers, seen: Path) -> None:
    alpha, beta = pair(schedulers, seen)
    rng = random.Random(4)
    leader, standby = alpha, beta
    for number in range(6):
        assert fires_on(seen, rng.randrange(1, 4))
        match ("kill", "term", "step-down", "stop")[number % 4]:
            case "kill":
                leader.process.kill()
                took_over(standby, 30)
                schedulers.start(leader)
            case "term":
                leader.process.stop()
                took_over(standby, 30)
                schedulers.start(leader)
            case "step-down":
                standby.ctl("leader", "--step-down")
            case _:
                stop_between_commits(leader, schedulers.ledger)
                took_over(standby, 30)
                leader.process.send(signal.SIGCONT)
        assert wait_until(standby.leads, 30)
        assert wait_until(leader.is_standby, 30)
        leader, standby = standby, leader
    assert fires_on(seen)
    take_account(leader, seen)
    assert len(events(leader, "leader_gained")) == 7


def test_faulty_job_files_end_a_first_leader_and_never_a_later_one(
    schedulers: Schedulers, tmp_path: Path
) -> None:
    bad = '[job.b]\nargv = ["true"]\nschedule = "61 * * * *"\n'
    alpha = schedulers.start(schedulers.make("alpha", table=bad), until="")
    assert alpha.process.wait() == 1
    assert "jobs.toml:3:" in alpha.log
    schedulers.start(schedulers.make("alpha", table='[job.a]\nargv = ["true"]\n'))
    assert wait_until(lambda: [job["name"] for job in alpha.json("list")["items"]] == ["a"], 30)
    beta = schedulers.start(schedulers.make("beta", table=bad))
    alpha.ctl("leader", "--step-down")
    assert beta.leads()
    assert [job["name"] for job in beta.json("list")["items"]] == ["a"]
    assert "jobs.toml:3:" in beta.ctl("reload", code=1)
    # an empty table that was accepted is a table too
    schedulers.make("beta", table="")
    beta.ctl("reload")
    alpha.process.stop()
    schedulers.start(alpha)  # it has read nothing yet
    beta.process.stop()
    assert wait_until(alpha.leads, 30)
    assert alpha.json("list")["items"] == []
    assert "the ledger's job table is in force" in alpha.log


def test_a_quick_restart_after_kill_9_leads_again_before_the_standby_may(
    tmp_path: Path, consul: ConsulAgent, cluster: str, seen: Path
) -> None:
    with Schedulers(
        tmp_path, consul, cluster, election=USUAL
    ) as schedulers:  # terms longer than a restart takes
        alpha, beta = pair(schedulers, seen)
        alpha.process.kill()
        schedulers.start(alpha)
        assert alpha.leads()
        assert "the session in Consul is taken up again" in alpha.log
        assert [event["epoch"] for event in events(beta, "leader_gained")] == [2, 1]
        assert all("alpha leads" in event["detail"] for event in events(beta, "leader_gained"))
        assert fires_on(seen)
        take_account(beta, seen)
