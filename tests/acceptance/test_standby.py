"""Two schedulerd and a Consul as processes: one leads, the other stands by, reads, and takes over; jobs witness it.

What takes longer stands in faults/test_leadership.py.
"""

import http.client
import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

from support.consul_agent import ConsulAgent
from support.daemons import PROGRAMS, clean_environment
from support.elections import card
from support.fleet import Fleet, lines
from support.schedulers import (
    LEASE,
    LOCK_DELAY,
    TTL,
    WITNESSED,
    Scheduler,
    Schedulers,
    events,
    fires_on,
    pair,
    stop_between_commits,
    take_account,
    took_over,
)
from support.waiting import wait_until

from schedulerd.protocol import consul_names
from schedulerd.protocol.leader_card import value_of


def raw(scheduler: Scheduler, method: str, path: str, body: str = "") -> tuple[int, str, dict[str, Any]]:
    """Status, Location and problem of one request that follows nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", scheduler.ports[0], timeout=30)
    connection.request(method, path, body=body or None, headers={"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, answer.headers.get("Location", ""), found


def test_a_standby_is_ready_answers_reads_and_sends_writes_to_the_leader(
    schedulers: Schedulers, seen: Path
) -> None:
    leader, standby = pair(schedulers, seen)
    status = next(said for said in reversed(standby.process.said) if said.startswith("STATUS="))
    assert status == f"STATUS=standby, leader is alpha (127.0.0.1:{leader.ports[0]}), epoch 1"

    assert [job["name"] for job in standby.json("list")["items"]] == ["tick"]
    run = standby.json("run", "tick/last")
    assert run["job"] == "tick"
    assert standby.json("why", run["id"])["run_id"] == run["id"]
    shown = standby.ctl("status")
    assert "standby of alpha, ready, epoch 1" in shown
    assert f"alpha  {leader.api}" in shown
    assert standby.get("/v1/cluster")["jobs"] == 1

    status_code, location, problem = raw(standby, "POST", "/v1/jobs/tick/trigger?a=1", "{}")
    assert (status_code, location) == (307, f"{leader.api}/v1/jobs/tick/trigger?a=1")
    assert (problem["leader"]["name"], problem["leader"]["epoch"]) == ("alpha", 1)

    told = standby.json("trigger", "tick", "--env", "GREETING=hello", "--wait")
    assert told["state"] == "succeeded"
    assert leader.json("run", told["id"])["trigger"] == "manual"
    assert [worker["name"] for worker in standby.json("workers")["items"]] == ["w"]
    for order in (("pause", "tick"), ("resume", "tick"), ("reload",)):
        standby.ctl(*order)

    shown = standby.json("leader")
    assert (shown["leader"]["name"], shown["leader"]["url"]) == ("alpha", leader.api)
    assert shown["lease_age_seconds"] is None
    assert 0 <= leader.json("leader")["lease_age_seconds"] < LEASE
    assert wait_until(lambda: leader.json("leader")["standbys"] == ["beta"], 30, every=0.3)
    for scheduler, leads in ((leader, 1), (standby, 0)):
        metrics = subprocess_text(scheduler, "/metrics")
        assert f"schedulerd_leader {leads}.0" in metrics
        assert "schedulerd_epoch 1.0" in metrics


def subprocess_text(scheduler: Scheduler, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", scheduler.ports[0], timeout=30)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_a_write_that_cannot_be_sent_on_names_the_leader_and_exits_4(
    schedulers: Schedulers, seen: Path
) -> None:
    leader = schedulers.start(schedulers.make("alpha", table=WITNESSED.format(seen=seen), advertise=False))
    assert wait_until(leader.leads, 30)
    standby = schedulers.start(schedulers.make("beta"))
    said = standby.ctl("pause", "tick", code=4)
    assert "this schedulerd is a standby; the leader is alpha, epoch 1" in said
    assert "[api] advertise" in said
    said = standby.ctl("-H", f"unix:{standby.place}/api.sock", "pause", "tick", code=4)
    assert "the leader is alpha" in said
    assert leader.json("list")["items"][0]["state"] == "active"


def test_hand_overs_take_less_than_a_second_and_every_fire_time_runs_once(
    schedulers: Schedulers, seen: Path
) -> None:
    alpha, beta = pair(schedulers, seen)
    # a step-down: the answer comes when the other leads
    began = time.monotonic()
    said = alpha.ctl("leader", "--step-down")
    assert time.monotonic() - began < 1.0 + 0.5  # schedulerctl's own start
    assert "beta leads now, epoch 2" in said
    assert beta.leads()
    assert alpha.is_standby()
    assert fires_on(seen)
    # the table in the ledger is in force, not the job files of the new leader
    assert [job["name"] for job in beta.json("list")["items"]] == ["tick"]

    # SIGTERM of the leader
    beta.process.send(signal.SIGTERM)
    assert took_over(alpha, 20) < 1.0
    assert beta.process.wait() == 0
    assert fires_on(seen)
    (lost, stepped), (third, second, first) = events(alpha, "leader_lost"), events(alpha, "leader_gained")
    assert "stepped_down: asked by " in stepped["detail"]
    assert "beta led in epoch 2 until now: stopping" in lost["detail"]
    assert [event["epoch"] for event in (first, second, third)] == [1, 2, 3]
    assert "beta leads in epoch 2, after alpha" in second["detail"]
    take_account(alpha, seen)


def test_without_a_standby_a_leader_that_steps_down_leads_again_and_says_so(
    schedulers: Schedulers, seen: Path
) -> None:
    only = schedulers.start(schedulers.make("alpha", table=WITNESSED.format(seen=seen)))
    assert wait_until(only.leads, 30)
    said = only.ctl("leader", "--step-down", code=1)
    assert "no standby took over: the same scheduler leads again, alpha, epoch 2" in said
    assert only.leads()


def test_with_the_lock_of_a_directory_nobody_can_step_down(tmp_path: Path) -> None:
    with Fleet(tmp_path, None, "default") as fleet:
        fleet.table("")
        fleet.start_scheduler()
        fleet.ctl("leader", "--step-down", code=6)
        shown = fleet.json("leader")
        assert (shown["election"], shown["standbys"], shown["leader"]["epoch"]) == ("file", [], 1)


def test_a_stopped_leader_that_wakes_up_sends_nothing_and_writes_nothing(
    schedulers: Schedulers, seen: Path
) -> None:
    alpha, beta = pair(schedulers, seen)
    stop_between_commits(alpha, schedulers.ledger)
    assert took_over(beta, 30) <= 2 * TTL + LOCK_DELAY + 0.5
    assert fires_on(seen)
    before = len(lines(seen))
    alpha.process.send(signal.SIGCONT)
    assert wait_until(alpha.is_standby, 20)
    assert "leading no more  epoch=1 reason=lease" in alpha.log
    assert fires_on(seen, 3)
    epochs = [line.split()[1] for line in lines(seen)[before:]]
    assert set(epochs) == {"2"}, epochs
    take_account(beta, seen)
    with sqlite3.connect(f"file:{schedulers.ledger}?mode=ro", uri=True) as ledger:
        (since,) = ledger.execute("SELECT since FROM epochs WHERE epoch = 2").fetchone()
        late = "SELECT count(*) FROM {} WHERE epoch = 1 AND {} > ?"
        assert ledger.execute(late.format("attempts", "assigned_at"), (since,)).fetchone() == (0,)
        assert ledger.execute(late.format("events", "time"), (since,)).fetchone() == (0,)
    # what it could not record itself it records when it leads again
    beta.ctl("leader", "--step-down")
    assert any("alpha led in epoch 1" in event["detail"] for event in events(alpha, "leader_lost"))


def test_a_sqlite_ledger_with_a_leader_on_another_host_ends_the_start_with_one_sentence(
    schedulers: Schedulers, consul: ConsulAgent, cluster: str
) -> None:
    client = consul.client()
    session = client.create_session("another", ttl_seconds=60, lock_delay_seconds=1)
    other = card("alpha", host="another", boot="another", epoch=4)
    assert client.acquire_key(consul_names.leader_key(cluster), value_of(other), session)
    beta = schedulers.make("beta")
    done = subprocess.run(
        [PROGRAMS / "schedulerd", "--config", beta.place / "schedulerd.toml"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    client.destroy_session(session)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("schedulerd: ")]
    assert "a SQLite ledger serves one host" in said
    assert "alpha (alpha.example:7480)" in said
    assert "Traceback" not in done.stderr
    assert not schedulers.ledger.exists()
