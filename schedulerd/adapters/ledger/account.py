"""What `why` asks of a ledger: the row of one fire time, who was open then, what was noted about a run.

Reads only, in the caller's transaction. What it means is said elsewhere.
"""

from typing import Any

from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.events import EVENT, beside, event
from schedulerd.adapters.ledger.rows import text
from schedulerd.protocol import api_accounts as accounts
from schedulerd.protocol import api_types as shapes

_OPEN_SHOWN = 10
_EVENTS_SHOWN = 1000
_LEADERSHIPS_SHOWN = 20

_SLOT = """
SELECT s.first, s.last, s.count, s.reason, runs.id, d.document
FROM slots AS s LEFT JOIN runs ON runs.n = s.run LEFT JOIN definitions AS d ON d.job = s.job AND d.version = s.version
WHERE s.job = ? AND s.first <= ? ORDER BY s.first DESC LIMIT 1
"""
_OPEN = """
SELECT id FROM runs WHERE job = ?1 AND created_at <= ?2 AND coalesce(finished_at, ?2) >= ?2 AND fire_time <> ?2
ORDER BY n LIMIT ?3
"""
_RUN = """
SELECT r.created_at, r.has_slot, r.asked_by, d.document, r.job, r.epoch, r.finished_at
FROM runs AS r JOIN definitions AS d ON d.job = r.job AND d.version = r.version WHERE r.id = ?
"""


def fire_account(connection: Connection, job: str, at: int) -> accounts.FireAccount:
    """Everything about the instant `at` (microseconds) of a job; empty where nothing is known."""
    facts: dict[str, Any] = {}
    row = connection.execute(_SLOT, (job, at)).fetchone()
    if row is not None and row[1] >= at:
        first, last, count, reason, run, document = row
        facts = {"first": text(first), "last": text(last), "count": count, "reason": reason}
        facts |= {"run_id": run, "definition_json": None if document is None else document.encode()}
    counted = connection.execute("SELECT counted_from FROM jobs WHERE name = ?", (job,)).fetchone()
    epoch = connection.execute(
        "SELECT epoch, leader, since FROM epochs WHERE since >= ? ORDER BY epoch LIMIT 1", (at,)
    ).fetchone()
    paused = _newest(connection, "type = 'paused' AND time <= ?2 ORDER BY time DESC, seq DESC", (job, at))
    resumed = None
    if paused is not None:
        later = (
            "type = 'resumed' AND time >= (SELECT time FROM events WHERE seq = ?2) AND seq > ?2 ORDER BY time"
        )
        resumed = _newest(connection, later, (job, paused.seq))
    return accounts.FireAccount(
        **facts,
        counted_from=None if counted is None else text(counted[0]),
        paused=paused,
        resumed=resumed,
        open_runs=[run for (run,) in connection.execute(_OPEN, (job, at, _OPEN_SHOWN))],
        leadership=None
        if epoch is None
        else accounts.Leadership(epoch=epoch[0], leader=epoch[1], since=text(epoch[2])),
    )


def run_account(connection: Connection, detail: shapes.RunDetail) -> accounts.RunAccount:
    """What the ledger knows about a recorded run besides `detail`."""
    row = connection.execute(_RUN, (detail.id,)).fetchone()
    created_at, has_slot, asked_by, document, job, epoch, finished_at = row
    rows = connection.execute(
        f"{EVENT} WHERE job = ? AND run = ? ORDER BY seq LIMIT ?", (job, detail.id, _EVENTS_SHOWN + 1)
    ).fetchall()
    leaderships = connection.execute(
        "SELECT epoch, leader, since FROM epochs WHERE epoch >= ? ORDER BY epoch LIMIT ?",
        (epoch, _LEADERSHIPS_SHOWN),
    ).fetchall()
    workers = dict.fromkeys(one.worker for part in detail.subtasks_detail for one in part.attempts)
    ahead = connection.execute(_OPEN, (job, created_at, _OPEN_SHOWN))
    return accounts.RunAccount(
        detail=detail,
        created_at=text(created_at),
        has_slot=bool(has_slot),
        asked_by=asked_by,
        definition_json=document.encode(),
        events=[event(row) for row in rows[:_EVENTS_SHOWN]],
        is_more=len(rows) > _EVENTS_SHOWN,
        beside=beside(connection, created_at, finished_at, list(workers)),
        leaderships=[
            accounts.Leadership(epoch=number, leader=leader, since=text(since))
            for number, leader, since in leaderships
            if number == epoch or finished_at is None or since <= finished_at
        ],
        ahead=[run for (run,) in ahead if run != detail.id],
    )


def _newest(connection: Connection, condition: str, values: tuple[object, ...]) -> shapes.Event | None:
    row = connection.execute(f"{EVENT} WHERE job = ?1 AND {condition} LIMIT 1", values).fetchone()
    return None if row is None else event(row)
