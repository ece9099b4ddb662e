"""One suite for both discoveries, and what only the one with Consul can show."""

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from support.consul_agent import ConsulAgent

from schedulerd.adapters.discovery import Discovery, FoundWorker
from schedulerd.adapters.discovery_consul import ConsulDiscovery
from schedulerd.adapters.discovery_static import StaticDiscovery
from schedulerd.hostkit.clock import boot_seconds
from schedulerd.hostkit.consul_client import ConsulClient, Registration
from schedulerd.protocol import consul_names

SECONDS = 30.0


class Heard:
    """What a discovery said, in order, and the means to wait for it."""

    def __init__(self) -> None:
        self.workers: queue.Queue[tuple[FoundWorker, ...]] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()

    def start(self, discovery: Discovery) -> None:
        discovery.start(self.workers.put, self.errors.put)

    def next(self) -> tuple[FoundWorker, ...]:
        return self.workers.get(timeout=SECONDS)

    def until(self, claim: Callable[[tuple[FoundWorker, ...]], bool]) -> tuple[FoundWorker, ...]:
        while not claim(workers := self.next()):
            pass
        return workers


def registration(cluster: str, number: int, **changes: Any) -> Registration:
    worker_id = f"{cluster}-{number}"
    service_id = consul_names.worker_service_id(worker_id)
    meta = consul_names.worker_meta(
        worker_id=worker_id,
        name=f"web-{number:02d}",
        endpoint=f"127.0.0.1:{7000 + number}",
        slots=changes.pop("slots", 4),
        labels=changes.pop("labels", ["role=web", "ünïcode=ja"]),
        version="0.1.0",
    )
    return Registration(
        service=consul_names.worker_service(cluster),
        service_id=service_id,
        check_id=consul_names.ttl_check_id(service_id),
        address="127.0.0.1",
        port=7000 + number,
        meta=meta,
        **changes,
    )


def register(client: ConsulClient, cluster: str, number: int, **changes: Any) -> Registration:
    service = registration(cluster, number, **changes)
    client.register(service)
    client.check_pass(service.check_id)
    return service


@pytest.fixture
def cluster(request: pytest.FixtureRequest, consul: ConsulAgent) -> Iterator[str]:
    """A cluster name nobody else uses; what it registered is taken away afterwards."""
    name = f"c{abs(hash(request.node.name)) % 10**8}"
    yield name
    client = consul.client()
    for entry in client.services(consul_names.worker_service(name))[1]:
        client.deregister(entry.service_id)


@pytest.fixture(params=["static", "consul"])
def find(request: pytest.FixtureRequest) -> Iterator[Callable[[Sequence[int]], Discovery]]:
    """Makes a discovery that finds workers with these numbers; stopped afterwards."""
    made: list[Discovery] = []

    def make(numbers: Sequence[int]) -> Discovery:
        if request.param == "static":
            made.append(StaticDiscovery([f"127.0.0.1:{7000 + number}" for number in numbers]))
        else:
            agent, cluster = request.getfixturevalue("consul"), request.getfixturevalue("cluster")
            for number in numbers:
                register(agent.client(), cluster, number)
            made.append(ConsulDiscovery(agent.client, cluster))
        return made[-1]

    yield make
    for discovery in made:
        discovery.stop()


@pytest.mark.parametrize("numbers", [[], [1], [1, 2, 3]])
def test_everybody_there_is_is_said_at_once(
    find: Callable[[Sequence[int]], Discovery], numbers: list[int]
) -> None:
    heard = Heard()
    heard.start(find(numbers))
    found = heard.next()
    assert [worker.address for worker in found] == [f"127.0.0.1:{7000 + number}" for number in numbers]
    assert all(worker.is_passing for worker in found)
    assert heard.errors.empty()


def test_after_stop_nothing_is_said_and_stopping_twice_is_fine(
    find: Callable[[Sequence[int]], Discovery],
) -> None:
    heard = Heard()
    discovery = find([1])
    heard.start(discovery)
    heard.next()
    began = boot_seconds()
    discovery.stop()
    discovery.stop()
    assert boot_seconds() - began < 5  # and not the minute that a blocking query may take
    assert heard.workers.empty()
    assert heard.errors.empty()


def test_a_stop_before_the_start_is_fine(find: Callable[[Sequence[int]], Discovery]) -> None:
    find([]).stop()


