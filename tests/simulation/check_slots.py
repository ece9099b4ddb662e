"""P1: every fire time of every job is accounted for by exactly one row. P5: soon after the faults they are on time.

Counts fire times by itself, from the definitions as they were in force.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from simulation.books import ZERO, Books, instant
from simulation.chronicle import Reign
from simulation.table import fire_times

from schedulerd.model.job import At

RECOVERY = 30.0  # seconds after the last fault from which every fire time is on time again
LATE = timedelta(seconds=10)  # a fire time found later than this is a missed one


@dataclass(slots=True)
class Slot:
    """A row that accounts for fire times."""

    first: datetime
    last: datetime
    count: int
    run: str | None
    reason: str | None


def check(books: Books) -> None:
    """Every job that ever was in the table."""
    slots: dict[str, list[Slot]] = defaultdict(list)
    for job, first, last, count, run, reason in books.ask(
        "SELECT job, first, last, count, run, reason FROM slots ORDER BY job, first"
    ):
        slots[job].append(Slot(instant(first), instant(last), count, run, reason))
    end = books.chronicle.newest_utc
    assert end is not None
    for job in sorted({*slots, *books.chronicle.reigns}):
        _account(books, job, books.chronicle.reigns.get(job, []), slots.get(job, []), end)
    _on_time(books, slots)


def _account(books: Books, job: str, reigns: list[Reign], slots: list[Slot], end: datetime) -> None:
    expected: dict[datetime, None] = {}
    past: dict[datetime, None] = {}  # instants that were past when they were first told of
    for reign in reigns:
        until = end if reign.until is None else reign.until
        for moment in fire_times(reign.definition.job, reign.anchor, reign.since, until):
            expected[moment] = None
        if isinstance(reign.definition.job.trigger, At):
            past.update(dict.fromkeys(fire_times(reign.definition.job, None, ZERO, reign.since)))
    rows: dict[datetime, int] = dict.fromkeys((*expected, *past), 0)
    for slot in slots:
        covered = (
            [moment for moment in rows if slot.first <= moment <= slot.last]
            if slot.first != slot.last
            else [slot.first] * (slot.first in rows)
        )
        for moment in covered:
            rows[moment] += 1
        if slot.run is None and not slot.reason:
            books.bad("P1", f"{job}: a skip at {slot.first} has no reason")
        # a past instant may lie in a range that an older definition's fire times made
        least = sum(moment in expected for moment in covered)
        if not least <= slot.count <= len(covered):
            text = (
                f"{job}: a row of {slot.count} from {slot.first} to {slot.last} ({slot.reason or slot.run})"
            )
            books.bad("P1", f"{text} stands for {least} to {len(covered)} fire times")
    for moment, count in rows.items():
        if count != 1:
            books.bad("P1", f"{job}: {count} rows for the fire time {moment}")


def _on_time(books: Books, slots: dict[str, list[Slot]]) -> None:
    """By the clock of the leader of the quiet end, whose own steps are over."""
    world = books.world
    if world.holder is None or world.stops_firing_at < books.plan.ends + RECOVERY:
        return
    now = world.holder.utc()
    first = now - timedelta(seconds=world.agenda.now - books.plan.ends - RECOVERY)
    last = now - timedelta(seconds=world.agenda.now - world.stops_firing_at)
    for job, rows in slots.items():
        for slot in rows:
            if not first <= slot.first < last:
                continue
            run = books.runs.get(slot.run or "")
            if run is not None and run.cause == "schedule" and run.created_at - slot.first > LATE:
                books.bad("P5", f"{job}: {run.id} was recorded at {run.created_at}")
            elif slot.reason == "misfire" or (run is not None and run.cause == "catchup"):
                books.bad(
                    "P5", f"{job}: the fire time {slot.first} was missed {RECOVERY:g} s after the last fault"
                )
