"""What of a run comes next: setup, the split, its subtasks, gather, teardown, its end. Knows no worker.

Steps of the run itself are subtasks with a negative index. What comes next is read off what is recorded of the run, so
a new leader goes on where the last one stopped:

    setup -> split command -> subtasks -> gather -> teardown -> final

Whatever fails, is cancelled or takes too long, leads to teardown, and from there to the end.
"""

from msgspec import structs

from schedulerd.core import ending, runs, splitting
from schedulerd.core.draft import Draft
from schedulerd.core.effects import RecordResult, RecordRound, RecordSubtasks
from schedulerd.core.state import Run, State, Subtask
from schedulerd.model.job import ListedItems
from schedulerd.model.moment import Moment
from schedulerd.model.run import Again, SubtaskState
from schedulerd.protocol.ids import GATHER, SETUP, SPLIT, TEARDOWN
from schedulerd.protocol.messages import Outcome

NO_WORKER = "no_worker"
FAIL_FAST = "fail_fast"
STEP_REASONS = {GATHER: "gather", SPLIT: "split", SETUP: "setup", TEARDOWN: "teardown"}


def begin(state: State, run: Run, now: Moment, draft: Draft) -> None:
    """The turn of the run has come: it gets its first part, or a retry what it is about."""
    if run.again is not None:
        _begin_round(state, run, run.again, now, draft)
        run.again, run.reason = None, ""
    advance(state, run, now, draft)


def advance(state: State, run: Run, now: Moment, draft: Draft) -> None:
    """Nothing of the run waits or runs: its next part begins, or it ends."""
    job = run.job
    if _goes_on(run):
        if job.setup is not None and not _is_over(run, SETUP):
            _give_step(state, run, SETUP, now, draft)
            return
        if not run.is_split and not _split(state, run, now, draft):
            return
        if run.open_subtasks:
            give_open(state, run)
            return
        _judge(run)
        if job.gather is not None and not _is_over(run, GATHER):
            _give_step(state, run, GATHER, now, draft)
            return
    else:
        call_off(state, run, run.cancel_reason if run.is_cancelled else run.reason, draft)
    if _owes_teardown(run):
        _give_step(state, run, TEARDOWN, now, draft)
    else:
        runs.close(state, run, now, draft)


def due(run: Run) -> list[Subtask]:
    """What of a run that was found in the ledger may be given out now: the open part of the stage it is in."""
    held = {attempt.subtask.index for attempt in run.live.values()}
    steps = [run.subtasks[index] for index in (SETUP, SPLIT) if index in run.subtasks]
    for step in steps:
        if not step.state.is_final:
            return [] if step.index in held else [step]
    if _goes_on(run) and not run.is_split:
        return []  # what it is made of has yet to be found out
    if run.open_subtasks:
        return [part for part in run.subtasks.values() if _is_open(part) and part.index not in held]
    steps = [run.subtasks[index] for index in (GATHER, TEARDOWN) if index in run.subtasks]
    coming = next((step for step in steps if not step.state.is_final), None)
    return [] if coming is None or coming.index in held else [coming]


def resume(state: State, run: Run, now: Moment, draft: Draft) -> None:
    """After a takeover: what was called off is over, and a run that neither waits nor runs goes on to its next part."""
    if run.is_cancelled:
        call_off(state, run, run.cancel_reason, draft)
    elif run.job.fail_fast and any(_has_failed(part) and part.index >= 0 for part in run.subtasks.values()):
        _end_others(state, run, draft)
    _go_on(state, run, now, draft)


def add_parts(run: Run, parts: list[splitting.Part], now: Moment, draft: Draft) -> None:
    """The list of ordinary subtasks is known: `parts`, maybe none."""
    run.is_split = True
    run.open_subtasks = len(parts)
    for index, item in parts:
        run.subtasks[index] = Subtask(index, item, waiting_since=now.mono)
    draft.subtasks.append(RecordSubtasks(run.id, tuple((index, item, None) for index, item in parts), True))
    if not parts:
        draft.events.append(
            runs.event("no_items", now, run=run, detail="the split has no items: nothing to run")
        )


def settle_subtask(
    state: State, run: Run, subtask: Subtask, final: SubtaskState, reason: str, now: Moment, draft: Draft
) -> None:
    """A subtask or step is final; the last one of its stage brings the next."""
    _settle(run, subtask, final, reason, draft)
    if final is not SubtaskState.SUCCEEDED:
        _look_whether_to_fail_fast(state, run, subtask, now, draft)
    if not run.live:
        _go_on(state, run, now, draft)


