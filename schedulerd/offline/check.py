"""`schedulerctl check`: job files read as the daemon reads them, every fault shown, no daemon needed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from schedulerd.adapters.jobfiles import read_paths
from schedulerd.hostkit import clock
from schedulerd.offline.lint import warnings


def check_paths(
    paths: Sequence[Path],
    out: TextIO,
    *,
    defaults: Mapping[str, Any] | None = None,
    strict: bool = False,
    now: datetime | None = None,
) -> int:
    """Exit code: 0 = these files and directories are one good job table, 1 = not. Writes a line a fault, then a sum.

    `defaults` is [defaults] of the settings. `strict`: warnings count as faults. `now`: from when on
    changes of clocks are looked for; the present time by default.
    """
    now = clock.utc_now() if now is None else now
    table = read_paths(paths, defaults)
    faults = [str(line) for line in sorted(table.lines)]
    as_read = sorted(table.definitions.values(), key=lambda one: (one.origin.file, one.origin.line))
    doubts = [text for definition in as_read for text in warnings(definition, now)]
    for text in faults + doubts:
        out.write(f"{text}\n")
    found = [_count(len(faults), "fault")] if faults else []
    found += [_count(len(doubts), "warning")] if doubts else []
    where = _count(table.files, "file")
    if faults or (doubts and strict):
        out.write(f"{' and '.join(found)} in {where}: not accepted\n")
        return 1
    accepted = f"{_count(len(table.definitions), 'job')} in {where}: ok"
    out.write(f"{accepted}, {found[0]}\n" if found else f"{accepted}\n")
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
