"""A run goes through its stages once in each round: setup, subtasks, gather, teardown; and ends as its job says."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from simulation.books import Books, RunRow
from simulation.witness import Sight

from schedulerd.core.splitting import needed
from schedulerd.model.job import Job
from schedulerd.protocol.ids import GATHER, SETUP, SPLIT, TEARDOWN

BODY = 0  # stands for all ordinary subtasks
STAGES = (SETUP, SPLIT, BODY, GATHER, TEARDOWN)
BAD = ("failed", "timeout", "cancelled", "lost")


@dataclass
class Round:
    """The processes of a run in one of its rounds, by stage, and how its attempts ended as first recorded."""

    sights: dict[int, list[Sight]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))


def check(books: Books) -> None:
    """Everything about the order of things within a run."""
    rounds: dict[str, dict[int, Round]] = defaultdict(lambda: defaultdict(Round))
    for attempt in books.attempts:
        run, subtask, _ = attempt.rsplit("~", 2)
        one = rounds[run][books.chronicle.round_of(attempt)]
        stage = min(int(subtask), BODY)
        end = books.chronicle.ends.get(attempt, "open")
        one.ends[stage].append(end)
        # what a lost one still does nobody can know
        one.sights[stage] += [sight for sight in books.witness.by_attempt.get(attempt, []) if end != "lost"]
    states = _states(books)
    for run in books.runs.values():
        job = books.job_of(run.id)
        if job is None or run.state in ("pending", "running"):
            continue
        own = rounds.get(run.id, {})
        for number, one in own.items():
            _in_order(books, f"round {number} of {run.id}", one)
            _once(books, f"round {number} of {run.id}", one)
            _narrow(books, run.id, job, one.sights[BODY])
        newest = own.get(books.chronicle.newest_round(run.id), Round())
        _complete(books, run, job, states.get(run.id, {}), newest)
        _verdict(books, run, job, states.get(run.id, {}))
    _results(books)


def _states(books: Books) -> dict[str, dict[int, tuple[str, str]]]:
    """(state, reason) of every subtask."""
    found: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for run, index, state, reason in books.ask(
        "SELECT id, idx, subtasks.state, subtasks.reason FROM subtasks JOIN runs ON n = run"
    ):
        found[run][index] = (state, reason)
    return found


def _in_order(books: Books, what: str, one: Round) -> None:
    """A stage begins when nothing of the one before runs any more."""
    last: Sight | None = None  # of all stages before, the process that ended last
    for stage in STAGES:
        for sight in one.sights[stage]:
            if last is not None and sight.started < (last.ended or 1e9):
                text = f"{sight.attempt} began at {sight.started:.3f}, {last.attempt} ended at {last.ended}"
                books.bad("stages", f"{what}: {text}")
        last = _latest((*one.sights[stage], *([last] if last is not None else [])))


def _latest(sights: Iterable[Sight]) -> Sight | None:
    return max(sights, key=lambda sight: sight.ended or 1e9, default=None)


def _once(books: Books, what: str, one: Round) -> None:
    """Once is one success; nothing follows it."""
    for stage in (SETUP, SPLIT, GATHER, TEARDOWN):
        if one.ends[stage].count("succeeded") > 1:
            books.bad("once", f"{what}: step {stage} succeeded more than once: {one.ends[stage]}")
        elif "succeeded" in one.ends[stage][:-1]:
            books.bad("once", f"{what}: step {stage} was given out after its success: {one.ends[stage]}")


def _narrow(books: Books, run: str, job: Job, sights: list[Sight]) -> None:
    """Never more processes at once than `max_parallel`."""
    if job.max_parallel is None:
        return
    moments = [(sight.started, 1) for sight in sights]
    moments += [(1e9 if sight.ended is None else sight.ended, -1) for sight in sights]
    count = 0
    for when, change in sorted(moments):  # at one moment ends come first
        count += change
        if count > job.max_parallel:
            books.bad("width", f"{run}: {count} processes at {when:.3f}, max_parallel is {job.max_parallel}")


def _complete(books: Books, run: RunRow, job: Job, states: dict[int, tuple[str, str]], newest: Round) -> None:
    """Steps that a run owes have come, and what failed to come says why."""
    has_work = any(newest.ends[stage] for stage in STAGES if stage != TEARDOWN)
    is_ended = run.state == "cancelled" or run.reason == "timeout"
    if job.teardown is not None and (has_work or run.state == "succeeded"):
        state, reason = states.get(TEARDOWN, ("absent", ""))
        if not newest.ends[TEARDOWN] and reason != "no_worker":
            books.bad(
                "teardown", f"{run.id} is {run.state} ({run.reason}), its teardown is {state} ({reason})"
            )
    body = {index: state for index, (state, _) in states.items() if index >= 0}
    is_split = bool(body) or states.get(SPLIT, ("", ""))[0] == "succeeded"
    is_set_up = job.setup is None or states.get(SETUP, ("", ""))[0] == "succeeded"
    if job.gather is not None and is_split and is_set_up and not is_ended:
        state, reason = states.get(GATHER, ("absent", ""))
        if not newest.ends[GATHER] and reason != "no_worker":
            books.bad("gather", f"{run.id} is {run.state} ({run.reason}), its gather is {state} ({reason})")


def _verdict(books: Books, run: RunRow, job: Job, states: dict[int, tuple[str, str]]) -> None:
    """It succeeded if enough of it did."""
    body = [state for index, (state, _) in states.items() if index >= 0]
    has_enough = body.count("succeeded") >= needed(job.need, len(body))
    bad_steps = [index for index, (state, _) in states.items() if index < 0 and state in BAD]
    text = f"{run.id} is {run.state} ({run.reason}): {body}, steps {states}"
    if run.state == "succeeded" and (not has_enough or bad_steps):
        books.bad("verdict", text)
    if run.reason == "need" and has_enough:
        books.bad("verdict", text)
    if run.state == "failed" and has_enough and not bad_steps and run.reason not in ("timeout", "no_worker"):
        books.bad("verdict", text)
    if run.reason == "timeout" and job.run_timeout is None and "timeout" not in body:
        books.bad("verdict", text)


def _results(books: Books) -> None:
    """What gather printed in the newest round is the run's result."""
    told = dict(books.ask("SELECT id, result FROM results JOIN runs ON n = run"))
    expected: dict[str, bytes] = {}
    for attempt, row in books.attempts.items():  # in order of their numbers
        is_newest = books.chronicle.round_of(attempt) == books.chronicle.newest_round(row.run)
        if row.subtask == GATHER and is_newest and books.chronicle.ends.get(attempt) == "succeeded":
            expected[row.run] = row.stdout
    for run in (*told, *expected):
        if told.get(run) != expected.get(run):
            books.bad("result", f"{run}: {told.get(run)!r} is recorded, gather printed {expected.get(run)!r}")
