"""What the tests of several schedulers share, here and among the faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.consul_agent import ConsulAgent
from support.schedulers import Schedulers


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> str:
    """A name of the test's own in a Consul that others use too."""
    return f"s-{abs(hash(request.node.nodeid)) % 10**8}"


@pytest.fixture
def schedulers(tmp_path: Path, consul: ConsulAgent, cluster: str) -> Iterator[Schedulers]:
    """Schedulers to be made and started by the test, with one ledger."""
    with Schedulers(tmp_path, consul, cluster) as made:
        yield made


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """Where witnessed jobs write."""
    return tmp_path / "seen"
