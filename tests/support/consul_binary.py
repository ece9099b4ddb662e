"""Finds a Consul for the tests, or fetches one. Standard library only; starts no agent.

In this order: `consul` on PATH; what an earlier run left in .cache/consul; Debian 11's package (Ubuntu: its
own) fetched with apt; the package file that $CONSUL_DEB names. As a program it prints the path, or one line
of what to do.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import apt_fetch

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "consul"
LEAST = (1, 8)


class NoConsul(Exception):
    """There is no Consul and none could be had; the text is one line that says how to install one."""


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
    try:
        done = subprocess.run(
            [binary, "version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.search(r"Consul v(\d+)\.(\d+)", done.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= LEAST


def main() -> int:
    """Print where Consul is; exit 1 with one line when there is none."""
    try:
        print(consul_binary())
    except NoConsul as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
