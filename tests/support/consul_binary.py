"""Finds a Consul for the tests, or fetches one. Standard library only; starts no agent.

In this order: `consul` on PATH; what an earlier run left in .cache/consul; Debian 11's package (Ubuntu: its
own) fetched with apt; the package file that $CONSUL_DEB names. As a program it prints the path, or one line
of what to do.
"""

import os
import re
import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import apt_fetch
from support.programs import Missing, print_found, told_by

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "consul"
LEAST = (1, 8)


class NoConsul(Missing):
    """There is no Consul."""


def consul_binary() -> Path:
    """An executable Consul, 1.8 or newer. Raises NoConsul."""
    on_path = shutil.which("consul")
    cached = CACHE / "usr" / "bin" / "consul"
    for candidate in (Path(on_path) if on_path else None, cached):
        if candidate and is_new_enough(candidate):
            return candidate
    tried = []
    distribution, _ = apt_fetch.system()
    try:
        # Debian 12 has no Consul; Debian 11's runs there unchanged. Ubuntu has it in universe.
        apt_fetch.fetch("consul", CACHE, None if distribution == "ubuntu" else "bullseye")
    except apt_fetch.FetchError as error:
        tried.append(f"apt: {error}")
    if is_new_enough(cached):
        return cached
    package = os.environ.get("CONSUL_DEB", "")
    if package:
        try:
            apt_fetch.unpack(Path(package).absolute(), CACHE)
        except apt_fetch.FetchError as error:
            tried.append(f"$CONSUL_DEB: {error}")
        if is_new_enough(cached):
            return cached
    raise NoConsul(
        "the tests need Consul 1.8 or newer: put `consul` on PATH, or set CONSUL_DEB to its Debian package "
        f"(tried {'; '.join(tried) or 'what was fetched, which does not run here'})"
    )


def is_new_enough(binary: Path) -> bool:
    """Whether `binary` runs and calls itself Consul 1.8 or newer."""
    version = re.search(r"Consul v(\d+)\.(\d+)", told_by([binary, "version"]))
    return version is not None and (int(version[1]), int(version[2])) >= LEAST


if __name__ == "__main__":
    sys.exit(print_found(consul_binary))
