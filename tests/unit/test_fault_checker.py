"""The checker of the fault tests: a clean history is clean, each kind of error planted into one is found.

A fault excuses what it may have caused, while it and its recovery last, and nothing else.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from acceptance.faults.kit.checker import check, kinds
from acceptance.faults.kit.history import (
    AttemptRow,
    End,
    EpochRow,
    EventRow,
    Fault,
    History,
    JobPlan,
    Life,
    RunRow,
    SchedulerClock,
    Scrape,
    SlotRow,
    Start,
)

BASE = 1_000_000.0  # Unix seconds at moment 0
SECOND = 98.0  # moment from which a second leadership acts, where there is one
TICK = JobPlan(name="tick", period=2.0)
WIDE = JobPlan(name="wide", period=10.0, subtasks=3, on_lost="retry", misfire="once", overlap="skip")


def clean(faults: tuple[Fault, ...] = (), late: float = 0.1) -> History:
    """200 seconds of two jobs on two hosts, all as it should be."""
    starts: list[Start] = []
    ends: list[End] = []
    slots: list[SlotRow] = []
    runs: list[RunRow] = []
    attempts: list[AttemptRow] = []
    for job in (TICK, WIDE):
        for instant in job.fire_times(BASE, BASE + 200.0):
            run = f"{job.name}@{instant:.0f}"
            begun = instant - BASE + late
            slots.append(SlotRow(job=job.name, first=instant, last=instant, count=1, run=run, reason=None))
            runs.append(
                RunRow(
                    id=run,
                    job=job.name,
                    cause="schedule",
                    fire_time=instant,
                    created=instant + 0.01,
                    finished=BASE + begun + 0.5,
                    state="succeeded",
                    reason="",
                )
            )
            for index in range(job.subtasks):
                attempt = f"{run}~{index}~1"
                pid = 1000 + len(starts)
                host = f"w{index % 2 + 1}"
                starts.append(
                    Start(
                        attempt=attempt,
                        job=job.name,
                        fire_time=instant,
                        host=host,
                        pid=pid,
                        epoch=1,
                        moment=begun,
                    )
                )
                ends.append(End(attempt=attempt, host=host, pid=pid, code=0, moment=begun + 0.4))
                attempts.append(
                    AttemptRow(
                        id=attempt,
                        worker=host,
                        epoch=1,
                        fence=0,
                        state="succeeded",
                        reason="exit",
                        assigned=instant + 0.02,
                        finished=BASE + begun + 0.5,
                    )
                )
    by_time = sorted(attempts, key=lambda row: row.assigned)
    return History(
        jobs=(TICK, WIDE),
        faults=faults,
        clock=SchedulerClock(BASE),
        since=10.0,
        until=190.0,
        starts=tuple(starts),
        ends=tuple(ends),
        slots=tuple(slots),
        runs=tuple(runs),
        attempts=tuple(replace(row, fence=fence) for fence, row in enumerate(by_time, 1)),
    )


def told(history: History) -> History:
    """With the events and the counters that tell what its ledger says; of its first leader, s1, in epoch 1."""
    first = EventRow(seq=1, time=BASE + 0.5, type="leader_gained", attempt=None, epoch=1)
    events = [first, replace(first, seq=2, type="takeover")]
    epochs = {row.epoch for row in history.attempts} | {1}
    for epoch in sorted(epochs - {1}):
        ended = f"s1 led in epoch {epoch - 1} until now: newer_epoch: a worker has seen another"
        then = replace(first, epoch=epoch, time=BASE + SECOND + 0.1, detail=ended)
        for kind in ("leader_lost", "leader_gained", "takeover"):
            events.append(replace(then, seq=len(events) + 1, type=kind))
    for row in history.attempts:
        tells = {"lost": "attempt_lost", "unstarted": "attempt_unstarted"}.get(row.state, "")
        if row.reason == "fenced":
            tells = "attempt_fenced"
        retried = f"{row.id.rpartition('~')[0]}~{row.number - 1}" if row.number > 1 else ""
        for kind, attempt in ((tells, row.id), ("retried" if retried else "", retried)):
            if kind:
                seq, time = len(events) + 1, row.finished or row.assigned
                events.append(EventRow(seq=seq, time=time, type=kind, attempt=attempt, epoch=row.epoch))
    return counted(
        replace(
            history,
            events=tuple(events),
            epochs=tuple(
                EpochRow(epoch=epoch, leader="id-1", since=BASE + (0.4 if epoch == 1 else SECOND))
                for epoch in sorted(epochs)
            ),
            lives=(Life(host="s1", leader="id-1", pid=7, began=0.1),),
        )
    )


def counted(history: History) -> History:
    """With the counters as they should be, read at the beginning and when all is over."""
    kinds_told = Counter(event.type for event in history.events)
    values: dict[str, float] = {f"events{{{kind}}}": count for kind, count in kinds_told.items()}
    values["retries{lost}"] = kinds_told["retried"]
    values["attempts_lost"] = values["attempts{lost}"] = (
        kinds_told["attempt_lost"] + kinds_told["attempt_fenced"]
    )
    values["attempts{unstarted}"] = kinds_told["attempt_unstarted"]
    values["late_results"] = kinds_told["late_result"]
    values["takeovers"] = kinds_told["takeover"]
    values["leaderships_lost{newer_epoch}"] = len(history.epochs) - 1
    values["fenced"] = values["leaderships_lost{newer_epoch}"] + kinds_told["attempt_fenced"]
    for row in history.slots:
        if row.run is None:
            values[f"skips{{{row.reason}}}"] = values.get(f"skips{{{row.reason}}}", 0.0) + row.count
    nothing = Scrape(host="s1", pid=7, moment=1.0, values=dict.fromkeys(values, 0.0))
    return replace(
        history, scrapes=(nothing, *(replace(nothing, moment=at, values=values) for at in (299, 300)))
    )


def a_fault(began: float, ended: float, recovery: float = 15.0) -> Fault:
    return Fault(name="1", kind="kill_worker", began=began, ended=ended, recovery=recovery)


RUN = f"tick@{BASE + 100:.0f}"
ATTEMPT = f"{RUN}~0~1"
WIDE_RUN = f"wide@{BASE + 100:.0f}"


def without_run(history: History, run: str) -> History:
    return replace(
        history,
        starts=tuple(start for start in history.starts if start.run != run),
        ends=tuple(end for end in history.ends if not end.attempt.startswith(f"{run}~")),
        slots=tuple(slot for slot in history.slots if slot.run != run),
        runs=tuple(row for row in history.runs if row.id != run),
        attempts=tuple(row for row in history.attempts if not row.id.startswith(f"{run}~")),
    )


def skipped(history: History, reason: str, run: str = RUN) -> History:
    job, _, instant = run.partition("@")
    row = SlotRow(job=job, first=float(instant), last=float(instant), count=1, run=None, reason=reason)
    return replace(without_run(history, run), slots=(*without_run(history, run).slots, row))


def moved(history: History, attempt: str, seconds: float) -> History:
    """That process began and ended so much later."""
    return replace(
        history,
        starts=tuple(
            replace(start, moment=start.moment + seconds) if start.attempt == attempt else start
            for start in history.starts
        ),
        ends=tuple(
            replace(end, moment=end.moment + seconds) if end.attempt == attempt else end
            for end in history.ends
        ),
    )


def again(history: History, attempt: str, name: str, host: str = "w2", later: float = 1.0) -> History:
    """The same work was done once more, as attempt `name`."""
    old = next(start for start in history.starts if start.attempt == attempt)
    start = replace(old, attempt=name, host=host, pid=9, moment=old.moment + later)
    end = End(attempt=name, host=host, pid=9, code=0, moment=start.moment + 0.1)
    return replace(history, starts=(*history.starts, start), ends=(*history.ends, end))


def recorded(history: History, attempt: str, **changes: object) -> History:
    """The ledger says otherwise of an attempt."""
    rows = tuple(
        replace(row, **changes) if row.id == attempt else row  # type: ignore[arg-type]
        for row in history.attempts
    )
    return replace(history, attempts=rows)


def added(history: History, attempt: str, like: str) -> History:
    """An attempt more in the ledger."""
    row = next(row for row in history.attempts if row.id == like)
    fence = max(row.fence for row in history.attempts) + 1
    return replace(history, attempts=(*history.attempts, replace(row, id=attempt, fence=fence)))


def test_a_clean_history_is_clean() -> None:
    assert check(told(clean())) == []
    assert check(told(clean((a_fault(50, 60),)))) == []


Plant = Callable[[History], History]
PLANTED: dict[str, tuple[Plant, set[str]]] = {
    "a fire time without run and row": (lambda h: without_run(h, RUN), {"missed", "unaccounted"}),
    "a recorded run that never began": (
        lambda h: replace(
            h,
            starts=tuple(s for s in h.starts if s.run != RUN),
            ends=tuple(e for e in h.ends if e.attempt != ATTEMPT),
        ),
        {"missed", "differs"},
    ),
    "a skip without excuse": (lambda h: skipped(h, "misfire"), {"missed", "skipped"}),
    "two rows for a fire time": (
        lambda h: replace(h, slots=(*h.slots, next(s for s in h.slots if s.run == RUN))),
        {"unaccounted"},
    ),
    "a row for what is no fire time": (
        lambda h: replace(
            h,
            slots=(
                *h.slots,
                SlotRow(job="tick", first=BASE + 101, last=BASE + 101, count=1, run=None, reason="misfire"),
            ),
        ),
        {"unaccounted"},
    ),
    "a range that counts too much": (
        lambda h: replace(
            skipped(h, "misfire"),
            slots=tuple(
                replace(s, count=3) if s.reason == "misfire" else s for s in skipped(h, "misfire").slots
            ),
        ),
        {"missed", "skipped", "unaccounted"},
    ),
    "an attempt that began twice": (lambda h: again(h, ATTEMPT, ATTEMPT), {"doubled"}),
    "an attempt that began twice on one host": (lambda h: again(h, ATTEMPT, ATTEMPT, "w1"), {"doubled"}),
    "a subtask that ran again after success": (
        lambda h: added(again(h, ATTEMPT, f"{RUN}~0~2"), f"{RUN}~0~2", ATTEMPT),
        {"repeated"},
    ),
    "a subtask that ran again and the ledger says unstarted": (
        lambda h: recorded(
            added(again(h, ATTEMPT, f"{RUN}~0~2"), f"{RUN}~0~2", ATTEMPT), ATTEMPT, state="unstarted"
        ),
        {"repeated", "differs"},
    ),
    "an attempt that the ledger lacks": (
        lambda h: again(h, ATTEMPT, f"{RUN}~0~2"),
        {"unexplained", "repeated"},
    ),
    "a run that no fire time explains": (
        lambda h: again(h, ATTEMPT, f"tick@{BASE + 101:.0f}~0~1"),
        {"unexplained"},
    ),
    "a late run": (lambda h: moved(h, ATTEMPT, 3.5), {"late"}),
    "an early run": (lambda h: moved(h, ATTEMPT, -0.5), {"early", "unexplained"}),
    "a failure that the witness does not know": (
        lambda h: recorded(h, ATTEMPT, state="failed"),
        {"differs"},
    ),
    "a success that the witness does not know": (
        lambda h: replace(h, ends=tuple(e for e in h.ends if e.attempt != ATTEMPT)),
        {"differs"},
    ),
    "a success whose witness failed": (
        lambda h: replace(h, ends=tuple(replace(e, code=1) if e.attempt == ATTEMPT else e for e in h.ends)),
        {"differs"},
    ),
    "a loss without a fault": (lambda h: unheard(h, ATTEMPT), {"lost"}),
    "a loss of what its witness ended": (lambda h: recorded(h, ATTEMPT, state="lost"), {"lost", "differs"}),
    "a run whose subtask never began": (
        lambda h: replace(
            h,
            starts=tuple(s for s in h.starts if s.attempt != f"{WIDE_RUN}~2~1"),
            ends=tuple(e for e in h.ends if e.attempt != f"{WIDE_RUN}~2~1"),
            attempts=tuple(row for row in h.attempts if row.id != f"{WIDE_RUN}~2~1"),
        ),
        {"differs"},
    ),
    "an old leader that writes": (
        lambda h: recorded(recorded(h, ATTEMPT, epoch=2), h.attempts[-1].id, epoch=2),
        {"stale"},
    ),
    "an old leader that is obeyed": (
        lambda h: replace(h, starts=tuple(replace(s, epoch=2) if s.moment < 100 else s for s in h.starts)),
        {"stale"},
    ),
    "runs beside each other": (
        lambda h: replace(
            h,
            ends=tuple(
                replace(e, moment=e.moment + 11) if e.attempt == f"{WIDE_RUN}~0~1" else e for e in h.ends
            ),
        ),
        {"overlapped"},
    ),
    "a run that stays open": (
        lambda h: replace(
            h,
            runs=tuple(replace(r, state="running", finished=None) if r.id == RUN else r for r in h.runs),
        ),
        {"stuck"},
    ),
    "a process left over": (lambda h: replace(h, left_over=("sleep (pid 7) on w1",)), {"orphan"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_each_planted_error_is_found(planted: str) -> None:
    plant, wanted = PLANTED[planted]
    found = check(told(plant(clean())))
    assert set(kinds(found)) == wanted, [str(finding) for finding in found]


def unheard(history: History, attempt: str) -> History:
    """It was lost, and its process did not come to its end."""
    ends = tuple(end for end in history.ends if end.attempt != attempt)
    return recorded(replace(history, ends=ends), attempt, state="lost")


DURING = (a_fault(95, 98),)  # with its recovery until 113
BEFORE = (a_fault(70, 80),)  # over at 95
EXCUSED: dict[str, Plant] = {
    "late": lambda h: moved(h, ATTEMPT, 8.0),
    "lost": lambda h: replace(
        recorded(h, ATTEMPT, state="lost"),
        runs=tuple(replace(r, state="failed", reason="lost") if r.id == RUN else r for r in h.runs),
        ends=tuple(e for e in h.ends if e.attempt != ATTEMPT),
    ),
    "given again after a loss": lambda h: unheard(
        added(again(h, f"{WIDE_RUN}~0~1", f"{WIDE_RUN}~0~2"), f"{WIDE_RUN}~0~2", f"{WIDE_RUN}~0~1"),
        f"{WIDE_RUN}~0~1",
    ),
    "skipped where the policy says so": lambda h: skipped(h, "misfire", WIDE_RUN),
}


@pytest.mark.parametrize("what", EXCUSED)
def test_a_fault_excuses_what_it_may_have_caused_and_no_more(what: str) -> None:
    assert check(told(EXCUSED[what](clean(DURING)))) == []
    assert check(told(EXCUSED[what](clean(BEFORE)))) != []
    assert check(told(EXCUSED[what](clean()))) != []


NEVER_EXCUSED = {
    name: planted
    for name, planted in PLANTED.items()
    if name
    not in ("a late run", "a loss without a fault", "a skip without excuse", "a range that counts too much")
}


@pytest.mark.parametrize("planted", NEVER_EXCUSED)
def test_no_fault_excuses_what_is_done_twice_or_told_wrong(planted: str) -> None:
    plant, wanted = NEVER_EXCUSED[planted]
    found = set(kinds(check(told(plant(clean(DURING))))))
    assert found >= wanted - {"missed", "lost"}, found
    assert found


def test_a_loss_that_the_witness_survived_needs_a_kill_right_after_or_a_long_silence() -> None:
    def lost(faults: tuple[Fault, ...], *kills: tuple[str, float]) -> set[str]:
        return set(kinds(check(told(replace(recorded(clean(faults), ATTEMPT, state="lost"), kills=kills)))))

    assert lost(DURING) == {"differs"}
    assert lost(DURING, ("w1", 100.9)) == set()
    assert lost(DURING, ("w2", 100.9)) == {"differs"}
    assert lost(DURING, ("w1", 101.2)) == {"differs"}
    assert lost((a_fault(40, 110),)) == set()


def test_no_fault_excuses_a_skip_of_a_job_that_catches_up_with_everything() -> None:
    assert set(kinds(check(told(skipped(clean(DURING), "misfire"))))) == {"skipped"}


def test_an_overlap_skip_needs_a_run_in_the_way_that_a_fault_held_up() -> None:
    def held_up(history: History) -> History:
        before = f"wide@{BASE + 90:.0f}"
        runs = tuple(
            replace(run, finished=BASE + 105) if run.id == before else run
            for run in skipped(history, "overlap", WIDE_RUN).runs
        )
        return replace(skipped(history, "overlap", WIDE_RUN), runs=runs)

    assert check(told(held_up(clean(DURING)))) == []
    assert check(told(held_up(clean(BEFORE)))) == []  # what was held up lasts beyond the recovery
    assert set(kinds(check(told(held_up(clean()))))) == {"missed", "skipped"}
    assert set(kinds(check(told(skipped(clean(DURING), "overlap", WIDE_RUN))))) == {"skipped"}


def test_lateness_counts_from_when_the_moved_clock_first_showed_the_fire_time() -> None:
    clock = SchedulerClock(BASE, [(50.0, 30.0), (100.0, -20.0)])
    assert clock.due(BASE + 40) == 40.0
    assert clock.due(BASE + 60) == 50.0  # jumped over
    assert clock.due(BASE + 85) == 55.0
    assert clock.due(BASE + 130) == 150.0  # the step back is waited out
    assert clock.due(BASE + 129) == 99.0
    assert clock.wall(99.0) == BASE + 129
    assert clock.moments(BASE + 85) == [55.0, 105.0]  # shown twice


def test_two_runs_cannot_both_stand_for_one_fire_time() -> None:
    """A third run within reach of two fire times: matched one to one, it is left over whatever it claims to be."""
    extra = again(clean(), ATTEMPT, f"tick@{BASE + 100:.0f}-x~0~1", later=0.5)
    run = next(run for run in extra.runs if run.id == RUN)
    row = next(row for row in extra.attempts if row.id == ATTEMPT)
    extra = replace(
        extra,
        runs=(*extra.runs, replace(run, id=f"{RUN}-x")),
        attempts=(*extra.attempts, replace(row, id=f"{RUN}-x~0~1", fence=10_000)),
    )
    assert set(kinds(check(told(extra)))) == {"unexplained"}


# ---- P7: what has happened is told and counted


def eventful() -> History:
    """A loss and what was done after it, a late word, a fence, a second leadership and a skip, all told and counted."""
    history = EXCUSED["given again after a loss"](clean(DURING))
    history = skipped(history, "misfire", f"wide@{BASE + 110:.0f}")
    history = recorded(history, f"{WIDE_RUN}~1~1", state="lost", reason="fenced")
    ends = tuple(end for end in history.ends if end.attempt != f"{WIDE_RUN}~1~1")
    history = replace(history, ends=ends, attempts=tuple(_later_epoch(row) for row in history.attempts))
    history = told(replace(history, starts=tuple(_later_start(start) for start in history.starts)))
    first = history.events[0]
    late = f"{WIDE_RUN}~2~1"
    told_late = tuple(
        replace(first, seq=1000 + number, type=kind, attempt=late, epoch=2, time=BASE + 105)
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
    killed = replace(history, lives=(replace(life, ended=120.0),), scrapes=(last,))
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
