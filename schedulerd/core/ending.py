"""Asking attempts to end: whose end was asked for, and the messages that say so. Changes nothing of a run."""

from schedulerd.core.draft import Draft
from schedulerd.core.state import Run, State
from schedulerd.protocol.ids import TEARDOWN
from schedulerd.protocol.messages import Cancellation


def is_called_off(run: Run, subtask: int) -> bool:
    """Nothing more of this subtask is given out, and what runs of it is asked to end; never so for teardown."""
    if run.is_cancelled:
        return subtask != TEARDOWN
    return run.is_failing_fast and subtask >= 0


def end(state: State, run: Run, draft: Draft) -> None:
    """Ask for the end of the attempts that are called off; asked again with each beat until they have ended."""
    for attempt in run.live.values():
        if not is_called_off(run, attempt.subtask.index):
            continue
        worker = state.workers_by_id.get(attempt.worker)
        if worker is None or worker.nonce != attempt.nonce:
            continue
        mail = draft.to(worker)
        asked = Cancellation(attempt.id, run.is_killed)
        if asked not in mail.cancels:  # a command and a beat may come in one step
            mail.cancels[asked] = None
            if not attempt.is_accepted:
                mail.revokes.append(attempt.id)