def test_static_names_an_address_once_and_leaves_the_rest_to_the_inventory() -> None:
    heard = Heard()
    heard.start(StaticDiscovery(["b:1", "a:2", "b:1"]))
    assert heard.next() == (FoundWorker(address="b:1"), FoundWorker(address="a:2"))


def test_consul_tells_id_name_slots_and_labels(consul: ConsulAgent, cluster: str) -> None:
    register(consul.client(), cluster, 1, slots=9)
    heard = Heard()
    discovery = ConsulDiscovery(consul.client, cluster)
    heard.start(discovery)
    try:
        assert heard.next() == (
            FoundWorker(
                id=f"{cluster}-1",
                name="web-01",
                address="127.0.0.1:7001",
                slots=9,
                labels=("role=web", "ünïcode=ja"),
                is_passing=True,
            ),
        )
    finally:
        discovery.stop()


def test_consul_brings_in_a_worker_that_starts_and_takes_out_one_that_leaves(
    consul: ConsulAgent, cluster: str
) -> None:
    client, heard = consul.client(), Heard()
    discovery = ConsulDiscovery(consul.client, cluster)
    heard.start(discovery)
    try:
        assert heard.next() == ()
        first = register(client, cluster, 1)
        heard.until(lambda found: [worker.is_passing for worker in found] == [True])
        register(client, cluster, 2)
        heard.until(lambda found: [worker.is_passing for worker in found] == [True, True])
        client.deregister(first.service_id)
        assert [worker.name for worker in heard.until(lambda found: len(found) == 1)] == ["web-02"]
    finally:
        discovery.stop()


def test_consul_keeps_a_worker_whose_check_lapsed_as_not_passing(consul: ConsulAgent, cluster: str) -> None:
    client, heard = consul.client(), Heard()
    discovery = ConsulDiscovery(consul.client, cluster)
    heard.start(discovery)
    try:
        service = register(client, cluster, 1, ttl_seconds=1)
        heard.until(lambda found: [worker.is_passing for worker in found] == [True])
        heard.until(lambda found: [worker.is_passing for worker in found] == [False])
        client.check_pass(service.check_id)
        heard.until(lambda found: [worker.is_passing for worker in found] == [True])
    finally:
        discovery.stop()


def test_consul_says_nothing_when_nothing_changed(consul: ConsulAgent, cluster: str) -> None:
    client, heard = consul.client(), Heard()
    register(client, cluster, 1)
    discovery = ConsulDiscovery(consul.client, cluster, wait_seconds=1)
    heard.start(discovery)
    try:
        heard.next()
        # a change of the raft index that is none of ours, and a few rounds of the query
        other = register(client, f"{cluster}x", 1)
        client.check_pass(registration(cluster, 1).check_id, note="still here")
        began = boot_seconds()
        with pytest.raises(queue.Empty):
            heard.workers.get(timeout=4)
        assert boot_seconds() - began >= 4
        assert heard.errors.empty()
        client.deregister(other.service_id)
    finally:
        discovery.stop()


def test_consul_away_and_back_without_its_memory(own_consul: ConsulAgent) -> None:
    heard = Heard()
    register(own_consul.client(), "lost", 1)
    discovery = ConsulDiscovery(own_consul.client, "lost", jitter=lambda: 0.0)
    heard.start(discovery)
    try:
        assert len(heard.next()) == 1
        own_consul.stop()
        text = heard.errors.get(timeout=SECONDS)
        assert text.startswith(f"Consul at {own_consul.address} did not list service lost-workerd: ")
        assert heard.workers.empty()  # an outage takes nobody out of the list
        own_consul.start()
        assert heard.next() == ()
        register(own_consul.client(), "lost", 2)
        assert [worker.name for worker in heard.until(lambda found: len(found) == 1)] == ["web-02"]
    finally:
        discovery.stop()


def test_consul_that_is_not_there_at_start_is_said_and_tried_again(
    consul_program: Any, tmp_path: Any
) -> None:
    agent, heard = ConsulAgent(consul_program, tmp_path), Heard()
    discovery = ConsulDiscovery(agent.client, "default", jitter=lambda: 0.0)
    heard.start(discovery)
    try:
        heard.errors.get(timeout=SECONDS)
        assert "Connection refused" in heard.errors.get(timeout=SECONDS)
        with agent:
            assert heard.next() == ()
            discovery.stop()
    finally:
        discovery.stop()
