"""Broadcasts over a large fleet are given out in parts, and no run stands in another's way meanwhile."""

from collections import Counter

import pytest
from support.leading import (
    a_job,
    at,
    beat,
    ended,
    given,
    instant,
    leading,
    of,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core import placement
from schedulerd.core.events import AlarmRang
from schedulerd.core.firing import FIRES_A_STEP
from schedulerd.core.placement import PARTS_A_STEP, PLACES_A_STEP, PLACES_BEHIND
from schedulerd.core.state import State
from schedulerd.model.job import Cron, Job, PerWorker, Shards

MINUTELY = Cron(expressions=("* * * * *",))
FLEET = tuple(f"w{number:04}" for number in range(1000))


def everywhere(name: str = "everywhere", trigger: Cron = MINUTELY) -> Job:
    return a_job(name, trigger=trigger, split=PerWorker())


def job_of(attempt: str) -> str:
    return attempt.partition("@")[0]


def is_unfinished(effects: list[fx.Effect], now: str) -> bool:
    (alarm,) = of(fx.SetAlarm, effects)
    return alarm.mono is not None and alarm.mono <= at(now).mono


def parts_until_calm(state: State, now: str) -> list[list[tuple[str, str]]]:
    """What each of the steps that follow at once gives out."""
    parts = []
    for _ in range(100):
        effects = told(state, [AlarmRang()], now)
        parts.append(given(effects))
        if not is_unfinished(effects, now):
            return parts
    raise AssertionError("there is always more to give out")


def test_a_broadcast_to_a_thousand_workers_is_given_out_in_parts_and_the_next_step_comes_at_once() -> None:
    state = leading(everywhere(), workers=FLEET, slots=1)
    parts = parts_until_calm(state, "02:01:00")
    assert [len(part) for part in parts] == [PLACES_A_STEP, PLACES_A_STEP]
    assert sorted(worker for part in parts for worker, _ in part) == sorted(FLEET)


def test_less_of_a_broadcast_is_given_out_while_fire_times_wait() -> None:
    jobs = [a_job(f"j{number}", trigger=MINUTELY, requires=("no",)) for number in range(FIRES_A_STEP)]
    state = leading(everywhere(), *jobs, workers=FLEET[:300], slots=1, now="02:00:30")
    assert len(given(told(state, [AlarmRang()], "02:01:00"))) == PLACES_BEHIND
    assert [len(part) for part in parts_until_calm(state, "02:01:00")] == [200]


def test_many_broadcasts_get_their_subtasks_in_parts() -> None:
    count = 5
    state = leading(*(everywhere(f"b{number}") for number in range(count)), workers=FLEET, slots=1)
    most = 0
    seen = 0
    for _ in range(20):
        effects = told(state, [AlarmRang()], "02:01:00")
        made = sum(len(record.subtasks) for record in of(fx.RecordSubtasks, effects))
        assert len(given(effects)) <= PLACES_A_STEP
        most, seen = max(most, made), seen + made
        if not is_unfinished(effects, "02:01:00"):
            break
    assert most == PARTS_A_STEP
    assert seen == count * len(FLEET)
    assert not is_unfinished(effects, "02:01:00")


def test_a_broadcast_that_is_cut_goes_on_before_those_that_came_later() -> None:
    state = leading(everywhere("first"), everywhere("second"), workers=FLEET, slots=4)
    parts = parts_until_calm(state, "02:01:00")
    assert [Counter(job_of(attempt) for _, attempt in part) for part in parts] == [
        {"first": PLACES_A_STEP},
        {"first": PLACES_A_STEP},
        {"second": PLACES_A_STEP},
        {"second": PLACES_A_STEP},
        {},
    ][: len(parts)]
    assert sum(map(len, parts)) == 2 * len(FLEET)


def test_a_broadcast_that_waits_for_a_full_worker_stops_nobody_behind_it() -> None:
    second = Cron(expressions=("2 * * * *",))
    jobs = [everywhere("long"), everywhere("stuck", trigger=second), a_job("then", trigger=second)]
    state = leading(*jobs, workers=["w1", "w2"], slots=1)
    told(state, [AlarmRang()], "02:01:00")
    told(state, [ended("w2", "long@20261123T020100Z~1~1")], "02:01:01")
    beats = [beat("w1", 1, "02:02:00"), beat("w2", 1, "02:02:00")]
    effects = told(state, [AlarmRang(), *beats], "02:02:00")
    assert given(effects) == [("w2", "stuck@20261123T020200Z~1~1")]
    effects = told(state, [ended("w2", "stuck@20261123T020200Z~1~1")], "02:02:01")
    assert given(effects) == [("w2", "then@20261123T020200Z~0~1")]
    assert not is_unfinished(effects, "02:02:01"), "a full worker is no reason to step again"
    effects = told(state, [ended("w1", "long@20261123T020100Z~0~1")], "02:02:01.5")
    assert given(effects) == [("w1", "stuck@20261123T020200Z~0~1")]


def test_a_requirement_with_more_than_a_step_gives_does_not_starve_another() -> None:
    """Though the first one's workers are free again as often as it is looked at."""
    flood = a_job("flood", trigger=MINUTELY, split=Shards(count=10_000))
    rare = a_job("rare", trigger=MINUTELY, requires=("!never",))
    state = leading(flood, rare, workers=FLEET[:600], slots=20)
    first = told(state, [AlarmRang()], "02:01:00")
    second = told(state, [AlarmRang()], "02:01:00")
    names = [Counter(job_of(attempt) for _, attempt in given(effects)) for effects in (first, second)]
    assert names[0] == {"flood": PLACES_A_STEP}
    assert names[1] == {"flood": PLACES_A_STEP - 1, "rare": 1}


def test_runs_that_nobody_is_able_to_take_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    real = placement.await_worker

    def counted(state: State, run: object, now: object) -> None:
        looks.append(run.id)  # type: ignore[attr-defined]
        real(state, run, now)  # type: ignore[arg-type]

    monkeypatch.setattr(placement, "await_worker", counted)
    jobs = [a_job(f"j{number}", trigger=MINUTELY) for number in range(50)]
    late = a_job("late", trigger=Cron(expressions=("2 * * * *",)), overlap="allow")
    state = leading(*jobs, late, workers=["w1"], slots=1)
    draining = beat("w1", 1, "02:00:59", state="draining")
    told(state, [draining], "02:00:59")
    told(state, [AlarmRang()], "02:01:00")
    assert len(looks) == 50
    for second in range(1, 20):
        told(state, [AlarmRang()], f"02:01:{second:02}")
    assert len(looks) == 50
    told(state, [AlarmRang()], "02:02:00")
    assert len(looks) == 51
    # able for a moment: the first of them gets the slot, and all others count anew
    told(state, [beat("w1", 2, "02:02:01")], "02:02:01")
    told(state, [beat("w1", 3, "02:02:02", state="draining")], "02:02:02")
    assert all(run.unable_since is not None for run in state.runs.values() if not run.live)
    assert min(run.created_at for run in state.runs.values()) == instant("02:01:00")
