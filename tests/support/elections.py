"""Elections by a real Consul with terms that a test can wait for."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.consul_agent import ConsulAgent

from schedulerd.adapters.election_consul import ConsulElection
from schedulerd.hostkit import clock
from schedulerd.hostkit.consul_client import ConsulClient
from schedulerd.hostkit.host import host_id
from schedulerd.protocol.leader_card import LeaderCard
from schedulerd.protocol.timing import ElectionTerms

TERMS = ElectionTerms(ttl=1.5, renew=0.3, lease=1.0, lock_delay=1.0)
LEDGER = "sqlite:///srv/ledger.db"


def card(name: str, **changes: Any) -> LeaderCard:
    """What the scheduler of this name says of itself, on this host."""
    facts: dict[str, Any] = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name,
        "advertise": f"{name}.example:7480",
        "host": host_id(),
        "boot": clock.boot_id(),
        "ledger": LEDGER,
    }
    return LeaderCard(**(facts | changes))


def cluster_of(request: pytest.FixtureRequest) -> str:
    """A cluster's name that no other test uses."""
    return f"e{abs(hash(request.node.nodeid)) % 10**8}"


def consul_election(
    consul: ConsulAgent,
    request: pytest.FixtureRequest,
    place: Path,
    name: str,
    *,
    terms: ElectionTerms = TERMS,
    own: LeaderCard | None = None,
    stuck: Callable[[], str] = str,
) -> ConsulElection:
    """One that is not started, with a state directory of its own below `place`."""
    directory = place / name
    directory.mkdir(exist_ok=True)
    return ConsulElection(
        lambda seconds: ConsulClient(consul.address, timeout_seconds=seconds),
        cluster_of(request),
        own or card(name),
        terms,
        directory,
        stuck=stuck,
    )
