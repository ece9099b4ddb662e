"""The product, spoilt in one place before it starts: what the checker has to catch. Nothing of the product knows of it.

    mutant.py NAME schedulerd|workerd --config FILE

The daemon's own main runs afterwards, so everything but the named fault is real.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from support.spoilt_worker import credulous, forgetful

from schedulerd.adapters.election_file import FileLock
from schedulerd.adapters.ledger import records
from schedulerd.adapters.ledger.sqlite import SqliteLedger
from schedulerd.core.effects import RecordMarks
from workerd import loop
from workerd.adapters.journal import Journal


def dedupe_off() -> None:
    """Worker: every Dispatch is a new one."""
    loop.step = forgetful  # type: ignore[attr-defined]


def journal_off() -> None:
    """Worker: nothing is written down."""
    Journal.append = lambda self, records, *, sync: None  # type: ignore[method-assign]
    Journal.compact = lambda self, records: None  # type: ignore[method-assign]


def mark_not_persisted() -> None:
    """Scheduler: the high-water marks stay where they were."""
    records.WRITERS[RecordMarks] = lambda batch, record: None


def locks_off() -> None:
    """Scheduler: a second one starts beside the first, as if the lock were on a file system that has none."""
    FileLock.acquire = lambda self: True  # type: ignore[method-assign]


def epoch_off() -> None:
    """Nobody asks whose epoch it is: neither the ledger nor the worker. The locks are off as well."""
    locks_off()
    SqliteLedger._check_epoch = lambda self, epoch: None  # type: ignore[method-assign]
    loop.step = credulous  # type: ignore[attr-defined]


MUTATIONS = {one.__name__: one for one in (dedupe_off, journal_off, mark_not_persisted, locks_off, epoch_off)}


def command(name: str, program: str) -> list[str]:
    """How to start `program` with that mutation."""
    return [sys.executable, str(Path(__file__)), name, program]


if __name__ == "__main__":
    MUTATIONS[sys.argv[1]]()
    program = sys.argv[2]
    sys.argv = [program, *sys.argv[3:]]
    if program == "workerd":
        from workerd.main import main
    else:
        from schedulerd.main import main
    main()
