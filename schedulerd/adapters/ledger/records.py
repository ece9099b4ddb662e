"""Which function writes which record. Leaves the transaction around them to the ledgers."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, cast

from schedulerd.adapters.ledger.attempts import (
    record_attempts,
    record_round,
    record_subtask_states,
    record_subtasks,
)
from schedulerd.adapters.ledger.backfill import record_backfill
from schedulerd.adapters.ledger.batch import Batch
from schedulerd.adapters.ledger.outcomes import record_late_results, record_outcomes, record_started
from schedulerd.adapters.ledger.rows import micros
from schedulerd.adapters.ledger.runs import (
    close_run,
    record_cancel,
    record_reopening,
    record_result,
    record_runs,
    record_skips,
)
from schedulerd.adapters.ledger.table import (
    record_anchors,
    record_boots,
    record_jobs,
    record_marks,
    record_pause,
    record_pools,
    record_removals,
    record_run_counts,
)
from schedulerd.core.effects import (
    CloseRun,
    Record,
    RecordAnchors,
    RecordAttempts,
    RecordBackfill,
    RecordBoots,
    RecordCancel,
    RecordEvent,
    RecordJobs,
    RecordLateResults,
    RecordMarks,
    RecordOutcomes,
    RecordPause,
    RecordPools,
    RecordRemovals,
    RecordReopening,
    RecordResult,
    RecordRound,
    RecordRunCounts,
    RecordRuns,
    RecordSkips,
    RecordStarted,
    RecordSubtasks,
    RecordSubtaskStates,
)


def record_event(batch: Batch, record: RecordEvent) -> None:
    """One fact for people."""
    batch.event(
        micros(record.time),
        record.type,
        record.job,
        record.run,
        record.subtask,
        record.attempt,
        record.worker,
        record.detail,
    )


WRITERS: dict[type[Any], Callable[[Batch, Any], None]] = {
    RecordJobs: record_jobs,
    RecordRemovals: record_removals,
    RecordPools: record_pools,
    RecordPause: record_pause,
    RecordMarks: record_marks,
    RecordAnchors: record_anchors,
    RecordRunCounts: record_run_counts,
    RecordBoots: record_boots,
    RecordSkips: record_skips,
    RecordBackfill: record_backfill,
    RecordRuns: record_runs,
    RecordReopening: record_reopening,
    RecordRound: record_round,
    RecordAttempts: record_attempts,
    RecordStarted: record_started,
    RecordOutcomes: record_outcomes,
    RecordLateResults: record_late_results,
    RecordSubtaskStates: record_subtask_states,
    RecordResult: record_result,
    RecordCancel: record_cancel,
    CloseRun: close_run,
    RecordEvent: record_event,
}


def write_records(batch: Batch, records: Sequence[Record]) -> None:
    """All records in order, then what was gathered on the way; subtasks of many runs that follow each other at once."""
    for kind, group in groupby(records, key=type):
        if kind is RecordSubtasks:
            record_subtasks(batch, cast(list[RecordSubtasks], list(group)))
        else:
            write = WRITERS[kind]
            for record in group:
                write(batch, record)
    batch.finish()
