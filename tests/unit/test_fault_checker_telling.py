"""P7 in the checker of the fault tests: what has happened and is not told, or not counted, is found."""

from dataclasses import replace

import pytest
from acceptance.faults.kit.checker import check, kinds
from acceptance.faults.kit.history import AttemptRow, History, Start
from support.fault_history import (
    BASE,
    DURING,
    SECOND,
    WIDE_RUN,
    added,
    again,
    clean,
    counted,
    recorded,
    skipped,
    told,
    unheard,
)

KILLED = (("s1", 120.0),)


def eventful() -> History:
    """A loss and what was done after it, a late word, a fence, a second leadership and a skip, all told and counted."""
    first = f"{WIDE_RUN}~0~1"
    history = unheard(added(again(clean(DURING), first, f"{WIDE_RUN}~0~2"), f"{WIDE_RUN}~0~2", first), first)
    history = skipped(history, "misfire", f"wide@{BASE + 110:.0f}")
    history = recorded(history, f"{WIDE_RUN}~1~1", state="lost", reason="fenced")
    ends = tuple(end for end in history.ends if end.attempt != f"{WIDE_RUN}~1~1")
    history = replace(history, ends=ends, attempts=tuple(_later_epoch(row) for row in history.attempts))
    history = told(replace(history, starts=tuple(_later_start(start) for start in history.starts)))
    begin = history.events[0]
    late = f"{WIDE_RUN}~2~1"
    told_late = tuple(
        replace(begin, seq=1000 + number, type=kind, attempt=late, epoch=2, time=BASE + 105)
        for number, kind in enumerate(("attempt_lost", "late_result"))
    )
    return counted(replace(history, events=(*history.events, *told_late)))


def _later_epoch(row: AttemptRow) -> AttemptRow:
    return replace(row, epoch=2) if row.assigned >= BASE + SECOND else row


def _later_start(start: Start) -> Start:
    return replace(start, epoch=2) if start.moment >= SECOND else start


def without_event(history: History, kind: str) -> History:
    """The ledger lacks one event of this type, and its counters know nothing of it either."""
    lost = next(event for event in history.events if event.type == kind)
    return counted(replace(history, events=tuple(event for event in history.events if event is not lost)))


def with_count(history: History, name: str, by: float) -> History:
    """That counter is wrong ever since the second reading."""
    first, *rest = history.scrapes
    wrong = [replace(one, values={**one.values, name: one.values[name] + by}) for one in rest]
    return replace(history, scrapes=(first, *wrong))


TELLING = (
    "attempt_lost",
    "attempt_fenced",
    "retried",
    "skipped",
    "late_result",
    "takeover",
    "leader_gained",
    "leader_lost",
)


def test_an_eventful_history_that_is_told_and_counted_is_clean() -> None:
    history = eventful()
    assert check(history) == []
    assert {event.type for event in history.events} == set(TELLING)


@pytest.mark.parametrize("kind", TELLING)
def test_what_no_event_tells_is_found(kind: str) -> None:
    assert set(kinds(check(without_event(eventful(), kind)))) == {"untold"}


@pytest.mark.parametrize("kind", TELLING)
def test_an_event_that_was_counted_and_is_not_there_is_found(kind: str) -> None:
    history = eventful()
    gone = replace(without_event(history, kind), scrapes=history.scrapes)
    assert [one for one in check(gone) if f"events {kind}, the ledger has" in str(one)]


@pytest.mark.parametrize("name", sorted(eventful().scrapes[-1].values))
def test_a_counter_that_is_too_low_or_too_high_is_found(name: str) -> None:
    assert set(kinds(check(with_count(eventful(), name, -1)))) & {"uncounted", "untold"}
    assert set(kinds(check(with_count(eventful(), name, 1)))) & {"uncounted", "untold"}


def test_a_counter_that_goes_back_is_found() -> None:
    history = eventful()
    first, second, third = history.scrapes
    back = replace(third, values={**third.values, "retries{lost}": 0.0}, moment=301)
    assert "uncounted" in kinds(check(replace(history, scrapes=(first, second, back, third))))


def test_counters_that_nobody_read_are_found() -> None:
    assert set(kinds(check(replace(eventful(), scrapes=())))) == {"uncounted"}


def test_what_was_written_after_the_last_reading_need_not_have_been_counted() -> None:
    """The process was killed at 120; at 90 it had counted nothing of what came later."""
    history = eventful()
    (life,) = history.lives
    early = tuple(event for event in history.events if event.time <= BASE + 90)
    values = counted(replace(history, events=early, slots=())).scrapes[-1].values
    last = replace(history.scrapes[-1], moment=90.0, values=values)
    killed = replace(history, lives=(replace(life, ended=120.0),), kills=KILLED, scrapes=(last,))
    assert check(killed) == []
    assert "uncounted" in kinds(check(replace(killed, scrapes=(replace(last, moment=119.0),))))


def test_the_last_batch_of_a_leadership_that_the_ledger_ended_may_be_uncounted_and_no_other() -> None:
    history = eventful()
    values = {**history.scrapes[-1].values, "retries{lost}": 0.0, "events{retried}": 0.0}
    values["leaderships_lost{ledger}"] = values.pop("leaderships_lost{newer_epoch}")
    last = tuple(
        replace(event, time=BASE + 250) if event.type == "retried" else event for event in history.events
    )
    scrapes = (replace(history.scrapes[-1], values=values),)
    assert check(replace(history, events=last, scrapes=scrapes)) == []
    assert set(kinds(check(replace(history, scrapes=scrapes)))) == {"uncounted"}


def test_the_end_of_a_leadership_is_counted_when_it_is_written_not_when_it_was() -> None:
    """It ended at 90, and was written as the next one began, after the last reading at 97."""
    history = eventful()
    events = tuple(
        replace(event, time=BASE + 90) if event.type == "leader_lost" else event for event in history.events
    )
    early = [event for event in events if event.time <= BASE + 95 and event.type != "leader_lost"]
    read = counted(replace(history, events=tuple(early), epochs=history.epochs[:1], slots=()))
    last = replace(history.scrapes[-1], moment=97.0, values=read.scrapes[-1].values)
    (life,) = history.lives
    assert (
        check(
            replace(
                history, events=events, lives=(replace(life, ended=120.0),), kills=KILLED, scrapes=(last,)
            )
        )
        == []
    )


def test_a_leader_that_was_asked_to_end_says_so_and_a_killed_one_need_not() -> None:
    history = eventful()
    (life,) = history.lives
    ended = replace(history, lives=(replace(life, ended=310.0),))
    assert [str(one).partition(",")[0] for one in check(ended)] == [
        "untold: epoch 2: its leader was asked to end"
    ]
    assert check(replace(ended, kills=(("s1", 310.0),))) == []
    farewell = replace(
        next(event for event in history.events if event.type == "leader_lost"),
        seq=2000,
        time=BASE + 309,
        epoch=2,
        detail="s1 led in epoch 2 until now: stopping: schedulerd is stopping",
    )
    assert check(replace(ended, events=(*history.events, farewell))) == []
