"""Whether a new run may be, begins or waits while others of its job are open, and when one that waits may begin.

Decided from the open runs, which are the ledger's, never from a flag: a run that has begun has its subtasks recorded,
one that waits has none, and a takeover finds them as they were, oldest first. Catch-up and backfill runs whose turn
has not come hold nobody up here; firing.py gives them their turns.
"""

from schedulerd.core import stages
from schedulerd.core.cancelling import REPLACED, cancel_run
from schedulerd.core.draft import Draft
from schedulerd.core.state import JobEntry, Run, State
from schedulerd.model.job import Overlap
from schedulerd.model.moment import Moment
from schedulerd.model.run import SkipReason


def refusal(state: State, entry: JobEntry, rule: Overlap | None = None) -> SkipReason | None:
    """Why a new run of the job may not be, now; None when it may (perhaps it has to wait). `rule`: if not the job's."""
    match rule or entry.job.overlap:
        case Overlap.SKIP:
            return SkipReason.OVERLAP if _before(state, entry) else None
        case Overlap.QUEUE:
            waiting = sum(1 for run in _before(state, entry) if run.is_held)
            return SkipReason.QUEUE_FULL if waiting >= entry.job.queue_max else None
        case Overlap.ALLOW | Overlap.REPLACE:
            return None


def line_up(
    state: State, entry: JobEntry, run: Run, now: Moment, draft: Draft, rule: Overlap | None = None
) -> None:
    """Begin a run that was just recorded, or let it wait behind those that are open. `rule`: if not the job's.

    With "replace" these are ended first: one that waits itself at once, one that has begun when its attempts have.
    """
    rule = rule or entry.job.overlap
    if rule is Overlap.REPLACE:
        for old in _before(state, entry):
            if old is not run:
                cancel_run(state, old, run.id, False, now, draft, REPLACED)
    may_wait = rule in (Overlap.QUEUE, Overlap.REPLACE)
    if may_wait and any(other is not run for other in _before(state, entry)):
        wait(state, run)
    else:
        stages.begin(state, run, now, draft)


def wait(state: State, run: Run) -> None:
    """`run` waits for its turn; whether it has come is looked at in this very step."""
    run.is_held = True
    state.lines[run.job.name] = None
    state.turns[run.job.name] = None


def look_again(state: State, name: str) -> None:
    """The job has another definition: its `overlap` decides about the runs that wait already."""
    if name in state.lines:
        state.turns[name] = None


def begin_waiting(state: State, now: Moment, draft: Draft) -> None:
    """Begin every run whose turn has come: a job's oldest, when nothing of the job is under way."""
    while state.turns:
        name = next(iter(state.turns))
        del state.turns[name]
        entry = state.jobs.get(name)
        open_runs = (
            [state.runs[run_id] for run_id in entry.open_runs]
            if entry is not None
            else [run for run in state.runs.values() if run.job.name == name]  # it was removed
        )
        waiting = [run for run in open_runs if run.is_held and not run.awaits_release]
        if not waiting:
            del state.lines[name]
            continue
        # a run keeps the rule it was fired under, but is not held up by those that may run beside others by now
        is_allowed = entry is not None and entry.job.overlap is Overlap.ALLOW
        under_way = (run for run in open_runs if not run.is_held)
        if any(not (is_allowed and run.job.overlap is Overlap.ALLOW) for run in under_way):
            continue
        waiting[0].is_held = False
        stages.begin(state, waiting[0], now, draft)
        state.turns[name] = None  # perhaps the next one too: this one may have closed at once, or bar nobody


def _before(state: State, entry: JobEntry) -> list[Run]:
    """Open runs that a new one may have to wait for."""
    open_runs = (state.runs[run_id] for run_id in entry.open_runs)
    return [run for run in open_runs if not run.awaits_release]
