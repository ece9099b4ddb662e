"""Fetches one package with apt, from the machine's own sources, without touching the system and without root.

Standard library only: the Makefile runs it before there is a virtual environment. Everything apt writes goes
into a temporary directory; mirror addresses are read from the machine's sources and are written nowhere else.

    python3 apt_fetch.py PACKAGE DIRECTORY [SUITE]    unpacks PACKAGE into DIRECTORY, of another suite if one
    is named
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ALIASES = ("stable", "oldstable", "testing", "unstable", "sid")
STEP_SECONDS = 180
# of the machine that runs us; LLVM is for compiled expressions, which work without
RUNTIME = re.compile(r"libc6|libcrypt1|libgcc|libstdc|libllvm|libc-bin")


class FetchError(Exception):
    """The package could not be had; the text is one line that says at which step."""


def system() -> tuple[str, str]:
    """(distribution, code name), such as ("debian", "bookworm"); empty where the system does not say."""
    path = Path("/etc/os-release")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_CODENAME", "")


def archive_uris(directory: Path = SOURCES, codename: str | None = None) -> list[str]:
    """Where this machine gets its own release's `main` from, each once, in the order of its sources."""
    suites = {codename if codename is not None else system()[1], *ALIASES}
    found: list[str] = []
    for path in _source_files(directory):
        text = path.read_text(encoding="utf-8", errors="replace")
        entries = _deb822(text) if path.suffix == ".sources" else _one_line(text)
        for uris, named, components in entries:
            if suites & set(named) and "main" in components:
                found += [uri for uri in uris if not uri.startswith("cdrom:")]
    return list(dict.fromkeys(found))


def fetch(package: str, target: Path, suite: str | None = None) -> None:
    """Unpack `package`, of another `suite` if one is named, into `target`. Raises FetchError."""
    fetch_several([package], target, suite)


def fetch_several(names: Sequence[str], target: Path, suite: str | None = None) -> None:
    """Unpack these packages, of another `suite` if one is named, all into `target`. Raises FetchError.

    What they need beyond each other has to be there already: nothing is looked up.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise FetchError(f"{tool} is not installed")
    with tempfile.TemporaryDirectory(prefix="apt-") as name:
        work = Path(name)
        options = _options(work)
        if suite is not None:
            options += _other_suite(work, suite)
        _run("update", ["apt-get", "-q", *options, "update"], work)
        _run("download", ["apt-get", "-q", *options, "download", *names], work)
        packages = sorted(work.glob("*.deb"))
        if len(packages) < len(names):
            raise FetchError(f"apt-get download {' '.join(names)} left {len(packages)} packages")
        unpack_several(packages, target)


def fetch_with_libraries(package: str, target: Path) -> None:
    """Unpack `package` and the libraries that it needs into one tree; those of the C runtime stay the machine's.

    For programs on a machine that lacks what they are linked with; raises FetchError.
    """
    with tempfile.TemporaryDirectory(prefix="apt-") as name:
        work = Path(name)
        options = _options(work)
        _run("update", ["apt-get", "-q", *options, "update"], work)
        direct = _dependencies([package], options, is_deep=False)
        needed = _dependencies(direct, options, is_deep=True) if direct else []
        _run("download", ["apt-get", "-q", *options, "download", package, *direct, *needed], work)
        unpack_several(sorted(work.glob("*.deb")), target)


def _dependencies(packages: list[str], options: list[str], *, is_deep: bool) -> list[str]:
    """Names of library packages that these need, without the C runtime's."""
    command = [
        "apt-cache",
        *options,
        "depends",
        "--important",
        *(["--recurse"] if is_deep else []),
        *packages,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"depends: {error}") from error
    names = re.findall(r"^ *Depends: (lib[\w.+-]+)$", done.stdout, re.MULTILINE)
    return [name for name in dict.fromkeys(names) if not RUNTIME.match(name) and name not in packages]


def unpack(package: Path, target: Path) -> None:
    """Unpack a package file into `target`, whole or not at all. Raises FetchError."""
    unpack_several([package], target)


def unpack_several(packages: Sequence[Path], target: Path) -> None:
    """Unpack package files into `target` together, whole or not at all. Raises FetchError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=target.parent) as name:
        whole = Path(name) / "whole"
        for package in packages:
            _run("unpack", ["dpkg", "-x", str(package), str(whole)], target.parent)
        shutil.rmtree(target, ignore_errors=True)
        whole.rename(target)


def _options(work: Path) -> list[str]:
    """apt options that keep every file it writes inside `work`, for root and for an ordinary user alike."""
    for part in ("lists/partial", "cache/archives/partial"):
        (work / part).mkdir(parents=True)
    hooks = work / "hooks.conf"  # of the machine: they may want to write to the system
    hooks.write_text("#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n")
    settings = {
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",  # the unprivileged user could not enter `work`
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
        "APT::Update::Error-Mode": "any",  # a mirror that fails must not look like an empty one
    }
    return ["-c", str(hooks), *(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))]


def _other_suite(work: Path, suite: str) -> list[str]:
    uris = archive_uris()
    if not uris:
        raise FetchError(f"no source of this machine's own release found under {SOURCES}")
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    listed = work / "other.list"
    listed.write_text("".join(f"deb {signed}{uri} {suite} main\n" for uri in uris))
    return ["-o", f"Dir::Etc::sourcelist={listed}", "-o", "Dir::Etc::sourceparts=-"]


def _source_files(directory: Path) -> list[Path]:
    parts = directory / "sources.list.d"
    beside = sorted(path for path in parts.glob("*") if path.suffix in (".list", ".sources"))
    return [path for path in (directory / "sources.list", *beside) if path.is_file()]


def _one_line(text: str) -> list[tuple[list[str], list[str], list[str]]]:
    """(uris, suites, components) of each `deb [options] URI SUITE COMPONENT...` line."""
    entries = []
    for line in text.splitlines():
        words = re.sub(r"\[[^\]]*\]", " ", line.partition("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb":
            entries.append(([words[1]], [words[2]], words[3:]))
    return entries


def _deb822(text: str) -> list[tuple[list[str], list[str], list[str]]]:
    """(uris, suites, components) of each stanza that is enabled and gives binary packages."""
    entries = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, list[str]] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace():  # the value goes on
                fields.setdefault(key, []).extend(line.split())
            else:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.split()
        if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"])[0].lower() != "no":
            entries.append((fields.get("uris", []), fields.get("suites", []), fields.get("components", [])))
    return entries


def _run(step: str, command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=STEP_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{step}: {error}") from error
    if done.returncode != 0:
        lines = [
            line for line in (done.stderr or done.stdout).splitlines() if line.startswith(("E:", "dpkg"))
        ]
        raise FetchError(f"{step}: {' '.join(lines) or f'exit code {done.returncode}'}")


def main() -> int:
    """Fetch what the command line names; one line on standard error when it cannot be had."""
    try:
        fetch(sys.argv[1], Path(sys.argv[2]).absolute(), *sys.argv[3:4])
    except FetchError as error:
        print(f"{sys.argv[1]} could not be fetched: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
