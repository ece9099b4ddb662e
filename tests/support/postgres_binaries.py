"""Finds PostgreSQL's server programs for the tests, or fetches them. Standard library only; starts no server.

In this order: the machine's own (PATH, Debian's /usr/lib/postgresql, newest first); what an earlier run left in
.cache/postgresql; the machine's own Debian package, fetched with apt and without root. As a program it prints the
directory, or one line of what to do.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import apt_fetch
from support.programs import Missing, print_found, told_by

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "postgresql"
DEBIAN = Path("usr/lib/postgresql")
LEAST = 13
PROGRAMS = ("postgres", "initdb", "pg_ctl")
# Debian's release -> the version it carries
VERSIONS = {"bullseye": 13, "bookworm": 15, "trixie": 17, "jammy": 14, "noble": 16}


class NoPostgres(Missing):
    """There is no PostgreSQL server."""


def postgres_binaries() -> Path:
    """A directory with postgres, initdb and pg_ctl, 13 or newer. Raises NoPostgres."""
    for candidate in machines_own(Path("/"), shutil.which("initdb")):
        if is_new_enough(candidate):
            return candidate
    return cached_or_fetched(CACHE)


def cached_or_fetched(cache: Path) -> Path:
    """As `postgres_binaries`, without looking at what the machine has installed."""
    for candidate in machines_own(cache, None):
        if is_new_enough(candidate):
            return candidate
    tried = "what was fetched does not run here"
    _, codename = apt_fetch.system()
    if codename in VERSIONS:
        # the second way is longer: for a machine that lacks the libraries too
        for fetch in (apt_fetch.fetch, apt_fetch.fetch_with_libraries):
            try:
                fetch(f"postgresql-{VERSIONS[codename]}", cache)
            except apt_fetch.FetchError as error:
                tried = f"apt: {error}"
                break
            for candidate in machines_own(cache, None):
                if is_new_enough(candidate):
                    return candidate
    else:
        tried = f"apt: the package's name in {codename or 'this system'} is not known"
    raise NoPostgres(
        f"the tests need a PostgreSQL server, {LEAST} or newer: apt install postgresql, or put initdb and postgres on "
        f"PATH (tried {tried})"
    )


def machines_own(root: Path, on_path: str | None) -> Iterator[Path]:
    """Directories that may hold the programs: that of `on_path`, then Debian's below `root`, newest first."""
    if on_path is not None:
        yield Path(on_path).resolve().parent
    found = [path for path in (root / DEBIAN).glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(found, key=lambda path: int(path.parent.name), reverse=True)


def environment(directory: Path) -> dict[str, str]:
    """Our environment, with the libraries that were fetched beside the programs, if any were."""
    root = tree_of(directory)
    places = [] if root is None else [root / "usr" / "lib", root / "lib"]
    libraries = [path for place in places for path in sorted(place.glob("*-linux-gnu*"))]
    found = {"LD_LIBRARY_PATH": ":".join(map(str, libraries))} if libraries else {}
    return {**os.environ, **found}


def tree_of(directory: Path) -> Path | None:
    """Root of the tree that was unpacked, for programs that were fetched; None for the machine's own."""
    if directory.parent.parent.parts[-3:] != DEBIAN.parts or directory.is_relative_to("/usr"):
        return None
    return directory.parents[4]


def is_new_enough(directory: Path) -> bool:
    """Whether the programs are there, run, and are of a version that the ledger takes."""
    return all(_version(directory, program) >= LEAST for program in PROGRAMS)


def _version(directory: Path, program: str) -> int:
    """What a program says its version is; 0 when it does not run."""
    told = told_by([directory / program, "--version"], environment(directory))
    version = re.search(r"PostgreSQL\) (\d+)", told)
    return int(version[1]) if version else 0


if __name__ == "__main__":
    sys.exit(print_found(postgres_binaries))