def step_succeeded(
    state: State, run: Run, step: Subtask, outcome: Outcome, now: Moment, draft: Draft
) -> None:
    """A step of the run itself succeeded: the split command's list becomes subtasks, gather's output the result."""
    if step.index == GATHER:
        draft.results.append(RecordResult(run.id, outcome.stdout.head + outcome.stdout.tail))
    elif step.index == SPLIT and not run.is_cancelled:
        try:
            parts = _listed(run, outcome)
        except splitting.SplitError as error:
            draft.events.append(runs.event("split_failed", now, run=run, subtask=SPLIT, detail=str(error)))
            draft.outcomes[-1] = structs.replace(outcome, detail=str(error))  # where people look first
            settle_subtask(state, run, step, SubtaskState.FAILED, "split", now, draft)
            return
        add_parts(run, parts, now, draft)
    settle_subtask(state, run, step, SubtaskState.SUCCEEDED, "", now, draft)


def give_up(state: State, run: Run, subtasks: list[Subtask], now: Moment, draft: Draft) -> None:
    """No able worker was found in time for these (none: for the run itself), which are in no queue any more."""
    for subtask in subtasks:
        _settle(run, subtask, SubtaskState.FAILED, NO_WORKER, draft)
    if not subtasks:
        run.reason = run.reason or NO_WORKER
    else:
        _look_whether_to_fail_fast(state, run, subtasks[0], now, draft)
    _go_on(state, run, now, draft)


def call_off(state: State, run: Run, reason: str, draft: Draft) -> None:
    """What of the run waits for a worker or for its turn is final without an attempt; not so teardown."""
    runs.take_waiting(state, run)
    held = {attempt.subtask.index for attempt in run.live.values()}
    for subtask in run.subtasks.values():
        if not subtask.state.is_final and subtask.index != TEARDOWN and subtask.index not in held:
            _settle(run, subtask, SubtaskState.CANCELLED, reason, draft)


def give_open(state: State, run: Run) -> None:
    """Every ordinary subtask that is not final waits for a worker."""
    for subtask in run.subtasks.values():
        if _is_open(subtask):
            give(run, subtask)
    state.enlist(run)


def give(run: Run, subtask: Subtask) -> None:
    """The subtask waits for a worker: any, or its own."""
    if subtask.pinned is not None:
        run.pinned.setdefault(subtask.pinned, type(run.pending)()).append(subtask)
    else:
        run.pending.append(subtask)


def has_enough(run: Run) -> bool:
    """As many of its subtasks have succeeded as the job's `need` asks for."""
    ends = [part.state is SubtaskState.SUCCEEDED for part in run.subtasks.values() if part.index >= 0]
    return sum(ends) >= splitting.needed(run.job.need, len(ends))


def is_at_teardown(run: Run) -> bool:
    """All but teardown is over."""
    at_work = [attempt.subtask.index for attempt in run.live.values()]
    return TEARDOWN in at_work or any(subtask.index == TEARDOWN for subtask in run.pending)


# ---- inside


def _goes_on(run: Run) -> bool:
    """Its subtasks and gather may still come: it was not cancelled, and could be set up and split so far."""
    if run.is_cancelled or _has_failed(run.subtasks.get(SETUP)):
        return False
    return run.is_split or not run.reason


def _go_on(state: State, run: Run, now: Moment, draft: Draft) -> None:
    if run.id in state.runs and not run.live and not run.is_waiting:
        advance(state, run, now, draft)


def _owes_teardown(run: Run) -> bool:
    """It has one that has not ended, and has begun: whatever its attempts did may have to be cleared away."""
    if run.job.teardown is None or run.is_held or _is_over(run, TEARDOWN):
        return False
    if TEARDOWN in run.subtasks or not (run.is_cancelled or run.reason):
        return True
    return any(subtask.attempts for subtask in run.subtasks.values())


def _split(state: State, run: Run, now: Moment, draft: Draft) -> bool:
    """Give the run its subtasks; False when they are known only later, from a command or when workers are known."""
    parts = splitting.parts_of(run.job)
    if parts is not None:
        add_parts(run, parts, now, draft)
        return True
    if isinstance(run.job.split, ListedItems):
        _give_step(state, run, SPLIT, now, draft)
    else:
        run.awaits_workers = True
        state.enlist(run)
    return False


