"""Finds nft for the tests of faulty networks, or fetches it. Standard library only; changes no rule.

In this order: `nft` on PATH; what an earlier run left in .cache/nft; Debian's package and its libraries, fetched
with apt and unpacked there. Rules need root; finding the program does not.
"""

import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import apt_fetch
from support.programs import Missing, print_found, told_by

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "nft"
PACKAGES = (
    "nftables",
    "libnftables1",
    "libnftnl11",
    "libmnl0",
    "libxtables12",
    "libjansson4",
    "libedit2",
    "libbsd0",
    "libmd0",
    "libgmp10",
)


class NoNft(Missing):
    """There is no nft."""


def nft_command() -> list[str]:
    """How to call nft: a prefix of its arguments, its libraries found wherever it was unpacked. Raises NoNft."""
    on_path = shutil.which("nft")
    if on_path is not None and _runs([on_path]):
        return [on_path]
    unpacked = _unpacked()
    if unpacked is not None:
        return unpacked
    try:
        apt_fetch.fetch_several(PACKAGES, CACHE)
    except apt_fetch.FetchError as error:
        raise NoNft(
            f"the tests of faulty networks need nft: apt install nftables (tried apt: {error})"
        ) from error
    unpacked = _unpacked()
    if unpacked is None:
        raise NoNft(
            "the tests of faulty networks need nft: apt install nftables (the fetched one does not run here)"
        )
    return unpacked


def _unpacked() -> list[str] | None:
    program = next(iter(sorted(CACHE.glob("usr/sbin/nft"))), None)
    if program is None:
        return None
    libraries = sorted({str(path.parent) for path in CACHE.rglob("*.so.*")})
    command = [_env(), f"LD_LIBRARY_PATH={':'.join(libraries)}", str(program)]
    return command if _runs(command) else None


def _env() -> str:
    return shutil.which("env") or "/usr/bin/env"


def _runs(command: list[str]) -> bool:
    return "nftables" in told_by([*command, "--version"])


if __name__ == "__main__":
    sys.exit(print_found(lambda: " ".join(nft_command())))
