"""The end of a run that was asked for: what waits is over at once, what runs is asked to end."""

from schedulerd.core import attempts, runs
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordCancel
from schedulerd.core.state import Run, State
from schedulerd.model.moment import Moment
from schedulerd.model.run import SubtaskState

OPERATOR = "operator"
REPLACED = "replaced"


def cancel_run(
    state: State, run: Run, by: str, kill: bool, now: Moment, draft: Draft, reason: str = OPERATOR
) -> None:
    """Nothing more of the run is given out; what runs is asked to end, and the run closes when it has."""
    if not run.is_cancelled:
        run.is_cancelled, run.cancel_reason = True, reason
        state.cancelled[run.id] = run
        draft.cancels.append(RecordCancel(run.id, by, reason))
        kind = "cancelled" if reason == OPERATOR else reason
        draft.events.append(runs.event(kind, now, run=run, detail=f"by {by}"))
    run.is_killed = run.is_killed or kill
    waiting = runs.take_waiting(state, run)
    runs.end_waiting(state, run, waiting, SubtaskState.CANCELLED, run.cancel_reason, now, draft)
    attempts.end(state, run, draft)
