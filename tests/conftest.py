"""What all tests share: a real Consul, a real PostgreSQL, and an environment that does not reach into them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.consul_agent import ConsulAgent
from support.consul_binary import NoConsul, consul_binary
from support.daemons import clean_environment
from support.postgres_binaries import NoPostgres, postgres_binaries
from support.postgres_server import PostgresServer

settings.register_profile(
    "house", deadline=None, print_blob=True
)  # shared cores: a slow example is no failure
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seeds N`: how many seeds the simulator plays; `make sim` asks for more.

    `--frames N`: how many bent frames the fuzzers send or read; `make fuzz FRAMES=1000000` asks for more.

    `--rewrite-golden`: what schedulerctl shows now becomes what it has to show.
    """
    parser.addoption("--seeds", type=int, default=2000, help="how many seeds the simulator plays")
    parser.addoption("--frames", type=int, default=20_000, help="how many bent frames the fuzzers make")
    parser.addoption("--rewrite-golden", action="store_true", help="take new output as the agreed one")
    parser.addoption("--long", action="store_true", help="also the tests marked long: minutes each")
    parser.addoption("--minutes", type=float, default=15.0, help="how long the mixed run of faults lasts")
    parser.addoption("--fault-seed", type=int, default=None, help="the seed that faults are drawn with")
    parser.addoption("--every-shape", action="store_true", help="each fault in each shape of cluster: hours")
    parser.addoption("--replay", default=None, help="a log of faults (faults.jsonl) to play again")


def pytest_configure(config: pytest.Config) -> None:
    """The one marker of the house."""
    config.addinivalue_line("markers", "long: takes minutes; left out unless --long is given")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --long the tests marked so are left out; with it everything is there."""
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("long") is None]


@pytest.fixture(autouse=True, scope="session")
def _own_environment() -> Iterator[None]:
    """No setting, address or notify socket of the caller's shell reaches a test."""
    kept = clean_environment()
    before = dict(os.environ)
    for name in before.keys() - kept.keys() - {"CONSUL_DEB"}:
        del os.environ[name]
    yield
    os.environ.update(before)


@pytest.fixture(scope="session")
def frames(request: pytest.FixtureRequest) -> int:
    """How many bent frames a fuzzer makes."""
    return int(request.config.getoption("--frames"))


@pytest.fixture(scope="session")
def consul_program() -> Path:
    """The Consul to run; without one the tests fail with the line that says how to get it."""
    try:
        return consul_binary()
    except NoConsul as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def consul(consul_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulAgent]:
    """One agent for all tests that only read and write under names of their own."""
    with ConsulAgent(consul_program, tmp_path_factory.mktemp("consul")) as agent:
        yield agent


@pytest.fixture
def own_consul(consul_program: Path, tmp_path: Path) -> Iterator[ConsulAgent]:
    """An agent of the test's own, which it may stop and start."""
    with ConsulAgent(consul_program, tmp_path) as agent:
        yield agent


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """Where PostgreSQL's server is; without one the tests fail with the line that says how to get it."""
    try:
        return postgres_binaries()
    except NoPostgres as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def postgres(postgres_programs: Path) -> Iterator[PostgresServer]:
    """One server for all tests that leave it running; each takes a database of its own."""
    with PostgresServer(postgres_programs) as server:
        yield server


@pytest.fixture
def own_postgres(postgres_programs: Path) -> Iterator[PostgresServer]:
    """A server of the test's own, which it may stop and start."""
    with PostgresServer(postgres_programs) as server:
        yield server
