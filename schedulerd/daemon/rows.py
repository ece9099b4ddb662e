"""Which failpoint stands at which row of the protocol's durability table, on the leader's side. Does nothing itself."""

from schedulerd.core import effects as fx
from schedulerd.protocol.messages import Dispatch, ResultAck

BEFORE_COMMIT: dict[type, str] = {
    fx.RecordRuns: "fire.before_commit",
    fx.RecordSkips: "fire.before_commit",
    fx.RecordAttempts: "assign.before_commit",
    fx.RecordOutcomes: "record.before_commit",
}
AFTER_COMMIT: dict[type, str] = {
    fx.RecordRuns: "fire.after_commit",
    fx.RecordSkips: "fire.after_commit",
    fx.RecordAttempts: "assign.after_commit",
    fx.RecordOutcomes: "record.after_commit",
}
BEFORE_SEND: dict[type, str] = {Dispatch: "dispatch.before_send", ResultAck: "ack.before_send"}
AFTER_SEND: dict[type, str] = {Dispatch: "dispatch.after_send", ResultAck: "ack.after_send"}
