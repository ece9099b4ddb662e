"""The end of a run that was asked for: what waits is over at once, what runs is asked to end."""

from schedulerd.core import ending, runs, stages
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordCancel
from schedulerd.core.state import Run, State
from schedulerd.model.moment import Moment

OPERATOR = "operator"
REPLACED = "replaced"


def cancel_run(
    state: State, run: Run, by: str, kill: bool, now: Moment, draft: Draft, reason: str = OPERATOR
) -> None:
    """Nothing more of the run is given out but teardown; what runs is asked to end, and the run closes after that."""
    if not run.is_cancelled:
        run.is_cancelled, run.cancel_reason = True, reason
        state.cancelled[run.id] = run
        draft.cancels.append(RecordCancel(run.id, by, reason))
        kind = {OPERATOR: "cancelled", runs.TIMEOUT: "run_timeout"}.get(reason, reason)
        text = f"by {by}"
        if reason == runs.TIMEOUT and run.job.run_timeout is not None:
            text = (
                f"its first process started {run.job.run_timeout.total_seconds():g} s ago: what runs is ended"
            )
        draft.events.append(runs.event(kind, now, run=run, detail=text))
    run.is_killed = run.is_killed or kill
    stages.call_off(state, run, run.cancel_reason, draft)
    ending.end(state, run, draft)
    if not run.live:
        stages.advance(state, run, now, draft)
