"""Named points at which a test makes this very process die, stop, fail or wait. Off unless the environment asks.

SCHEDULERD_FAILPOINTS holds `NAME=ACTIONS@HITS`, several joined by `;`. ACTIONS are done in turn, joined by `+`: `kill`
(SIGKILL to this process), `kill-parent`, `stop` (SIGSTOP), `error:EIO` or `error:ENOSPC` (OSError), `sleep:MS`. HITS
says at which passing of the point: `3`, `3-6`, `3-` (from then on); without it at the first. Where the points stand
in the protocol, and which test uses each, is a table of docs/explanation/protocol.md.
"""

import errno
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping

from msgspec import Struct

from schedulerd.errors import SettingsError

VARIABLE = "SCHEDULERD_FAILPOINTS"

POINTS = {
    # schedulerd
    "fire.before_commit": "before the transaction that settles a fire time",
    "fire.after_commit": "after it",
    "assign.before_commit": "before the transaction that gives an attempt to a worker",
    "assign.after_commit": "after it, before the Dispatch is sent",
    "dispatch.before_send": "a Dispatch is about to be handed to its socket",
    "dispatch.after_send": "a Dispatch was handed to its socket",
    "record.before_commit": "a result has arrived, before its transaction",
    "record.after_commit": "after it, before the ResultAck",
    "ack.before_send": "a ResultAck is about to be handed to its socket",
    "ack.after_send": "a ResultAck was handed to its socket",
    "ledger.before_commit": "inside any transaction of the ledger, before its COMMIT",
    "ledger.after_commit": "after the COMMIT, before the ledger says so",
    # workerd
    "epoch.before_journal": "a newer epoch was heard, before it is journaled",
    "epoch.after_journal": "after it is durable",
    "accept.before_journal": "a Dispatch was received, before ACCEPTED is journaled",
    "accept.after_journal": "after it is durable, before Accepted is told",
    "start.before_journal": "before STARTING is journaled",
    "start.after_journal": "after it is durable",
    "start.before_spawn": "the order to spawn is about to go to the helper process",
    "start.after_spawn": "in the helper process, which makes them: the process of an attempt exists",
    "start.before_told": "workerd knows that it exists, before Started is told",
    "end.before_journal": "a child has ended, before its outcome is journaled",
    "end.after_journal": "after it is durable, before the Result is sent",
    "result.after_send": "a Result was handed to its socket",
    "forget.before_journal": "a ResultAck was received, before the attempt is forgotten",
    "forget.after_journal": "after only its tombstone is left",
    "journal.before_write": "the journal is about to be written",
    "journal.torn": "half of a write to the journal is in the file",
    "journal.before_sync": "written, not yet synced",
    "journal.before_rename": "the compacted journal is whole, and does not have its name yet",
}

_ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
_ACTION = re.compile(r"kill|kill-parent|stop|error:(?:EIO|ENOSPC)|sleep:\d{1,7}")
_ENTRY = re.compile(r"(?P<name>[^=@]+)=(?P<actions>[^@]+)(?:@(?P<first>\d+)(?P<range>-(?P<last>\d+)?)?)?")


class _Armed(Struct):
    """One point that does something."""

    actions: tuple[str, ...]
    first: int
    last: int | None  # None: for ever
    hits: int = 0


armed: dict[str, _Armed] | None = None  # None: as always but in tests


def arm(environ: Mapping[str, str]) -> None:
    """Set the points that the environment names. Raises SettingsError with one sentence."""
    global armed
    text = environ.get(VARIABLE, "")
    armed = dict(map(_read, filter(None, map(str.strip, text.split(";"))))) or None


def at(name: str) -> None:
    """This process is at the point `name`. Raises OSError when it is to fail here."""
    if armed is not None and _is_due(name):
        _act(name)


def each(points: Mapping[type, str], things: Iterable[object]) -> None:
    """This process is at the points that belong to these things by their type, each once."""
    if armed is not None:
        for name in dict.fromkeys(points[type(thing)] for thing in things if type(thing) in points):
            at(name)


def tear(name: str, file: int, data: bytes) -> None:
    """Write the first half of `data` alone, and act; nothing is written when it is not its turn."""
    if armed is not None and _is_due(name):
        os.write(file, data[: len(data) // 2])
        _act(name)


def _is_due(name: str) -> bool:
    point = armed.get(name) if armed is not None else None
    if point is None:
        return False
    point.hits += 1
    return point.first <= point.hits and (point.last is None or point.hits <= point.last)


def _act(name: str) -> None:
    assert armed is not None
    point = armed[name]
    os.write(2, f"failpoint {name}: {'+'.join(point.actions)} at hit {point.hits}\n".encode())
    for action in point.actions:
        word, _, value = action.partition(":")
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "kill-parent":
            os.kill(os.getppid(), signal.SIGKILL)
        elif word == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif word == "sleep":
            time.sleep(int(value) / 1000)
        else:
            raise OSError(_ERRORS[value], os.strerror(_ERRORS[value]), f"failpoint {name}")


def _read(entry: str) -> tuple[str, _Armed]:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise SettingsError(f'{VARIABLE}: "{entry}" is not of the form NAME=ACTIONS or NAME=ACTIONS@HITS')
    name, actions = found["name"].strip(), tuple(found["actions"].strip().split("+"))
    if name not in POINTS:
        raise SettingsError(f'{VARIABLE}: there is no failpoint "{name}"; they are {", ".join(POINTS)}')
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise SettingsError(
                f'{VARIABLE}: "{action}" is no action of a failpoint; '
                "they are kill, kill-parent, stop, error:EIO, error:ENOSPC and sleep:MS"
            )
    first = int(found["first"] or 1)
    last = first if found["range"] is None else int(found["last"]) if found["last"] else None
    if first < 1 or (last is not None and last < first):
        raise SettingsError(f'{VARIABLE}: "{entry}": hits count from 1, and a range does not go backwards')
    return name, _Armed(actions, first, last)
