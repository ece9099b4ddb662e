"""What must be true of any ledger, as queries that find where it is not. Knows nothing of who asks and when."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from schedulerd.adapters.ledger.rows import text
from schedulerd.adapters.ledger.whole import Whole

_SHOWN = 20  # violations of one rule that are told one by one


class Rule(NamedTuple):
    """A sentence about each row that the query finds; the columns named in `instants` are microseconds."""

    says: str
    query: str
    instants: tuple[int, ...] = ()


def violations(whole: Whole) -> Iterator[str]:
    """Every violation, a sentence each; many of one kind are counted."""
    yield from whole.damages()
    for rule in RULES:
        rows = iter(whole.connection.execute(rule.query))
        for row in islice(rows, _SHOWN):
            yield rule.says.format(*_shown(rule, row))
        more = sum(1 for _ in rows)
        if more:
            yield f"... and {more} more of this kind"


def _shown(rule: Rule, row: tuple[Any, ...]) -> list[Any]:
    return [text(value) if index in rule.instants else value for index, value in enumerate(row)]


_SUBTASK = "subtask {1} of run {0}"
_ATTEMPT = "attempt {2} of subtask {1} of run {0}"

LEADERSHIP = (
    Rule(
        "leadership has {0} rows, expected one",
        "SELECT found FROM (SELECT count(*) AS found FROM leadership) AS l WHERE found <> 1",
    ),
    Rule(
        "leadership is in epoch {0}, but the newest recorded epoch is {1}",
        "SELECT l.epoch, e.newest FROM leadership AS l"
        " CROSS JOIN (SELECT coalesce(max(epoch), 0) AS newest FROM epochs) AS e WHERE l.epoch <> e.newest",
    ),
    Rule(
        "run {0} is of epoch {1}, but only epoch {2} was reached",
        "SELECT r.id, r.epoch, l.epoch FROM runs AS r CROSS JOIN leadership AS l WHERE r.epoch > l.epoch",
    ),
    Rule(
        _ATTEMPT + " is of epoch {3}, but only epoch {4} was reached",
        "SELECT r.id, a.subtask, a.number, a.epoch, l.epoch FROM attempts AS a CROSS JOIN leadership AS l"
        " JOIN runs AS r ON r.n = a.run WHERE a.epoch > l.epoch",
    ),
    Rule(
        _ATTEMPT + " is of epoch {3}, the one before it of epoch {4}: epochs only grow",
        "SELECT r.id, a.subtask, a.number, a.epoch, b.epoch FROM attempts AS a"
        " JOIN attempts AS b ON b.run = a.run AND b.subtask = a.subtask AND b.number = a.number - 1"
        " JOIN runs AS r ON r.n = a.run WHERE a.epoch < b.epoch",
    ),
    Rule(
        "fence {0} was given to {1} attempts, expected one",
        "SELECT fence, count(*) FROM attempts GROUP BY fence HAVING count(*) > 1 ORDER BY fence",
    ),
    Rule(
        "the next fence is {0}, but {1} was given out already",
        "SELECT l.next_fence, a.highest FROM leadership AS l"
        " CROSS JOIN (SELECT max(fence) AS highest FROM attempts) AS a WHERE a.highest >= l.next_fence",
    ),
)

TABLE = (
    Rule(
        'job "{0}" is of version {1}, which is not recorded',
        "SELECT j.name, j.version FROM jobs AS j LEFT JOIN definitions AS d ON d.job = j.name AND d.version = j.version"
        " WHERE d.job IS NULL",
    ),
    Rule(
        'a pause names job "{0}", which is not in the table',
        "SELECT p.job FROM pauses AS p LEFT JOIN jobs AS j ON j.name = p.job WHERE j.name IS NULL",
    ),
    Rule(
        'the mark of job "{0}" is {1}, but its slots reach to {2}',
        "SELECT j.name, j.mark, s.newest FROM jobs AS j"
        " JOIN (SELECT job, max(last) AS newest FROM slots GROUP BY job) AS s ON s.job = j.name"
        " WHERE s.newest > j.mark",
        (1, 2),
    ),
)

SLOTS = (
    Rule(
        'slots of job "{0}" overlap: {1} to {2}, and the next from {3}',
        "SELECT job, first, last, following FROM (SELECT job, first, last,"
        " lead(first) OVER (PARTITION BY job ORDER BY first) AS following FROM slots) AS s WHERE following <= last",
        (1, 2, 3),
    ),
    Rule(
        'slot of job "{0}" at {1} is not one fire time of a run, nor a range of skips with reason and version',
        "SELECT job, first FROM slots WHERE CASE"
        " WHEN run IS NOT NULL THEN last = first AND count = 1 AND reason IS NULL"
        " ELSE last >= first AND count >= 1 AND (count > 1 OR last = first) AND (count = 1 OR last > first)"
        " AND reason IS NOT NULL AND version IS NOT NULL END = (1 = 0)",
        (1,),
    ),
    Rule(
        'the skips of job "{0}" at {1} are of version {2}, which is not recorded',
        "SELECT s.job, s.first, s.version FROM slots AS s"
        " LEFT JOIN definitions AS d ON d.job = s.job AND d.version = s.version"
        " WHERE s.run IS NULL AND s.version IS NOT NULL AND d.job IS NULL",
        (1,),
    ),
    Rule(
        'slot of job "{0}" at {1} is filled by run number {2}, which is not recorded or is of another fire time',
        "SELECT s.job, s.first, s.run FROM slots AS s LEFT JOIN runs AS r ON r.n = s.run AND r.job = s.job"
        " AND r.fire_time = s.first AND r.has_slot = 1 WHERE s.run IS NOT NULL AND r.n IS NULL",
        (1,),
    ),
    Rule(
        "run {0} has {1} slots, expected one",
        "SELECT r.id, count(s.job) FROM runs AS r LEFT JOIN slots AS s ON s.job = r.job AND s.first = r.fire_time"
        " AND s.run = r.n WHERE r.has_slot = 1 GROUP BY r.id HAVING count(s.job) <> 1",
    ),
)

RUNS = (
    Rule(
        "run {0} is of version {1}, which is not recorded",
        "SELECT r.id, r.version FROM runs AS r LEFT JOIN definitions AS d ON d.job = r.job AND d.version = r.version"
        " WHERE d.job IS NULL",
    ),
    Rule(
        "run {0} is {1}, which does not go with the time at which it ended ({2})",
        "SELECT id, state, coalesce(CAST(finished_at AS TEXT), 'none') FROM runs"
        " WHERE (finished_at IS NULL) <> (state IN ('pending', 'running'))",
    ),
    Rule(
        "run {0} counts {1} subtasks ({2} running, {3} succeeded, {4} failed), but has {5} ({6}, {7}, {8})",
        "SELECT * FROM (SELECT r.id, r.total, r.running, r.succeeded, r.failed, count(s.idx) AS t,"
        " count(s.idx) FILTER (WHERE s.state = 'running') AS u,"
        " count(s.idx) FILTER (WHERE s.state = 'succeeded') AS v,"
        " count(s.idx) FILTER (WHERE s.state IN ('failed', 'timeout', 'cancelled', 'lost')) AS w"
        " FROM runs AS r LEFT JOIN subtasks AS s ON s.run = r.n AND s.idx >= 0"
        " GROUP BY r.n, r.id, r.total, r.running, r.succeeded, r.failed) AS c"
        " WHERE total <> t OR running <> u OR succeeded <> v OR failed <> w",
    ),
    Rule(
        _SUBTASK + " is {2}, but the run is final",
        "SELECT r.id, s.idx, s.state FROM runs AS r JOIN subtasks AS s ON s.run = r.n"
        " WHERE r.finished_at IS NOT NULL AND s.state IN ('pending', 'running')",
    ),
    Rule(
        "subtask {1} is of run number {0}, which is not recorded",
        "SELECT s.run, s.idx FROM subtasks AS s LEFT JOIN runs AS r ON r.n = s.run WHERE r.n IS NULL",
    ),
    Rule(
        "a result is of run number {0}, which is not recorded",
        "SELECT s.run FROM results AS s LEFT JOIN runs AS r ON r.n = s.run WHERE r.n IS NULL",
    ),
)

ATTEMPTS = (
    Rule(
        "attempt {2} of subtask {1} of run number {0} is of a subtask that is not recorded",
        "SELECT a.run, a.subtask, a.number FROM attempts AS a"
        " LEFT JOIN subtasks AS s ON s.run = a.run AND s.idx = a.subtask WHERE s.run IS NULL",
    ),
    Rule(
        "attempt {2} of subtask {1} of run number {0} went to worker number {3}, which is not recorded",
        "SELECT a.run, a.subtask, a.number, a.boot FROM attempts AS a LEFT JOIN boots AS b ON b.n = a.boot"
        " WHERE b.n IS NULL",
    ),
    Rule(
        _SUBTASK + " has attempts up to number {2}, but {3} of them",
        "SELECT r.id, a.subtask, a.highest, a.found FROM (SELECT run, subtask, max(number) AS highest,"
        " count(*) AS found FROM attempts GROUP BY run, subtask) AS a JOIN runs AS r ON r.n = a.run"
        " WHERE a.highest <> a.found",
    ),
    Rule(
        "an outcome is of attempt {2} of subtask {1} of run number {0}, which is not recorded",
        "SELECT o.run, o.subtask, o.number FROM outcomes AS o LEFT JOIN attempts AS a"
        " ON a.run = o.run AND a.subtask = o.subtask AND a.number = o.number WHERE a.run IS NULL",
    ),
    Rule(
        _ATTEMPT + " ended as {3}, which is no end",
        "SELECT r.id, o.subtask, o.number, o.state FROM outcomes AS o JOIN runs AS r ON r.n = o.run"
        " WHERE o.state IN ('assigned', 'accepted', 'running')",
    ),
    Rule(
        "the outcome of attempt {2} of subtask {1} of run number {0} names output {3}, which is not recorded",
        "SELECT o.run, o.subtask, o.number, o.output FROM outcomes AS o LEFT JOIN outputs AS p ON p.n = o.output"
        " WHERE o.output IS NOT NULL AND p.n IS NULL",
    ),
    Rule(
        "output {0} belongs to {1} outcomes, expected one",
        "SELECT p.n, count(o.run) FROM outputs AS p LEFT JOIN outcomes AS o ON o.output = p.n"
        " GROUP BY p.n HAVING count(o.run) <> 1",
    ),
)

RULES = (*LEADERSHIP, *TABLE, *SLOTS, *RUNS, *ATTEMPTS)
