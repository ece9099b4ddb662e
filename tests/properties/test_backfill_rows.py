"""Backfill against a simple model: whatever is backfilled in whatever order, a fire time has one row, counts right."""

import tempfile
from datetime import datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledger_material import MINUTE, T0, at, definition, job_row, new_run, skip

from schedulerd.adapters.ledger.open import open_ledger, open_reader
from schedulerd.core.backfill import plan
from schedulerd.core.effects import Record, RecordBackfill, RecordJobs, RecordMarks, RecordRuns, RecordSkips
from schedulerd.model.job import Cron, Every, Trigger
from schedulerd.model.run import Cause, JobRow, NewRun, SkipReason
from schedulerd.protocol.ids import scheduled_run_id

LENGTH = 30
FATES = st.lists(st.sampled_from(["run", "paused", "overlap"]), min_size=LENGTH, max_size=LENGTH)
INTERVALS = st.lists(st.tuples(st.integers(0, LENGTH + 1), st.integers(0, LENGTH + 1)), max_size=4)
TRIGGERS = st.sampled_from([Cron(expressions=("* * * * *",)), Every(period=MINUTE)])


def _backfill_run(minute: float) -> NewRun:
    return NewRun(
        id=scheduled_run_id("backup", at(minute)),
        job="backup",
        version="v2",
        cause=Cause.BACKFILL,
        fire_time=at(minute),
        has_slot=True,
        created_at=at(1000),
    )


@settings(max_examples=40, deadline=None)
@given(fates=FATES, intervals=INTERVALS, trigger=TRIGGERS, every=st.sampled_from([1, 2, 3]))
def test_backfilled_fire_times_leave_one_row_each(
    fates: list[str], intervals: list[tuple[int, int]], trigger: Trigger, every: int
) -> None:
    """`every`: the definition in force names each minute, or only each second or third; skips keep their own."""
    model = dict(enumerate(fates, 1))
    newest = definition("backup", "v2", Cron(expressions=(f"*/{every} * * * *",)))
    with tempfile.TemporaryDirectory() as directory:
        ledger = open_ledger(f"sqlite://{directory}/ledger.db")
        epoch = ledger.lead("here", 0, T0)
        ledger.commit(epoch, [RecordJobs((job_row(trigger=trigger, mark=at(-1)),))])
        for minute, fate in model.items():
            record: Record = (
                RecordRuns((new_run(minute),))
                if fate == "run"
                else RecordSkips((skip(minute, minute, 1, SkipReason(fate)),))
            )
            ledger.commit(epoch, [record, RecordMarks((("backup", at(minute)),))])
        ledger.commit(epoch, [RecordJobs((JobRow(definition=newest, first_seen=T0, mark=at(LENGTH)),))])
        reader = open_reader(f"sqlite://{directory}/ledger.db")
        for first, last in intervals:
            begin, end = at(max(min(first, last), 1)), at(min(max(first, last), LENGTH))
            found = plan(newest, None, begin, end, reader.slot_rows("backup", begin, end))
            minutes = [round((fill.fire.instant - T0) / MINUTE) for fill in found.fills]
            named = [minute for minute in model if minute % every == 0 and begin <= at(minute) <= end]
            assert minutes == [minute for minute in named if model[minute] != "run"]
            assert [fill.was for fill in found.fills] == [model[minute] for minute in minutes]
            assert found.existing == len(named) - len(minutes)
            made = RecordRuns(tuple(_backfill_run(minute) for minute in minutes))
            ledger.commit(epoch, [RecordBackfill("backup", 1, found.splits), made])
            model.update(dict.fromkeys(minutes, "run"))
        slots, _ = reader.slots("backup", "", 1000)
        listed = {round((datetime.fromisoformat(slot.fire_time) - T0) / MINUTE): slot for slot in slots}
        assert len(listed) == len(slots)
        assert {minute: slot.reason or "run" for minute, slot in listed.items()} == model
        rows = reader.slot_rows("backup", at(0), at(LENGTH))
        assert sum(row.count for row in rows) == LENGTH
        assert all(one.last < two.first for one, two in pairwise(rows))
        reader.close()
        ledger.close()


@settings(max_examples=20, deadline=None)
@given(named=st.sampled_from([(7, 5), (3, 2), (11, 4)]), first=st.integers(0, 59), last=st.integers(0, 59))
def test_fire_times_between_those_of_an_older_definition_find_room(
    named: tuple[int, int], first: int, last: int
) -> None:
    """A range of skips of one definition is split also around fire times that only the present one names."""
    old_step, new_step = named
    old = [minute for minute in range(1, 60) if minute % old_step == 0]
    newest = definition("backup", "v2", Cron(expressions=(f"*/{new_step} * * * *",)))
    with tempfile.TemporaryDirectory() as directory:
        ledger = open_ledger(f"sqlite://{directory}/ledger.db")
        epoch = ledger.lead("here", 0, T0)
        trigger = Cron(expressions=(f"*/{old_step} * * * *",))
        ledger.commit(
            epoch, [RecordJobs((job_row(trigger=trigger),)), RecordSkips((skip(old[0], old[-1], len(old)),))]
        )
        ledger.commit(epoch, [RecordJobs((JobRow(definition=newest, first_seen=T0, mark=at(60)),))])
        reader = open_reader(f"sqlite://{directory}/ledger.db")
        begin, end = at(max(1, min(first, last))), at(max(first, last, 1))
        found = plan(newest, None, begin, end, reader.slot_rows("backup", begin, end))
        minutes = [round((fill.fire.instant - T0) / MINUTE) for fill in found.fills]
        made = RecordRuns(tuple(_backfill_run(minute) for minute in minutes))
        ledger.commit(epoch, [RecordBackfill("backup", 1, found.splits), made])
        slots, _ = reader.slots("backup", "", 1000)
        listed = sorted(round((datetime.fromisoformat(slot.fire_time) - T0) / MINUTE) for slot in slots)
        assert listed == sorted({*old, *minutes})
        assert sorted(minutes) == [m for m in range(1, 60) if m % new_step == 0 and begin <= at(m) <= end]
        reader.close()
        ledger.close()
