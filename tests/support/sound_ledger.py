"""A small ledger with a row in every table, in which nothing is wrong."""

from support.ledger_material import T0, at, close, job_row, new_attempt, new_run, outcome, skip

from schedulerd.adapters.ledger.base import Ledger
from schedulerd.core.effects import (
    RecordAttempts,
    RecordBackfill,
    RecordBoots,
    RecordCancel,
    RecordEvent,
    RecordJobs,
    RecordMarks,
    RecordOutcomes,
    RecordPause,
    RecordPools,
    RecordResult,
    RecordRuns,
    RecordSkips,
    RecordStarted,
    RecordSubtasks,
    RecordSubtaskStates,
)
from schedulerd.model.job import Pool
from schedulerd.model.run import Pause, SubtaskState

CLOSED, OPEN = new_run(1), new_run(6)


def fill(ledger: Ledger) -> None:
    """Two leaderships: a run that is over, a range of skips, and a run whose lost subtask was given out again."""
    epoch = ledger.lead("here", 0, T0)
    ledger.commit(
        epoch,
        [
            RecordJobs((job_row(), job_row("other"))),
            RecordPools((Pool(name="disk", max=2),)),
            RecordPause("other", Pause(by="ann", reason="disk \u00e4", since=at(1))),
            RecordBoots((("other", "boot-1"),)),
            RecordBackfill("backup", 2, ()),
            RecordRuns((CLOSED,)),
            RecordSubtasks(CLOSED.id, ((0, '"a"', None), (1, None, None), (-1, None, None)), True),
            RecordAttempts(tuple(new_attempt(CLOSED.id, index, fence=index + 2) for index in (0, 1, -1))),
            RecordMarks((("backup", at(1)),)),
        ],
    )
    ends = (
        outcome(CLOSED.id, 0, stdout=b"out\xff\0"),
        outcome(CLOSED.id, 1),
        outcome(CLOSED.id, -1, stderr=b"e"),
    )
    done = tuple((index, SubtaskState.SUCCEEDED, "") for index in (0, 1, -1))
    ledger.commit(
        epoch,
        [
            RecordOutcomes(ends),
            RecordSubtaskStates(CLOSED.id, done),
            RecordResult(CLOSED.id, b"gathered"),
            close(CLOSED),
            RecordSkips((skip(2, 5, 4),)),
            RecordRuns((OPEN,)),
            RecordSubtasks(OPEN.id, ((0, None, None), (1, None, "uuid-of-w1")), True),
            RecordAttempts((new_attempt(OPEN.id, 0, fence=4),)),
            RecordOutcomes((outcome(OPEN.id, 0, state="lost"),)),
            RecordMarks((("backup", at(6)),)),
        ],
    )
    epoch = ledger.lead("there", 0, at(7))
    again = new_attempt(OPEN.id, 0, 2, fence=5, worker="w2")
    ledger.commit(
        epoch,
        [
            RecordSubtaskStates(OPEN.id, ((0, SubtaskState.PENDING, "lost"),)),
            RecordAttempts((again,)),
            RecordStarted(((again.id, at(7)),)),
            RecordCancel(OPEN.id, "eva"),
            RecordEvent(type="lost", time=at(7), job="backup", run=OPEN.id, detail="w1"),
        ],
    )
