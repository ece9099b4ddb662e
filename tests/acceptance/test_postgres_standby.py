"""Two schedulerd on one PostgreSQL ledger: a leader frozen in a transaction, one killed while the server restarts."""

import signal
from pathlib import Path

import pytest
from support.fleet import lines
from support.postgres_server import PASSWORD, PostgresServer
from support.schedulers import WITNESSED, Scheduler, Schedulers, fires_on, take_account
from support.waiting import wait_until

from schedulerd.adapters.ledger import invariants, whole


@pytest.fixture
def url(own_postgres: PostgresServer) -> str:
    return own_postgres.database()


@pytest.fixture
def schedulers(schedulers: Schedulers) -> Schedulers:
    """With a worker."""
    schedulers.start_worker()
    return schedulers


def pair(schedulers: Schedulers, url: str, seen: Path, failpoints: str = "") -> tuple[Scheduler, Scheduler]:
    """A leader with a job that witnesses every second, and its standby."""
    alpha = schedulers.make("alpha", table=WITNESSED.format(seen=seen), ledger=url)
    schedulers.start(alpha, failpoints=failpoints)
    assert wait_until(alpha.leads, 30)
    beta = schedulers.start(schedulers.make("beta", ledger=url))
    assert beta.is_standby()
    assert wait_until(lambda: len(lines(seen)) >= 1, 60)
    return alpha, beta


def check_ledger(url: str, *schedulers: Scheduler) -> None:
    with whole.reading(url) as ledger:
        assert list(invariants.violations(ledger)) == []
    assert not [scheduler.name for scheduler in schedulers if PASSWORD in scheduler.log]


def test_a_leader_frozen_inside_a_transaction_holds_up_nobody_and_writes_nothing_more(
    schedulers: Schedulers, own_postgres: PostgresServer, url: str, seen: Path
) -> None:
    # so late that the standby is there; the epoch row is locked when the process stops
    alpha, beta = pair(schedulers, url, seen, "ledger.before_commit=stop@60")
    assert wait_until(beta.leads, 120), beta.log[-3000:]
    assert "failpoint ledger.before_commit: stop at hit 60" in alpha.log
    assert fires_on(seen)
    before = len(lines(seen))
    alpha.process.send(signal.SIGCONT)
    assert wait_until(alpha.is_standby, 30), alpha.log[-3000:]
    assert fires_on(seen, 3)
    assert {line.split()[1] for line in lines(seen)[before:]} == {"2"}
    take_account(beta, seen)
    ((since,),) = own_postgres.sql("SELECT since FROM epochs WHERE epoch = 2", url)
    for table, column in (("attempts", "assigned_at"), ("runs", "created_at")):
        late = own_postgres.sql(f"SELECT count(*) FROM {table} WHERE epoch = 1 AND {column} > {since}", url)
        assert late == [(0,)]
    check_ledger(url, alpha, beta)


def test_a_leader_killed_while_the_server_restarts_is_succeeded_and_nothing_is_lost_or_doubled(
    schedulers: Schedulers, own_postgres: PostgresServer, url: str, seen: Path
) -> None:
    alpha, beta = pair(schedulers, url, seen)
    own_postgres.stop(signal.SIGQUIT)
    alpha.process.kill()
    own_postgres.start()
    assert wait_until(beta.leads, 60), beta.log[-3000:]
    assert fires_on(seen)
    schedulers.start(alpha)
    assert alpha.is_standby()
    take_account(alpha, seen)
    check_ledger(url, alpha, beta)
