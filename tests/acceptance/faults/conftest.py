"""What fault tests need of the machine: root and iproute2, for network namespaces. Says so in one line where it lacks.

nft is not such a thing: it is fetched, as Consul is.
"""

import os
import shutil
import subprocess

import pytest
from acceptance.faults.kit.network import NEEDS_ROOT
from support.nft_binary import NoNft, nft_command


@pytest.fixture(autouse=True, scope="session")
def _has_namespaces() -> None:
    missing = [program for program in ("ip", "tc", "unshare") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{NEEDS_ROOT}; {' and '.join(missing)} (iproute2, util-linux) not found")
    allowed = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or allowed.returncode != 0:
        pytest.skip(NEEDS_ROOT)
    try:
        nft_command()
    except NoNft as error:
        pytest.fail(str(error), pytrace=False)
