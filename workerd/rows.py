"""Which failpoint stands at which row of the protocol's durability table, on the worker's side. Does nothing itself."""

from schedulerd.protocol.messages import Result
from workerd.events import ChildStarted
from workerd.records import (
    AttemptsAccepted,
    AttemptsAcknowledged,
    AttemptsEnded,
    AttemptsStarting,
    EpochSeen,
)

BEFORE_JOURNAL: dict[type, str] = {
    EpochSeen: "epoch.before_journal",
    AttemptsAccepted: "accept.before_journal",
    AttemptsStarting: "start.before_journal",
    AttemptsEnded: "end.before_journal",
    AttemptsAcknowledged: "forget.before_journal",
}
AFTER_JOURNAL: dict[type, str] = {
    EpochSeen: "epoch.after_journal",
    AttemptsAccepted: "accept.after_journal",
    AttemptsStarting: "start.after_journal",
    AttemptsEnded: "end.after_journal",
    AttemptsAcknowledged: "forget.after_journal",
}
ON_EVENT: dict[type, str] = {ChildStarted: "start.before_told"}
AFTER_SEND: dict[type, str] = {Result: "result.after_send"}
