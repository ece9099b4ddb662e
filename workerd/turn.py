"""What one step has decided so far, and its effects in the order that may not change: the journal first.

All records of a step go into one Journal effect, so a batch costs one fsync however many attempts it moves.
"""

from typing import TypeVar

from schedulerd.protocol.codec import in_frames
from schedulerd.protocol.messages import (
    Accepted,
    Inventory,
    Message,
    Outcome,
    Refusal,
    Refused,
    Result,
    Start,
    Started,
)
from workerd.effects import (
    ConnectResults,
    Effect,
    Exit,
    Journal,
    Kill,
    RenewLease,
    Send,
    SetAlarm,
    Spawn,
)
from workerd.events import WorkerMoment
from workerd.records import (
    AttemptsAccepted,
    AttemptsAcknowledged,
    AttemptsEnded,
    AttemptsStarting,
    EpochSeen,
    Record,
)
from workerd.state import Phase, WorkerState, heartbeat_of, inventory_of, output_bytes

_T = TypeVar("_T")

_IDS_A_FRAME = 1_000  # of at most 256 characters: below the mebibyte senders cut at, and a step's worth
_OUTCOME_OVERHEAD = 512  # bytes of an outcome beside its output, generously


class Turn:
    """Collects what handlers decide; `effects` puts it in order."""

    __slots__ = (
        "accepted",
        "acknowledged",
        "answers",
        "clock_ms",
        "connect",
        "ended",
        "exit_reason",
        "kills",
        "lag_ms",
        "new_epoch",
        "newly_accepted",
        "refusals",
        "resent",
        "spawns",
        "stale",
        "started",
        "starting",
        "utc_ms",
        "wants_beat",
        "wants_inventory",
        "wants_lease",
    )

    def __init__(self, now: WorkerMoment) -> None:
        self.clock_ms = now.clock_ms
        self.utc_ms = now.utc_ms
        self.new_epoch = False
        self.newly_accepted: list[tuple[str, int]] = []  # for the journal: attempt, expiry
        self.starting: list[str] = []
        self.ended: list[Outcome] = []  # journaled in this step, then sent
        self.acknowledged: list[str] = []
        self.connect = ""
        self.wants_inventory = False
        self.wants_beat = False
        self.lag_ms = 0
        self.accepted: list[str] = []  # to be told; also for repeated Dispatches
        self.refusals: list[Refusal] = []
        self.started: dict[str, int] = {}  # attempt -> started_utc_ms
        self.resent: list[Outcome] = []  # journaled earlier, sent again
        self.stale: dict[tuple[str, str], list[Refusal]] = {}  # (endpoint, sender) of deposed leaders
        self.wants_lease = False
        self.kills: list[Kill] = []
        self.spawns: list[Spawn] = []
        self.exit_reason = ""

    def effects(self, state: WorkerState) -> list[Effect]:
        """Everything decided, in order. Counts the heartbeat that it sends."""
        effects: list[Effect] = []
        self._journal(state, effects)
        if self.connect:
            effects.append(ConnectResults(self.connect))
        if state.results:  # nobody to tell otherwise; it is all said again to the leader that comes
            effects.extend(map(Send, self._messages(state)))
        for (endpoint, sender), refusals in self.stale.items():
            effects.append(Send(Refused(refusals, state.epoch), endpoint, sender))
        if self.wants_lease:
            effects.append(RenewLease(_helper_lease(state, self.clock_ms)))
        effects.extend(self.kills)
        effects.extend(self.spawns)
        return effects

    def ending(self, state: WorkerState, alarm_ms: int) -> list[Effect]:
        """What closes the list: the alarm if it has moved, or the exit."""
        if self.exit_reason:
            return [Exit(self.exit_reason)]
        if alarm_ms == state.alarm_ms:
            return []
        state.alarm_ms = alarm_ms
        return [SetAlarm(alarm_ms)]

    def _journal(self, state: WorkerState, effects: list[Effect]) -> None:
        records: list[Record] = []
        if self.new_epoch:
            records.append(EpochSeen(state.epoch))
        if self.newly_accepted:
            records.append(AttemptsAccepted(self.newly_accepted))
        if self.starting:
            records.append(AttemptsStarting(self.starting, self.utc_ms))
        if self.ended:
            records.append(AttemptsEnded(self.ended, self.clock_ms))
        # An acknowledgement lost in a crash costs one more Result: it alone is no reason for an fsync.
        sync = bool(records)
        if self.acknowledged:
            records.append(AttemptsAcknowledged(self.acknowledged))
        if records:
            effects.append(Journal(records, sync))

    def _messages(self, state: WorkerState) -> list[Message]:
        messages: list[Message] = []
        if self.wants_inventory:
            inventory: Inventory = inventory_of(state, self.clock_ms)
            messages.append(inventory)
        if self.wants_beat:
            state.beat += 1
            state.beats[state.beat] = self.clock_ms
            messages.append(heartbeat_of(state, self.clock_ms, self.lag_ms))
        for ids in _cut(self.accepted):
            messages.append(Accepted(ids))
        for refusals in _cut(self.refusals):
            messages.append(Refused(refusals, state.epoch))
        attempts = state.attempts
        # What has ended in the same step says so in its Result.
        starts = [
            Start(attempt, at)
            for attempt, at in self.started.items()
            if (kept := attempts.get(attempt)) is not None and kept.phase is Phase.RUNNING
        ]
        for some in _cut(starts):
            messages.append(Started(some))
        for outcomes in in_frames(self.ended + self.resent, _outcome_size):
            messages.append(Result(outcomes))
        return messages


def _outcome_size(outcome: Outcome) -> int:
    return output_bytes(outcome) + len(outcome.detail) * 4 + _OUTCOME_OVERHEAD


def _cut(elements: list[_T]) -> list[list[_T]]:
    if len(elements) <= _IDS_A_FRAME:
        return [elements] if elements else []
    return [elements[at : at + _IDS_A_FRAME] for at in range(0, len(elements), _IDS_A_FRAME)]


def _helper_lease(state: WorkerState, clock_ms: int) -> float:
    """Seconds that the helper process may keep children without hearing from this worker.

    While guarded attempts live it may not outlast their own term by much, even if this process is stopped
    now. The floor of three beats keeps the lease from running out between two renewals.
    """
    limits = state.limits
    lease = limits.helper_lease_ms
    if state.guarded:
        lease = min(lease, max(3 * limits.beat_ms, state.lease_ms + limits.fence_kill_ms - clock_ms))
    return lease / 1000
