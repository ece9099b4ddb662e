"""The checker of the fault tests: a clean history is clean, each kind of error planted into one is found.

A fault excuses what it may have caused, while it and its recovery last, and nothing else.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from acceptance.faults.kit.checker import check, kinds
from acceptance.faults.kit.history import Fault, History, SchedulerClock, SlotRow
from support.fault_history import (
    ATTEMPT,
    BASE,
    BEFORE,
    DURING,
    RUN,
    WIDE_RUN,
    a_fault,
    added,
    again,
    clean,
    moved,
    recorded,
    skipped,
    told,
    unheard,
    without_run,
)


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
