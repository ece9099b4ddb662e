"""Two hosts that each lead by a lock of their own under one cluster name: they find the same worker, and say so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.schedulers import Scheduler, Schedulers, events
from support.waiting import wait_until

ONE_HOST = '[election]\nkind = "file"\n'
SAID = "another schedulerd leads the same workers: 4 leaderships ended by a newer epoch within "
TOLD = "another schedulerd leads in this epoch too"


@pytest.fixture
def schedulers(tmp_path: Path, consul: ConsulAgent, request: pytest.FixtureRequest) -> Iterator[Schedulers]:
    cluster = f"r-{abs(hash(request.node.nodeid)) % 10**8}"
    with Schedulers(tmp_path, consul, cluster, election=ONE_HOST) as made:
        made.start_worker()
        yield made


def test_two_leaders_that_no_election_keeps_apart_notice_each_other_by_their_worker_and_say_so_loudly(
    schedulers: Schedulers, tmp_path: Path
) -> None:
    alpha, beta = (
        schedulers.make(name, ledger=f"sqlite://{tmp_path}/{name}.db") for name in ("alpha", "beta")
    )
    schedulers.start(alpha)
    assert wait_until(lambda: "worker_joined" in alpha.log, 60)
    schedulers.start(beta, until="")
    assert wait_until(lambda: "rival_leader" in alpha.log, 60), alpha.log[-3000:]
    (event,) = events(alpha, "rival_leader")[-1:]
    assert (event["worker"], TOLD in event["detail"]) == ("w", True)
    # the second one, started again, is an epoch ahead: now each deposes the other
    beta.process.stop()
    schedulers.start(beta, until="")
    assert wait_until(lambda: SAID in alpha.log and SAID in beta.log, 120), beta.log[-3000:]
    for one in (alpha, beta):
        assert wait_until(lambda one=one: any(SAID in why for why in one.get("/readyz")["reasons"]), 30)
        assert wait_until(lambda one=one: said_by(one), 30)


def said_by(scheduler: Scheduler) -> bool:
    return any("stop one of the two" in event["detail"] for event in events(scheduler, "rival_leader"))
