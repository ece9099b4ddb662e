"""A line of a run's timeline in the making, and the words and names in it. The order of lines is timeline.py's."""

import re
from datetime import datetime

from msgspec import Struct

from schedulerd.protocol.api_accounts import RunAccount
from schedulerd.protocol.api_types import Event

STEPS = {-1: "gather", -2: "setup", -3: "teardown", -4: "split"}
_OPERATOR = frozenset({"triggered", "cancelled", "backfilled", "reopened"})
_WORDS = {
    "attempt_lost": "lost",
    "attempt_fenced": "ended by its worker, fenced",
    "attempt_unstarted": "never started",
    "attempt_revoked": "asked back",
    "dispatch_resent": "order sent again",
    "retried": "given out again",
    "late_result": "late result",
    "unknown_result": "result of an unknown attempt",
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Line(Struct, kw_only=True):
    """An entry in the making."""

    at: datetime  # where it stands
    source: str
    text: str
    stage: int = 0  # order of causes within a subtask, for what stands at the same time


class Names:
    """What the sources are called."""

    def __init__(self, account: RunAccount) -> None:
        self._leaders = {one.epoch: _short(one.leader) for one in account.leaderships}
        self._since = [(instant(one.since), one.epoch) for one in account.leaderships]

    def scheduler(self, epoch: int | None) -> str:
        """The scheduler that led in `epoch`."""
        name = self._leaders.get(epoch or 0)
        return f"scheduler {name} epoch {epoch}" if name else "scheduler"

    def scheduler_at(self, at: datetime) -> str:
        """The scheduler that led then."""
        began = [epoch for since, epoch in self._since if since <= at] or [e for _, e in self._since[:1]]
        return self.scheduler(max(began, default=None))


def part_name(index: int) -> str:
    """`subtask 3`, `gather`."""
    return STEPS.get(index) or f"subtask {index}"


def instant(text: str) -> datetime:
    """The time that the ledger's reader wrote."""
    return datetime.fromisoformat(text)


def source_of(event: Event, names: Names) -> str:
    """Who did it: an operator, or the scheduler that led then."""
    return "operator" if event.type in _OPERATOR else names.scheduler(event.epoch)


def words_of(event: Event) -> str:
    """What an event says."""
    word = kind_words(event.type)
    if event.type in _OPERATOR:
        return f"{word} {event.detail}".rstrip()
    return f"{word}: {event.detail}" if event.detail else word


def kind_words(kind: str) -> str:
    """The type of an event for people."""
    return _WORDS.get(kind) or kind.replace("_", " ")


def _short(name: str) -> str:
    """A scheduler's own id is long: its first part is enough to tell two of them apart."""
    return name[:8] if _UUID.fullmatch(name) else name
