"""A final run begins another round: its failed subtasks, or all of them, get new attempts, and its steps run again.

It keeps its id and the definition it was fired from. Beside other runs of its job it is a run like a new one: `overlap`
decides whether it may be, begins at once, or waits.
"""

from schedulerd.core import overlap, runs
from schedulerd.core import requests as rq
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordReopening
from schedulerd.core.looking_up import entry_of
from schedulerd.core.restoring import restored
from schedulerd.core.state import State
from schedulerd.errors import CommandError
from schedulerd.model.job import Overlap
from schedulerd.model.moment import Moment
from schedulerd.model.run import Again, OpenRun, RunState, SkipReason, SubtaskState

MAX_RETRIED = 10_000  # runs whose rounds are remembered against requests that were read before the newest one


def retry(state: State, request: rq.RetryRun, now: Moment, draft: Draft) -> rq.Retried:
    """Open the run again. Raises CommandError conflict when it is open, or nothing of it would be run."""
    found = request.found
    name = found.run.id
    if name in state.runs or not found.state.is_final:
        raise CommandError("conflict", f"{name} is not final: only a run that has ended can be retried")
    if state.retried.get(name, 0) > found.rounds:
        raise CommandError("conflict", f"{name} has been retried meanwhile; ask again")
    entry = entry_of(state, found.run.job)
    failed = sum(1 for part in found.subtasks if part.state is not SubtaskState.SUCCEEDED)
    if request.failed_only and found.state is RunState.SUCCEEDED and not failed:
        raise CommandError("conflict", f"nothing of {name} has failed")
    # by the rule of now, or the one it was fired under if that allows less
    rule = entry.job.overlap
    if rule is Overlap.ALLOW:
        rule = found.definition.job.overlap
    refusal = overlap.refusal(state, entry, rule)
    if refusal is SkipReason.QUEUE_FULL:
        raise CommandError("conflict", f"the queue of {entry.job.name} is full (queue_max)")
    if refusal is not None:
        raise CommandError("conflict", f"another run of {entry.job.name} is not final and overlap is skip")
    run = restored(_as_new(found), now)
    run.rounds = found.rounds + 1
    run.again = Again.FAILED if request.failed_only else Again.ALL
    state.runs[run.id] = run
    entry.open_runs[run.id] = None
    state.retried[name] = run.rounds
    while len(state.retried) > MAX_RETRIED:
        del state.retried[next(iter(state.retried))]
    draft.reopened.append(RecordReopening(run.id, run.rounds, run.again))
    what = "what failed of it" if request.failed_only else "all of it"
    draft.events.append(runs.event("reopened", now, run=run, detail=f"by {request.by}: {what} is run again"))
    overlap.line_up(state, entry, run, now, draft, rule)
    return rq.Retried(run=run.id, outcome="queued" if run.is_held else "started")


def _as_new(found: OpenRun) -> OpenRun:
    """What ended it is forgotten."""
    return OpenRun(
        run=found.run,
        definition=found.definition,
        state=RunState.PENDING,
        started_at=None,
        is_split=found.is_split,
        is_cancelled=False,
        subtasks=found.subtasks,
        attempts=(),
    )
