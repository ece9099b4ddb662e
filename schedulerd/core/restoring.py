"""A run as it is remembered, from what the ledger has of it. Leaves open attempts, queues and turns to the caller."""

from schedulerd.core.stages import STEP_REASONS, reason_of
from schedulerd.core.state import Run, Subtask
from schedulerd.model.moment import Moment
from schedulerd.model.run import OpenRun, SubtaskState
from schedulerd.protocol.ids import SETUP, SPLIT

_REASONS = {SubtaskState.FAILED: "exit"}  # of those that were recorded without one


def restored(found: OpenRun, now: Moment) -> Run:
    """The run with all its subtasks; it fails for the reason of the first one, in the order of stages, that failed."""
    record = found.run
    run = Run(
        record.id,
        found.definition,
        record.cause,
        record.fire_time,
        record.created_at,
        record.env,
        found.state,
    )
    run.started_at = found.started_at
    run.is_split = found.is_split
    run.is_cancelled, run.cancel_reason = found.is_cancelled, found.cancel_reason
    run.rounds, run.again = found.rounds, found.again
    reasons: dict[int, str] = {}
    for old in found.subtasks:
        subtask = Subtask(old.index, old.item, old.pinned, old.state)
        subtask.attempts, subtask.failures, subtask.losses = old.attempts, old.counted_failures, old.losses
        subtask.previous = old.previous
        subtask.waiting_since = now.mono
        run.subtasks[subtask.index] = subtask
        if not subtask.state.is_final:
            run.open_subtasks += subtask.index >= 0
        elif subtask.state is not SubtaskState.SUCCEEDED:
            reason = old.reason or _REASONS.get(subtask.state, subtask.state.value)
            if reason := reason_of(run, subtask.index, reason):
                reasons[subtask.index] = reason
    first = next((index for index in (SETUP, SPLIT) if index in reasons), None)
    if first is None:
        first = next((index for index in reasons if index not in STEP_REASONS), next(iter(reasons), None))
    run.reason = "" if first is None else reasons[first]
    return run
