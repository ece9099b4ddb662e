"""What fault tests need of the machine: root, for network namespaces. Says so in one line where it is not there."""

import os

import pytest
from acceptance.faults.kit.network import NEEDS_ROOT


@pytest.fixture(autouse=True, scope="session")
def _is_root() -> None:
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
