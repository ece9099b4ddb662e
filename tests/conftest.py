"""What all tests share: a real Consul, and an environment that does not reach into them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.consul_agent import ConsulAgent
from support.consul_binary import NoConsul, consul_binary
from support.daemons import clean_environment

settings.register_profile(
    "house", deadline=None, print_blob=True
)  # shared cores: a slow example is no failure
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seeds N`: how many seeds the simulator plays; `make sim SEEDS=5000` asks for more.

    `--rewrite-golden`: what schedulerctl shows now becomes what it has to show.
    """
    parser.addoption("--seeds", type=int, default=200, help="how many seeds the simulator plays")
    parser.addoption("--rewrite-golden", action="store_true", help="take new output as the agreed one")
    parser.addoption("--long", action="store_true", help="also the tests marked long: minutes each")
    parser.addoption("--minutes", type=float, default=15.0, help="how long the mixed run of faults lasts")
    parser.addoption("--fault-seed", type=int, default=None, help="the seed that faults are drawn with")
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
