"""A leader whose loop stands still while its other threads go on gives the lead up; when it goes on it does nothing."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.fleet import lines
from support.schedulers import USUAL, WITNESSED, Schedulers, events, fires_on, take_account
from support.waiting import wait_until

STUCK = 5.0  # seconds
LONG = '[job.long]\nschedule = "0 0 1 1 *"\ncommand = "sleep 25"\n'


@pytest.fixture
def schedulers(tmp_path: Path, consul: ConsulAgent, request: pytest.FixtureRequest) -> Iterator[Schedulers]:
    cluster = f"k-{abs(hash(request.node.nodeid)) % 10**8}"
    with Schedulers(tmp_path, consul, cluster, election=f"{USUAL}stuck_seconds = {STUCK:g}\n") as made:
        made.start_worker()
        yield made


def test_a_leader_whose_loop_is_stuck_is_followed_and_writes_and_sends_nothing_when_it_goes_on(
    schedulers: Schedulers, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    alpha = schedulers.make("alpha", table=WITNESSED.format(seen=seen) + LONG)
    schedulers.start(alpha, failpoints="fire.before_commit=sleep:15000@15")
    assert wait_until(alpha.leads, 30)
    beta = schedulers.start(schedulers.make("beta"))
    long = alpha.json("trigger", "long")["run_id"]
    assert wait_until(beta.leads, 60), beta.log[-3000:]
    assert "failpoint fire.before_commit: sleep:15000 at hit 15" in alpha.log
    assert "the lead is given up: the loop has not finished a round for " in alpha.log
    assert "leading no more" not in alpha.log  # it still stands there
    assert not alpha.leads()
    assert "beta" in alpha.ctl("leader")
    before = len(lines(seen))
    assert fires_on(seen)
    assert wait_until(alpha.is_standby, 60), alpha.log[-3000:]
    assert "leading no more  epoch=1" in alpha.log
    assert fires_on(seen, 3)
    assert {line.split()[1] for line in lines(seen)[before:]} == {"2"}
    (gained, _) = events(beta, "leader_gained")
    after = f"beta leads in epoch 2, after alpha (127.0.0.1:{alpha.ports[0]}) in epoch 1: it gave the lead up (stuck:"
    assert gained["detail"].startswith(after)
    assert f"takeover: {after}" in beta.ctl("why", long)
    metrics = beta.metrics()
    assert 'schedulerd_leaderships_followed_total{how="lost"} 1.0' in metrics
    take_account(beta, seen)
    with sqlite3.connect(f"file:{schedulers.ledger}?mode=ro", uri=True) as ledger:
        (since,) = ledger.execute("SELECT since FROM epochs WHERE epoch = 2").fetchone()
        for table, column in (("attempts", "assigned_at"), ("runs", "created_at"), ("events", "time")):
            late = f"SELECT count(*) FROM {table} WHERE epoch = 1 AND {column} > ?"
            assert ledger.execute(late, (since,)).fetchone() == (0,), table
