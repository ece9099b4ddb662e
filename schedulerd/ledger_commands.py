"""`schedulerd ledger copy|backup|check`: a ledger as a whole, for its operator. Leaves the doing to the adapters."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from schedulerd.adapters.election_file import FileLock
from schedulerd.adapters.ledger import copying, invariants, whole
from schedulerd.adapters.ledger.open import alone, is_postgres, look_at, sqlite_path
from schedulerd.errors import LedgerError, SchedulerdError
from schedulerd.hostkit.settings import load_schedulerd


@click.group()
def ledger() -> None:
    """Copy, back up or check a ledger.

    A ledger is named by its URL: sqlite:///ABSOLUTE/PATH or postgresql://USER@HOST/DATABASE.
    """


@ledger.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy the ledger FROM into an empty one, of the same kind or the other; all of it or nothing.

    No scheduler may use either of them meanwhile.
    """
    with _told(), ExitStack() as held:
        for url in (source, target):
            held.enter_context(_unused(url))
        counts = copying.copy(source, target)
    for table, rows in counts.items():
        print(f"{table:<12} {rows}")
    print(f"copied {sum(counts.values())} rows of {len(counts)} tables; both have the same")


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--url", help="Another ledger than that of the settings.")
@click.pass_context
def backup(context: click.Context, file: Path, url: str | None) -> None:
    """Write the ledger into a new SQLite file, while schedulerd runs.

    A copy of one moment. To use it, name it in [ledger] url, or `copy` it into an empty ledger.
    """
    with _told():
        size = copying.back_up(url or _configured(context), file)
    print(f"{file}: {size} bytes")


@ledger.command()
@click.argument("url", required=False)
@click.pass_context
def check(context: click.Context, url: str | None) -> None:
    """Look for what must not be in a ledger, that of the settings if none is named; exit code 1 if anything is.

    May be run while schedulerd runs: it sees one moment and changes nothing.
    """
    found = 0
    with _told(), whole.reading(url or _configured(context)) as looked_at:
        for text in invariants.violations(looked_at):
            found += 1
            print(text)
        shown = looked_at.shown
    if found:
        print(f"{shown}: the ledger is faulty", file=sys.stderr)
        sys.exit(1)
    print(f"{shown}: nothing is wrong with it")


def _configured(context: click.Context) -> str:
    """URL of the ledger that the settings name."""
    parent = context.find_root()
    return load_schedulerd(parent.params["config"], os.environ, look_at).ledger.url


@contextmanager
def _told() -> Iterator[None]:
    """An error of ours is one line and exit code 1."""
    try:
        yield
    except SchedulerdError as error:
        print(f"schedulerd: {error}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _unused(url: str) -> Iterator[None]:
    """A ledger that no scheduler leads by; a file's lock is ours until the end. Raises LedgerError, SettingsError."""
    if is_postgres(url):
        with alone(url):
            yield
        return
    path = sqlite_path(url).resolve()  # the lock is that of the file, whatever link leads to it
    lock = FileLock(path.parent, f"{path.name}.lock")
    is_new = not path.with_name(f"{path.name}.lock").exists()
    if not path.parent.is_dir():
        raise LedgerError(f"{path}: there is no directory {path.parent}; create it, nothing was copied")
    if not lock.acquire():
        raise LedgerError(f"{lock.holder()}; stop schedulerd first, nothing was copied")
    try:
        yield
    finally:
        lock.close(remove=is_new)