def _listed(run: Run, outcome: Outcome) -> list[splitting.Part]:
    """The subtasks that a split command's output stands for. Raises SplitError."""
    assert isinstance(run.job.split, ListedItems)
    out = outcome.stdout
    if out.dropped:
        size = len(out.head) + len(out.tail) + out.dropped
        raise splitting.SplitError(f"the split command printed {size} bytes, more than can be sent")
    items = splitting.items_in(out.head + out.tail, run.job.max_items)
    return splitting.chunked(items, run.job.split.chunk)


def _give_step(state: State, run: Run, index: int, now: Moment, draft: Draft) -> None:
    step = run.subtasks.get(index)
    if step is None:
        step = run.subtasks[index] = Subtask(index, waiting_since=now.mono)
        draft.subtasks.append(RecordSubtasks(run.id, ((index, None, None),), run.is_split))
    run.pending.append(step)
    state.enlist(run)


def _settle(run: Run, subtask: Subtask, final: SubtaskState, reason: str, draft: Draft) -> None:
    subtask.state = final
    is_success = final is SubtaskState.SUCCEEDED
    draft.states.setdefault(run.id, []).append((subtask.index, final, "" if is_success else reason))
    if subtask.index >= 0:
        run.open_subtasks -= 1
    if not is_success and not run.reason:
        run.reason = reason_of(run, subtask.index, reason)


def reason_of(run: Run, subtask: int, reason: str) -> str:
    """Why the run fails with this subtask, which has no success for this reason; empty if it need not fail by it."""
    if subtask >= 0:
        return reason if run.job.need is None else ""
    return reason if reason == NO_WORKER else STEP_REASONS[subtask]


def _judge(run: Run) -> None:
    """All subtasks are final: were they enough?"""
    if not run.reason and not has_enough(run):
        tried = any(subtask.attempts for subtask in run.subtasks.values() if subtask.index >= 0)
        run.reason = "need" if tried else NO_WORKER


def _look_whether_to_fail_fast(state: State, run: Run, subtask: Subtask, now: Moment, draft: Draft) -> None:
    is_first = run.job.fail_fast and not run.is_failing_fast and not run.is_cancelled
    if is_first and subtask.index >= 0 and _has_failed(subtask) and run.open_subtasks:
        text = f"{subtask.state.value}: the {run.open_subtasks} others that are not final are ended"
        draft.events.append(runs.event(FAIL_FAST, now, run=run, subtask=subtask.index, detail=text))
        _end_others(state, run, draft)


def _end_others(state: State, run: Run, draft: Draft) -> None:
    """One subtask has failed: what waits is over at once, what runs is asked to end."""
    run.is_failing_fast = True
    if not run.open_subtasks:
        return
    for other in runs.take_waiting(state, run):
        _settle(run, other, SubtaskState.CANCELLED, FAIL_FAST, draft)
    if run.live:
        state.cancelled[run.id] = run
        ending.end(state, run, draft)


def _begin_round(state: State, run: Run, again: Again, now: Moment, draft: Draft) -> None:
    """Subtasks that the retry is about are pending; each round has its own setup, gather and teardown."""
    pending = []
    for subtask in run.subtasks.values():
        is_done = subtask.state is SubtaskState.SUCCEEDED
        is_kept = subtask.index == SPLIT or (subtask.index >= 0 and again is Again.FAILED)
        if is_done and is_kept:
            continue
        subtask.state = SubtaskState.PENDING
        subtask.failures = subtask.losses = 0
        subtask.is_fresh, subtask.waiting_since = True, now.mono
        pending.append(subtask.index)
        if subtask.index >= 0:
            run.open_subtasks += 1
    draft.rounds.append(RecordRound(run.id, state.next_fence, tuple(pending)))


def _is_open(subtask: Subtask) -> bool:
    return subtask.index >= 0 and not subtask.state.is_final


def _is_over(run: Run, index: int) -> bool:
    step = run.subtasks.get(index)
    return step is not None and step.state.is_final


def _has_failed(subtask: Subtask | None) -> bool:
    return subtask is not None and subtask.state.is_final and subtask.state is not SubtaskState.SUCCEEDED
