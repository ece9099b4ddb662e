"""How long a whole run may take: when its `run_timeout` begins, and what happens when it is over."""

import heapq
from datetime import datetime, timedelta

from schedulerd.core import runs, stages
from schedulerd.core.cancelling import cancel_run
from schedulerd.core.draft import Draft
from schedulerd.core.state import Run, State
from schedulerd.model.moment import Moment

EXPIRED_A_STEP = 500  # runs that are ended in one step
_SECOND = timedelta(seconds=1)


def begin(state: State, run: Run, at: datetime, now: Moment) -> None:
    """The first process of the run, or of its retry, exists since `at` by its worker's clock."""
    run.started_at = at
    if run.job.run_timeout is not None:
        _await(state, run, now.mono + run.job.run_timeout / _SECOND)


def resume(state: State, run: Run, now: Moment) -> None:
    """After a takeover: what is left of the term of a run that has started, by the clock on the wall."""
    term = run.job.run_timeout
    if term is not None and run.started_at is not None:
        left = min(run.started_at + term - now.utc, term)
        _await(state, run, now.mono + max(left / _SECOND, 0.0))


def expire(state: State, now: Moment, draft: Draft) -> None:
    """Runs that take too long are ended; a teardown that is all that is left of one is not."""
    for _ in range(EXPIRED_A_STEP):
        if not state.terms or state.terms[0][0] > now.mono:
            return
        due, run_id = heapq.heappop(state.terms)
        run = state.runs.get(run_id)
        if run is None or run.ends_at != due:
            continue
        run.ends_at = None
        if not run.is_cancelled and not stages.is_at_teardown(run):
            cancel_run(state, run, "run_timeout", False, now, draft, runs.TIMEOUT)


def _await(state: State, run: Run, due: float) -> None:
    run.ends_at = due
    heapq.heappush(state.terms, (due, run.id))
    # runs that have ended long before their term leave it behind
    if len(state.terms) > 2 * len(state.runs) + 1000:
        state.terms = [
            (due, run_id)
            for due, run_id in state.terms
            if run_id in state.runs and state.runs[run_id].ends_at == due
        ]
        heapq.heapify(state.terms)
