"""Who follows whom: a new leader records how the one before it ended, and that both keep one ledger. Real Consul."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.elections import TERMS, card, cluster_of, consul_election
from support.waiting import wait_until

from schedulerd.adapters.election_consul import ConsulElection
from schedulerd.daemon.succession import Succession
from schedulerd.hostkit.clock import utc_now
from schedulerd.model.run import Former
from schedulerd.protocol import consul_names
from schedulerd.protocol.leader_card import card_in, value_of

Make = Callable[..., ConsulElection]
HERE, THERE = "1" * 36, "2" * 36  # ids of ledgers


@pytest.fixture
def make(consul: ConsulAgent, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[ConsulElection] = []

    def one(name: str, stuck: Callable[[], str] = str) -> ConsulElection:
        made.append(consul_election(consul, request, tmp_path, name, stuck=stuck))
        made[-1].start(lambda: None)
        return made[-1]

    yield one
    for election in made:
        election.stop()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return consul_names.leader_key(cluster_of(request))


def leads(election: ConsulElection) -> bool:
    return election.lease is not None and election.lease.holds()


def wait_leads(election: ConsulElection) -> None:
    assert wait_until(lambda: leads(election), 30), election.trouble


def of(name: str, epoch: int, farewell: str = "") -> Former:
    return Former(epoch=epoch, leader=card(name).id, name=name, farewell=farewell)


def gives_up(first: ConsulElection, told: Succession) -> None:
    told.end("ledger", "the ledger failed", 12)
    first.give_up("the ledger failed", 30.0)


def stops(first: ConsulElection, told: Succession) -> None:
    told.end("stopping", "schedulerd is stopping", 12)
    first.stop()


@pytest.mark.parametrize(
    ("end", "how", "words"),
    [
        (gives_up, "lost", "it gave the lead up (ledger: the ledger failed)"),
        (stops, "handed_over", "handed over (stopping: schedulerd is stopping)"),
    ],
)
def test_who_follows_records_whom_and_how_that_one_ended(
    make: Make, end: Callable[[ConsulElection, Succession], None], how: str, words: str
) -> None:
    first = make("alpha")
    wait_leads(first)
    told = Succession(first, card("alpha"), lambda reason: None)
    told.begin(12, utc_now(), None, HERE)
    second = make("beta")
    assert wait_until(lambda: second.leader is not None and second.leader.epoch == 12, 20)
    assert second.leader is not None
    assert second.leader.ledger_id == HERE
    end(first, told)
    wait_leads(second)
    followed: list[str] = []
    telling = Succession(second, card("beta"), lambda reason: None, followed.append)
    (event,) = telling.begin(13, utc_now(), of("alpha", 12), HERE)
    assert event.detail == f"beta leads in epoch 13, after alpha (alpha.example:7480) in epoch 12: {words}"
    assert followed == []
    telling.recorded()
    assert followed == [how]


def test_who_follows_one_that_was_killed_says_that_its_lease_ran_out(
    consul: ConsulAgent, make: Make, key: str
) -> None:
    client = consul.client()
    session = client.create_session("of alpha", ttl_seconds=60, lock_delay_seconds=0.1)
    assert client.acquire_key(key, value_of(card("alpha", epoch=12, ledger_id=HERE)), session)
    second = make("beta")
    assert wait_until(lambda: second.leader is not None, 20)
    client.destroy_session(session)
    wait_leads(second)
    followed: list[str] = []
    telling = Succession(second, card("beta"), lambda reason: None, followed.append)

    def told(epoch: int, former: Former) -> str:
        (event,) = telling.begin(epoch, utc_now(), former, HERE)
        telling.recorded()
        return event.detail

    assert told(13, of("alpha", 12)).endswith("epoch 12: its lease ran out without a word of it")
    # another one led since, of which the key knows nothing: the ledger alone tells
    said = told(15, of("gamma", 14, "stepped_down: asked by ann"))
    assert said == "beta leads in epoch 15, after gamma in epoch 14: handed over (stepped_down: asked by ann)"
    assert told(17, of("gamma", 16)).endswith("after gamma in epoch 16: it ended without a word")
    assert told(19, of("beta", 18)).endswith("it ended without a word, and is this scheduler itself")
    assert followed == ["expired", "handed_over", "lost", "restarted"]


def test_which_ledger_the_cluster_keeps_outlives_one_that_was_elected_and_never_began(
    consul: ConsulAgent, make: Make, key: str
) -> None:
    client = consul.client()
    session = client.create_session("of alpha", ttl_seconds=60, lock_delay_seconds=0.1)
    told = card("alpha", epoch=12, ledger_id=HERE)
    assert client.acquire_key(key, value_of(told), session)
    client.destroy_session(session)
    second = make("beta")
    wait_leads(second)
    assert second.before == told
    _, entry = client.read_key(key)
    assert entry is not None
    assert card_in(entry.value) == card("beta", ledger_id=HERE)
    # its own ledger turns out to be another one: the key says what it said before
    second.refuse(THERE, told)
    assert second.fault == (
        f'[ledger] url: cluster "{key.split("/")[1]}" keeps the ledger {HERE} (epoch 12 is that of alpha '
        f"(alpha.example:7480)), and this is {THERE}: all schedulers of a cluster share one ledger; if the cluster "
        f"has moved to this one for good, delete the key {key} in Consul; this schedulerd takes no part"
    )
    assert not leads(second)

    def is_as_before() -> bool:
        _, entry = client.read_key(key)
        return entry is not None and not entry.session and card_in(entry.value) == told

    assert wait_until(is_as_before, 20)


def test_a_leader_that_does_nothing_gives_the_lead_up_and_does_not_stand_until_it_gets_on(make: Make) -> None:
    stuck: list[str] = []
    first = make("alpha", lambda: stuck[0] if stuck else "")
    wait_leads(first)
    lease = first.lease
    assert lease is not None
    stuck.append("the loop has not finished a round for 17 s, it is stuck")
    second = make("beta")
    wait_leads(second)
    assert lease.lost == stuck[0]
    assert second.before is not None
    assert second.before.ended == f"stuck: {stuck[0]}"
    second.stop()
    assert not wait_until(lambda: leads(first), 3 * TERMS.lock_delay)
    stuck.clear()
    wait_leads(first)
