"""Rows of the account that a backfill changes: reading them as they stand, splitting ranges where runs will stand."""

import msgspec

from schedulerd.adapters.ledger.batch import Batch
from schedulerd.adapters.ledger.connection import Connection
from schedulerd.adapters.ledger.rows import instant, micros
from schedulerd.core.backfill import RowSplit, SlotRow
from schedulerd.core.effects import RecordBackfill
from schedulerd.errors import LedgerContentError
from schedulerd.model.job import Definition

_decode_definition = msgspec.json.Decoder(Definition).decode

_ROWS = """
SELECT s.first, s.last, s.count, r.id, s.reason, s.version FROM slots AS s LEFT JOIN runs AS r ON r.n = s.run
WHERE s.job = ?1 AND s.first <= ?3 AND s.first >= coalesce(
    (SELECT first FROM slots WHERE job = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1), ?2)
AND s.last >= ?2 ORDER BY s.first
"""
_RANGE = "SELECT last, count, reason, version FROM slots WHERE job = ? AND first = ? AND run IS NULL"
_PIECE = "INSERT INTO slots (job, first, last, count, reason, version) VALUES (?, ?, ?, ?, ?, ?)"


def slot_rows(connection: Connection, job: str, first: int, last: int) -> list[SlotRow]:
    """Rows of the job that touch first..last (microseconds), ascending."""
    documents = "SELECT version, document FROM definitions WHERE job = ?"
    texts = dict(connection.execute(documents, (job,)).fetchall())
    known: dict[str, Definition] = {}
    found = []
    for begin, end, count, run, reason, version in connection.execute(_ROWS, (job, first, last)):
        if run is None and version in texts and version not in known:
            known[version] = _decode_definition(texts[version])
        found.append(
            SlotRow(
                first=instant(begin),
                last=instant(end),
                count=count,
                run=run,
                reason=reason,
                definition=None if run is not None else known.get(version),
            )
        )
    return found


def record_backfill(batch: Batch, record: RecordBackfill) -> None:
    """Make room for runs, and keep how many may go at once.

    Raises LedgerContentError when a range is not as it was when the backfill was planned; growing at its end is no
    such change.
    """
    for split in record.splits:
        _split(batch, record.job, split)
    batch.connection.execute(
        "INSERT INTO backfills (job, max_parallel) VALUES (?, ?)"
        " ON CONFLICT (job) DO UPDATE SET max_parallel = excluded.max_parallel",
        (record.job, record.max_parallel),
    )


def _split(batch: Batch, job: str, split: RowSplit) -> None:
    first = micros(split.first)
    row = batch.connection.execute(_RANGE, (job, first)).fetchone()
    if row is None or row[0] < micros(split.last):
        raise LedgerContentError(
            f'the skips of job "{job}" from {split.first.isoformat()} on have changed meanwhile; ask again'
        )
    last, count, reason, version = row
    pieces = [(micros(piece.first), micros(piece.last), piece.count) for piece in split.pieces]
    left = count - split.taken - sum(number for _, _, number in pieces)
    if split.rest is not None and micros(split.rest) <= last:
        pieces.append((micros(split.rest), last, left))
        left = min(left - 1, 0)  # a piece of none would be wrong, whatever is left is in it
    if left != 0:
        raise LedgerContentError(
            f'the skips of job "{job}" from {split.first.isoformat()} on hold {count} fire times,'
            f" which is not what its definition names; nothing was changed"
        )
    batch.connection.execute("DELETE FROM slots WHERE job = ? AND first = ?", (job, first))
    batch.write(_PIECE, [(job, begin, end, number, reason, version) for begin, end, number in pieces])
