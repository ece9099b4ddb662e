"""P2: nothing starts twice. P3: the record says what the job itself has seen. And what may not run at once did not."""

from collections import defaultdict

from simulation.books import Books
from simulation.table import POOLS
from simulation.witness import Sight

from schedulerd.model.job import OnLost, Overlap

MAX_LOSSES = 2  # on_lost = "retry"

# What the ledger may say of an attempt whose process ended like this. `lost`: nobody could tell.
TOLD = {
    "succeeded": ("succeeded", "lost"),
    "failed": ("failed", "lost", "cancelled"),
    "timeout": ("timeout", "lost", "cancelled"),
    "killed": ("cancelled", "lost"),
}
NO_WORD = ("lost", "unstarted")  # these give way to nothing and replace nothing


def check(books: Books) -> None:
    """Everything about processes."""
    _starts(books)
    _results(books)
    _overlaps(books)
    _pools(books)


def _starts(books: Books) -> None:
    by_subtask: dict[tuple[str, str, int], list[Sight]] = defaultdict(list)
    for attempt, sights in books.witness.by_attempt.items():
        if len(sights) > 1:
            where = [(sight.worker, round(sight.started, 3)) for sight in sights]
            books.bad("P2", f"{attempt} started {len(sights)} times: {where}")
        for sight in sights:
            if sight.late_ms >= 0:
                books.bad("expiry", f"{attempt} began {sight.late_ms} ms after its expiry")
        if attempt not in books.attempts:
            books.bad("P2", f"{attempt} started and is not in the ledger")
        run, subtask, _ = attempt.rsplit("~", 2)
        by_subtask[(run, subtask, books.chronicle.round_of(attempt))].extend(sights)
    for (run, subtask, _), sights in by_subtask.items():
        job = books.job_of(run)
        if len(sights) > 1 and job is not None:
            _repeated(books, f"{run}~{subtask}", sights, job.on_lost, job.retry_max)


def _repeated(books: Books, subtask: str, sights: list[Sight], on_lost: OnLost, retry_max: int) -> None:
    # as first recorded: what a lost one's worker tells later gives the ledger a better word, and no more retries
    earlier = [sight.attempt for sight in sorted(sights, key=lambda sight: sight.started)][:-1]
    ends = {attempt: books.chronicle.ends.get(attempt, "open") for attempt in earlier}
    failures = sum(end in ("failed", "timeout") for end in ends.values())
    losses = sum(end in ("lost", "unstarted", "cancelled", "succeeded", "open") for end in ends.values())
    if failures > retry_max:
        books.bad("P2", f"{subtask} was retried {failures} times, retry.max is {retry_max}: {ends}")
    if losses > (MAX_LOSSES if on_lost is OnLost.RETRY else 0):
        books.bad("P2", f"{subtask} ran again without a known failure ({on_lost.value}): {ends}")


def _results(books: Books) -> None:
    for attempt, row in books.attempts.items():
        told = "open" if row.is_open else row.state
        sights = books.witness.by_attempt.get(attempt, [])
        if not sights:
            if told not in ("unstarted", "cancelled", "lost"):
                books.bad("P3", f"{attempt} is {told} in the ledger and never started")
        elif told not in TOLD.get(sights[0].end, ()):
            seen = sights[0].end or "running"
            books.bad("P3", f"{attempt} is {told} in the ledger, its witness says {seen}")
        elif told == "succeeded" and row.stdout != sights[0].output:
            books.bad("P3", f"{attempt}: the ledger's output is not the witness's")
    for attempt, word in books.chronicle.words.items():
        known = books.attempts.get(attempt)
        is_started = (
            attempt in books.witness.by_attempt
        )  # else it was called off before, by two words for the same
        if word in NO_WORD or not is_started:
            continue
        if known is None or known.state != word:
            text = "not there" if known is None else known.state
            books.bad("P3", f"a worker has kept that {attempt} is {word}, in the ledger it is {text}")


def _overlaps(books: Books) -> None:
    by_job: dict[str, list[Sight]] = defaultdict(list)
    for sight in books.witness.sights:
        by_job[sight.job].append(sight)
    for name, sights in by_job.items():
        last: Sight | None = None  # of those that are guarded, the one that ends last
        for sight in sorted(sights, key=lambda sight: sight.started):
            job = books.job_of(_run(sight))
            if job is None or job.overlap is Overlap.ALLOW:
                continue
            is_other = last is not None and _run(last) != _run(sight)
            if last is not None and is_other and (last.ended is None or sight.started < last.ended):
                text = f"{sight.attempt} began at {sight.started:.3f}, {last.attempt} ended at {last.ended}"
                books.bad("overlap", f"{name}: {text}")
            if last is None or (sight.ended or 1e9) > (last.ended or 1e9):
                last = sight


def _pools(books: Books) -> None:
    """Never more processes at once of all jobs in a pool than its number."""
    for pool in POOLS:
        moments: list[tuple[float, int, str]] = []
        for sight in books.witness.sights:
            job = books.job_of(_run(sight))
            if job is not None and pool.name in job.pools:
                moments.append((sight.started, 1, sight.attempt))
                moments.append((1e9 if sight.ended is None else sight.ended, -1, sight.attempt))
        count = 0
        for when, change, attempt in sorted(moments):  # at one moment ends come first
            count += change
            if count > pool.max:
                books.bad(
                    "pool", f"{pool.name}: {attempt} at {when:.3f} is number {count}, max is {pool.max}"
                )


def _run(sight: Sight) -> str:
    return sight.attempt.rsplit("~", 2)[0]
