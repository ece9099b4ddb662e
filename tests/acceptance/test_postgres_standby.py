"""Two schedulerd and PostgreSQL: a leader or the server frozen, one killed while the server restarts, two ledgers."""

import signal
import time
from pathlib import Path

import pytest
from support.fleet import lines
from support.postgres_server import PASSWORD, PostgresServer
from support.schedulers import WITNESSED, Scheduler, Schedulers, fires_on, take_account
from support.waiting import wait_until

from schedulerd.adapters.ledger import invariants, whole
from schedulerd.adapters.ledger.postgres_server import CONNECT
from schedulerd.hostkit.ledger import ANSWER


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


@pytest.mark.parametrize("what", ["server", "backend"])
def test_a_server_that_stands_still_with_its_connections_open_is_given_up_and_service_goes_on_afterwards(
    schedulers: Schedulers, own_postgres: PostgresServer, url: str, seen: Path, what: str
) -> None:
    alpha, beta = pair(schedulers, url, seen)
    ((backend,),) = own_postgres.sql("SELECT backend FROM leadership", url)
    own_postgres.freeze(*([backend] if what == "backend" else []))
    began = time.monotonic()
    assert wait_until(lambda: "leading no more  epoch=1 reason=ledger" in alpha.log, 60), alpha.log[-3000:]
    assert time.monotonic() - began < ANSWER + 1 + CONNECT + 10  # a look every second, a busy machine
    said = [line for line in alpha.log.splitlines() if "the ledger failed: " in line]
    assert "the server has not answered for 11 s; the connection is given up" in said[0]
    assert "Traceback" not in alpha.log
    if what == "server":
        # whoever is elected can do nothing with it, and says so
        assert wait_until(lambda: "cannot be connected to: connection timeout expired" in beta.log, 60)
        assert not alpha.leads()
        assert not beta.leads()
    own_postgres.thaw()
    assert wait_until(lambda: alpha.leads() or beta.leads(), 90), beta.log[-3000:]
    assert fires_on(seen, 3)
    take_account(alpha if alpha.leads() else beta, seen)
    assert (alpha.process.process.poll(), beta.process.process.poll()) == (None, None)
    check_ledger(url, alpha, beta)


def test_a_scheduler_with_another_ledger_than_its_leader_is_refused_with_one_sentence(
    schedulers: Schedulers, own_postgres: PostgresServer, url: str, seen: Path
) -> None:
    alpha = schedulers.make("alpha", table=WITNESSED.format(seen=seen), ledger=url)
    schedulers.start(alpha)
    assert wait_until(alpha.leads, 30)
    ((own,),) = own_postgres.sql("SELECT ledger FROM leadership", url)
    beta = schedulers.make("beta", ledger=own_postgres.database())
    ends_refused(schedulers, beta, own)
    # nor does it lead when nobody does: the key says whose ledger the cluster keeps
    alpha.process.kill()
    ends_refused(schedulers, beta, own)
    schedulers.start(alpha)
    assert wait_until(alpha.leads, 60)
    assert fires_on(seen)
    take_account(alpha, seen)


def ends_refused(schedulers: Schedulers, scheduler: Scheduler, ledger: str) -> None:
    scheduler.place.joinpath("log").unlink(missing_ok=True)
    schedulers.start(scheduler, until="")
    assert scheduler.process.wait(90) == 1
    (said,) = [line for line in scheduler.log.splitlines() if line.startswith("schedulerd: ")]
    assert f" keeps the ledger {ledger} (epoch 1 is that of alpha (127.0.0.1:" in said
    assert "and this is one by which nobody has led yet: all schedulers of a cluster share one ledger" in said
    assert "Traceback" not in scheduler.log
    assert PASSWORD not in scheduler.log
