"""After the quiet end: nothing stuck, nothing left over (P6), epochs as they were (P4), all accounted for (P7)."""

import re
from collections import Counter

from simulation.books import Books

from schedulerd.core.tally import GROWTH

COUNT = re.compile(r"([\d,]+) times since")
UNTOLD = ("worker_suspect", "worker_lost", "late_result", "unknown_result", "rejected")


def check(books: Books) -> None:
    """Everything that is not about a slot or a process."""
    _stuck(books)
    _left_over(books)
    _epochs(books)
    _accounted(books)
    _counted(books)
    _promises(books)
    if books.plan.is_calm:
        _calm(books)


def _stuck(books: Books) -> None:
    for run in books.runs.values():
        if run.state in ("pending", "running"):
            books.bad("stuck", f"{run.id} ({run.cause}) is {run.state} long after the last fault")
    for run_id, index, state in books.ask(
        "SELECT id, idx, subtasks.state FROM subtasks JOIN runs ON n = run"
        " WHERE runs.finished_at IS NOT NULL AND subtasks.state IN ('pending', 'running')"
    ):
        books.bad("stuck", f"{run_id} is final and its subtask {index} is {state}")
    for worker in books.world.workers:
        if worker.is_alive and worker.state.ended:
            books.bad("stuck", f"{worker.name} has results that nobody acknowledges")


def _left_over(books: Books) -> None:
    """P6: back to the baseline: what memory holds of work is gone with the work."""
    for worker in books.world.workers:
        if not worker.is_alive:
            books.bad("P6", f"{worker.name} does not live at the end")
            continue
        state = worker.state
        held = (state.attempts, state.waiting, state.guarded, state.refused)
        if any(held) or state.live or state.ended or state.ended_bytes or state.digest:
            books.bad("P6", f"{worker.name} still holds {held}, {state.live} live, {state.ended} ended")
    for leader in books.world.leaders:
        if leader.state is None:
            continue
        s = leader.state
        for name in (
            "runs",
            "attempts",
            "waiting",
            "cancelled",
            "held",
            "held_turns",
            "lines",
            "turns",
            "pool_use",
        ):
            if getattr(s, name):
                books.bad("P6", f"{leader.name} still holds {name}: {getattr(s, name)}"[:300])
        for worker_seen in s.workers.values():
            if worker_seen.attempts or worker_seen.unaccepted or worker_seen.digest:
                books.bad(
                    "P6", f"{leader.name} still holds attempts of {worker_seen.id}: {worker_seen.attempts}"
                )


def _epochs(books: Books) -> None:
    recorded = books.ask("SELECT epoch, leader FROM epochs ORDER BY epoch")
    if recorded != books.chronicle.epochs:
        books.bad("P4", f"the ledger tells of epochs {recorded}, there were {books.chronicle.epochs}")


def _accounted(books: Books) -> None:
    """P7: each loss, each retry and each attempt that was not started says why."""
    told = {attempt for _, attempt, _, _ in books.events("attempt_lost", "attempt_unstarted", "late_result")}
    for attempt, row in books.attempts.items():
        if row.state in ("lost", "unstarted") and not row.reason:
            books.bad("P7", f"{attempt} is {row.state} and nobody says why")
        # the leader's own conclusion is an event; a worker's word has a reason of its own
        if row.state in ("lost", "unstarted") and row.reason == row.state and not row.detail:
            books.bad("P7", f"{attempt} is {row.state} by the leader's conclusion without a word")
        first = books.chronicle.ends.get(attempt)
        if first == "lost" and row.state != "lost" and attempt not in told:
            books.bad("P7", f"{attempt} was lost and is {row.state}, and no event tells of it")
        if row.number > 1 and f"{row.run}~{row.subtask}~{row.number - 1}" not in books.chronicle.ends:
            books.bad("P7", f"{attempt} was given out, and nobody knows how the one before it ended")
    for run in books.runs.values():
        if run.state in ("failed", "cancelled") and not run.reason:
            books.bad("P7", f"{run.id} is {run.state} and nobody says why")
    for event in books.events("rejected"):
        books.bad("P7", f"an event was rejected: {event}")


def _counted(books: Books) -> None:
    """P7: what workers have counted is told, also what they counted while nobody led."""
    holder = books.world.holder
    if holder is None or holder.state is None:
        return
    told: Counter[tuple[str, str]] = Counter()
    for kind, _, worker, detail in books.events(*(kind for kind, _ in GROWTH.values())):
        found = COUNT.match(detail)
        told[kind, worker or ""] += int(found[1].replace(",", "")) if found else 1
    for (kind, _, name), one in holder.state.tally.items():
        told[kind, name] += one.count
    for worker in holder.state.workers.values():
        for field, (kind, _) in GROWTH.items():
            count = getattr(worker.counts, field, 0)
            if count > told[kind, worker.name] and not told[kind, ""]:
                books.bad("P7", f"{worker.name} counts {count} {field}, told are {told[kind, worker.name]}")


def _promises(books: Books) -> None:
    for run in books.chronicle.promised:
        if run not in books.runs:
            books.bad("promise", f"a caller was told of {run}, which is not in the ledger")


def _calm(books: Books) -> None:
    """Without a fault nothing is lost, late or sent back."""
    for attempt, row in books.attempts.items():
        if row.state in ("lost", "unstarted"):
            books.bad("calm", f"{attempt} is {row.state} ({row.reason}) though nothing went wrong")
    for event in books.events(*UNTOLD):
        books.bad("calm", f"event {event} though nothing went wrong")
