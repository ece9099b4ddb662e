"""A history of 200 seconds as it should be, and what can be done to it, for the tests of the fault tests' checker."""

from collections import Counter
from dataclasses import replace

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
from acceptance.faults.kit.telling import skip_told

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
    for slot in history.slots:
        if slot.run is None:
            events.append(_skip_event(slot, len(events) + 1))
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
    history = without_run(history, run)
    return replace(
        history,
        slots=(*history.slots, row),
        events=(*history.events, _skip_event(row, len(history.events) + 1)),
    )


def _skip_event(row: SlotRow, seq: int) -> EventRow:
    return EventRow(
        seq=seq, time=row.first, type="skipped", attempt=None, epoch=1, detail=skip_told(row), job=row.job
    )


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


def unheard(history: History, attempt: str) -> History:
    """It was lost, and its process did not come to its end."""
    ends = tuple(end for end in history.ends if end.attempt != attempt)
    return recorded(replace(history, ends=ends), attempt, state="lost")


DURING = (a_fault(95, 98),)  # with its recovery until 113
BEFORE = (a_fault(70, 80),)  # over at 95
