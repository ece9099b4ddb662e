"""Whether a worker keeps the fence: it does nothing by order of a deposed leader, and forgets nothing unrecorded."""

from collections.abc import Sequence

from simulation.chronicle import Chronicle

from schedulerd.protocol.messages import Cancel, Dispatch, Hello, Message, ResultAck, Revoke
from workerd.events import Event, FrameArrived
from workerd.records import AttemptsAccepted, AttemptsAcknowledged, AttemptsEnded, Record


class FenceWatch:
    """Looks at one worker's host from outside: what reaches it, and what it is about to journal."""

    def __init__(self, worker: str, chronicle: Chronicle) -> None:
        self.seen = 0  # highest epoch in a frame that reached it
        self._told_to_end: dict[str, None] = {}  # attempts whose end a leader asked for in its time
        self._worker = worker
        self._chronicle = chronicle

    def forbidden(self, events: Sequence[Event], nonce: str) -> dict[str, int]:
        """Attempts in these frames that only a deposed leader gives orders about, and its epoch."""
        stale: dict[str, int] = {}
        fresh: dict[str, None] = {}
        for event in events:
            if type(event) is not FrameArrived:
                continue
            envelope, message = event.envelope, event.message
            if isinstance(message, Hello):
                self.seen = max(self.seen, envelope.epoch)
                continue
            if envelope.receiver_nonce == nonce:
                self.seen = max(self.seen, envelope.epoch)
            for attempt in _named(message):
                if envelope.epoch < self.seen:
                    stale[attempt] = envelope.epoch
                else:
                    fresh[attempt] = None
                    if isinstance(message, Cancel | Revoke):
                        self._told_to_end[attempt] = None
        return {attempt: epoch for attempt, epoch in stale.items() if attempt not in fresh}

    def look_at(self, record: Record, forbidden: dict[str, int]) -> None:
        """What is about to be journaled."""
        named: list[str] = []
        if isinstance(record, AttemptsAccepted):
            named = [attempt for attempt, _ in record.attempts]
        elif isinstance(record, AttemptsAcknowledged):
            named = record.attempts
            for attempt in named:
                self._chronicle.acknowledged(self._worker, attempt)
        elif isinstance(record, AttemptsEnded):
            reasons = ("revoked", "cancelled")
            ended = [outcome.attempt for outcome in record.outcomes if outcome.reason in reasons]
            named = [attempt for attempt in ended if attempt not in self._told_to_end]
        for attempt in named:
            if attempt in forbidden:
                text = f"{self._worker} journals {record} by order of epoch {forbidden[attempt]} after {self.seen}"
                self._chronicle.violation("P4", text)


def _named(message: Message) -> list[str]:
    match message:
        case Dispatch(_, orders):
            return [order.attempt for order in orders]
        case Cancel(cancellations):
            return [cancellation.attempt for cancellation in cancellations]
        case Revoke(attempts) | ResultAck(attempts):
            return attempts
        case _:
            return []
