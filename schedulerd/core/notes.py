"""What of an attempt is worth an event: everything but the ordinary course. Decides nothing about attempts."""

from schedulerd.core.draft import Draft
from schedulerd.core.runs import event
from schedulerd.core.state import Attempt, State
from schedulerd.model.moment import Moment
from schedulerd.protocol.messages import Outcome

REVOKED = "attempt_revoked"
RESENT = "dispatch_resent"


def ended_oddly(state: State, attempt: Attempt, outcome: Outcome, now: Moment, draft: Draft) -> None:
    """An attempt is lost or never started, by its worker's word or the leader's conclusion."""
    kind = "attempt_fenced" if outcome.reason == "fenced" else f"attempt_{outcome.state}"
    _note(kind, state, attempt, why(outcome), now, draft)


def resent(state: State, attempt: Attempt, now: Moment, draft: Draft) -> None:
    """Its order is sent once more; told at the first time, the others are only counted."""
    draft.count("dispatches_resent")
    if attempt.sends == 1:
        text = "the worker has not answered yet; it starts at most once however often this is sent"
        _note(RESENT, state, attempt, text, now, draft)


def given_again(state: State, attempt: Attempt, outcome: Outcome, now: Moment, draft: Draft) -> None:
    """Its subtask waits for a worker once more."""
    subtask, job = attempt.subtask, attempt.run.job
    number = subtask.attempts
    if outcome.state == "lost":
        which = f"loss {subtask.losses}, on_lost is retry"
    elif outcome.state == "unstarted":
        which = (
            f"nothing has run yet, for at most {job.dispatch_timeout.total_seconds():g} s (dispatch_timeout)"
        )
    else:
        which = f"retry {subtask.failures} of {job.retry_max}"
    text = f"after {outcome.state}, as attempt {number + 1}: {which}"
    _note("retried", state, attempt, text, now, draft)
    draft.count("retries", outcome.state)


def revoked(state: State, attempt: Attempt, now: Moment, draft: Draft) -> None:
    """The worker is asked for its word on an attempt that it never accepted; told at the first asking."""
    draft.count("revocations")
    if attempt.resend_at <= attempt.expires_at:
        _note(REVOKED, state, attempt, "not accepted before its expiry: the worker is asked", now, draft)


def why(outcome: Outcome) -> str:
    """Reason and detail of an end, without saying a word twice."""
    words = [] if outcome.reason in ("", outcome.state) else [outcome.reason]
    return ": ".join([*words, *([outcome.detail] if outcome.detail else [])])


def _note(kind: str, state: State, attempt: Attempt, detail: str, now: Moment, draft: Draft) -> None:
    worker = state.workers_by_id.get(attempt.worker)
    name = worker.name if worker is not None and worker.name else attempt.worker
    told = event(
        kind, now, run=attempt.run, subtask=attempt.subtask.index, attempt=attempt, worker=name, detail=detail
    )
    draft.events.append(told)
