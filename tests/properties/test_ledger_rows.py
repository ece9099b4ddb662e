"""Rows of the ledger against simple models: instants, the account of every fire time, counts of subtasks."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledger_material import T0, at, job_row, new_attempt, new_run, skip, subtasks
from support.postgres_server import PostgresServer

from schedulerd.adapters.ledger import whole
from schedulerd.adapters.ledger.base import Ledger, LedgerReader
from schedulerd.adapters.ledger.open import is_postgres, open_ledger, open_reader
from schedulerd.adapters.ledger.rows import instant, micros, text
from schedulerd.core.effects import (
    Record,
    RecordAttempts,
    RecordJobs,
    RecordMarks,
    RecordRuns,
    RecordSkips,
    RecordSubtaskStates,
)
from schedulerd.model.run import SkipReason, SubtaskState

EXAMPLES = settings(max_examples=40, deadline=None)
FEWER = settings(max_examples=12, deadline=None)  # a server answers more slowly than a file

FATES = given(
    fates=st.lists(st.sampled_from(["run", "paused", "overlap"]), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39)),
    limit=st.integers(1, 50),
)
STATES = given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from(SubtaskState)), max_size=6), max_size=8
    )
)


@contextmanager
def new_ledger(url: str = "") -> Iterator[tuple[Ledger, int, LedgerReader]]:
    """A ledger with one minutely job, its epoch and a reader; emptied if it is that of `url`."""
    with tempfile.TemporaryDirectory() as directory:
        url = url or f"sqlite://{directory}/ledger.db"
        with closing(open_ledger(url)) as ledger:
            if is_postgres(url):
                empty(url)
            epoch = ledger.lead("here", 0, T0)
            ledger.commit(epoch, [RecordJobs((job_row(),))])
            with closing(open_reader(url)) as reader:
                yield ledger, epoch, reader


def empty(url: str) -> None:
    """Every row of a PostgreSQL ledger goes but the leader's; cheaper than a new one for every example."""
    with whole.writing(url) as ledger:
        for table in ledger.tables():
            if table not in ("leadership", "epochs"):
                ledger.connection.execute(f"TRUNCATE {table}")


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    return postgres.schema()


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_is_kept_to_the_microsecond(when: datetime) -> None:
    assert instant(micros(when)) == when
    assert datetime.fromisoformat(text(micros(when))) == when


@EXAMPLES
@FATES
def test_every_fire_time_is_listed_once_with_its_fate(fates: list[str], cuts: set[int], limit: int) -> None:
    """However fire times are cut into batches and ranges, the account is the same."""
    check_fates("", fates, cuts, limit)


@FEWER
@FATES
def test_in_postgresql_too_every_fire_time_is_listed_once(
    database: str, fates: list[str], cuts: set[int], limit: int
) -> None:
    check_fates(database, fates, cuts, limit)


def check_fates(url: str, fates: list[str], cuts: set[int], limit: int) -> None:
    with new_ledger(url) as (ledger, epoch, reader):
        cuts_until = [sum(1 for cut in cuts if cut <= index) for index in range(len(fates))]
        keyed = enumerate(zip(fates, cuts_until, strict=True), 1)
        for (fate, _), group in groupby(keyed, key=lambda entry: entry[1]):
            minutes = [minute for minute, _ in group]
            record: Record = (
                RecordRuns(tuple(new_run(minute) for minute in minutes))
                if fate == "run"
                else RecordSkips((skip(minutes[0], minutes[-1], len(minutes), SkipReason(fate)),))
            )
            ledger.commit(epoch, [record, RecordMarks((("backup", at(minutes[-1])),))])
        listed, cursor = [], ""
        while True:
            page, following = reader.slots("backup", cursor, limit)
            assert len(page) <= limit
            listed += [(slot.fire_time, slot.reason or slot.outcome) for slot in page]
            if following is None:
                break
            cursor = following
    expected = [(text(micros(at(minute))), fate) for minute, fate in enumerate(fates, 1)]
    assert listed == expected[::-1]


@EXAMPLES
@STATES
def test_counts_of_subtasks_follow_their_states(batches: list[list[tuple[int, SubtaskState]]]) -> None:
    check_counts("", batches)


@FEWER
@STATES
def test_in_postgresql_too_counts_of_subtasks_follow_their_states(
    database: str, batches: list[list[tuple[int, SubtaskState]]]
) -> None:
    check_counts(database, batches)


def check_counts(url: str, batches: list[list[tuple[int, SubtaskState]]]) -> None:
    run = new_run()
    states = [SubtaskState.PENDING] * 5
    with new_ledger(url) as (ledger, epoch, reader):
        ledger.commit(epoch, [RecordRuns((run,)), subtasks(run.id, 5)])
        fence = 0
        for batch in batches:
            records: list[Record] = []
            for index, state in batch:
                if state is SubtaskState.RUNNING:
                    fence += 1
                    records.append(RecordAttempts((new_attempt(run.id, index, fence, fence=fence),)))
                    state = SubtaskState.RUNNING if states[index] is SubtaskState.PENDING else states[index]
                else:
                    records.append(RecordSubtaskStates(run.id, ((index, state, ""),)))
                states[index] = state
            ledger.commit(epoch, records)
            shown = reader.run(run.id)
            assert shown is not None
            counts = shown.subtasks
            assert counts.succeeded == states.count(SubtaskState.SUCCEEDED)
            assert counts.running == states.count(SubtaskState.RUNNING)
            assert counts.pending == states.count(SubtaskState.PENDING)
            assert counts.succeeded + counts.running + counts.pending + counts.failed == counts.total == 5
