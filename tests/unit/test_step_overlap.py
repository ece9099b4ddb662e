"""What a new run does beside open ones of its job: queue and replace, in the core and through takeovers."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from support.leading import (
    a_job,
    answer,
    asked,
    beat,
    began,
    closed,
    defined,
    ended,
    events_of,
    fired,
    given,
    instant,
    inventory,
    leading,
    of,
    sent,
    skipped,
    told,
    took,
)
from support.takeovers import Leadership

from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.events import AlarmRang, FrameArrived
from schedulerd.core.state import State
from schedulerd.model.job import Cron, Every, Items, Job, Misfire, Overlap, PerWorker, Shards
from schedulerd.protocol import messages as msg

MINUTELY = Cron(expressions=("* * * * *",))


def queued(**changes: object) -> Job:
    return a_job(**{"trigger": MINUTELY, "overlap": Overlap.QUEUE, "queue_max": 2, **changes})


def run_of(minute: int) -> str:
    return f"backup@20261123T02{minute:02}00Z"


def first_of(minute: int) -> str:
    return f"{run_of(minute)}~0~1"


def alive(now: str) -> FrameArrived:
    return beat("w1", int(instant(now).timestamp()), now)


def end(state: State, attempt: str, now: str, how: str = "succeeded") -> list[fx.Effect]:
    return told(state, [alive(now), ended("w1", attempt, how)], now)


def at_minute(state: State, minute: int) -> list[fx.Effect]:
    return told(state, [AlarmRang(), alive(f"02:{minute:02}:00")], f"02:{minute:02}:00")


def waiting(state: State) -> list[str]:
    return [run.id for run in state.runs.values() if run.is_held]


def test_a_fire_time_joins_the_queue_while_a_run_is_open_and_over_queue_max_it_is_a_skip() -> None:
    state = leading(queued(), workers=["w1"])
    assert given(at_minute(state, 1)) == [("w1", first_of(1))]
    for minute in (2, 3):
        effects = at_minute(state, minute)
        assert (fired(effects), given(effects), skipped(effects)) == ([run_of(minute)], [], [])
    effects = at_minute(state, 4)
    assert not fired(effects)
    assert skipped(effects) == [("02:04:00", "02:04:00", "queue_full", 1)]
    assert waiting(state) == [run_of(2), run_of(3)]


def test_queued_runs_begin_one_after_another_oldest_first() -> None:
    state = leading(queued(), workers=["w1"])
    for minute in (1, 2, 3):
        at_minute(state, minute)
    effects = end(state, first_of(1), "02:03:10", "failed")
    assert closed(effects) == [(run_of(1), "failed", "exit")]
    assert given(effects) == [("w1", first_of(2))]  # in the very step that closes the one before
    assert fired(at_minute(state, 4)) == [run_of(4)]  # there is room again
    assert given(end(state, first_of(2), "02:04:10")) == [("w1", first_of(3))]
    assert given(end(state, first_of(3), "02:04:20")) == [("w1", first_of(4))]
    assert not given(end(state, first_of(4), "02:04:30"))
    assert (state.runs, state.lines, state.turns) == ({}, {}, {})


def test_a_queued_run_without_subtasks_lets_the_next_one_begin_at_once() -> None:
    state = leading(queued(split=Items(items=())), workers=["w1"])
    busy = leading(queued(), workers=["w1"])
    for minute in (1, 2, 3):
        assert [end[1] for end in closed(at_minute(state, minute))] == ["succeeded"]
        at_minute(busy, minute)
    empty = queued(split=Items(items=()))
    for run in list(busy.runs.values())[1:]:
        run.definition = type(run.definition)(job=empty, origin=run.definition.origin, version="x")
    effects = end(busy, first_of(1), "02:03:10")
    assert closed(effects) == [(run_of(minute), "succeeded", "") for minute in (1, 2, 3)]


def test_a_manual_trigger_is_queued_or_refused_when_the_queue_is_full() -> None:
    state = leading(queued(), workers=["w1"])
    answers = []
    for key in "abcd":
        effects = told(state, [asked(rq.TriggerJob(job="backup", key=key, by="ann"))], "02:00:10")
        shown = answer(effects)
        assert isinstance(shown, rq.Triggered)
        answers.append((shown.outcome, bool(shown.run), len(given(effects))))
        if key == "d":
            assert "queue_max" in shown.reason
    assert answers == [("started", True, 1), ("queued", True, 0), ("queued", True, 0), ("refused", False, 0)]


def test_cancelling_a_queued_run_closes_it_and_leaves_its_place_to_others() -> None:
    state = leading(queued(), workers=["w1"])
    for minute in (1, 2, 3):
        at_minute(state, minute)
    effects = told(state, [asked(rq.CancelRun(run=run_of(2), by="ann"))], "02:03:10")
    assert closed(effects) == [(run_of(2), "cancelled", "operator")]
    assert given(end(state, first_of(1), "02:03:20")) == [("w1", first_of(3))]


def test_a_pause_that_ends_what_runs_ends_what_waits_too() -> None:
    state = leading(queued(), workers=["w1"])
    for minute in (1, 2, 3):
        at_minute(state, minute)
    pause = rq.PauseJob(job="backup", by="ann", cancel_running=True)
    assert closed(told(state, [asked(pause)], "02:03:10")) == [
        (run_of(minute), "cancelled", "operator") for minute in (2, 3)
    ]
    effects = end(state, first_of(1), "02:03:20", "cancelled")
    assert closed(effects) == [(run_of(1), "cancelled", "operator")]
    assert not state.runs


@pytest.mark.parametrize("policy", [Overlap.ALLOW, Overlap.SKIP])
def test_runs_that_wait_stay_in_line_when_overlap_is_edited(policy: Overlap) -> None:
    state = leading(queued(), workers=["w1"], slots=4)
    for minute in (1, 2, 3):
        at_minute(state, minute)
    edited = rq.ReplaceTable(definitions=(defined(queued(overlap=policy)),))
    assert not given(told(state, [alive("02:03:10"), asked(edited)], "02:03:10"))
    if policy is Overlap.ALLOW:  # a new one begins beside them and holds none of them up
        assert first_of(4) in [attempt for _, attempt in given(at_minute(state, 4))]
    assert ("w1", first_of(2)) in given(end(state, first_of(1), "02:04:10"))
    assert ("w1", first_of(3)) in given(end(state, first_of(2), "02:04:20"))


def test_a_removed_job_finishes_its_queue() -> None:
    state = leading(queued(), workers=["w1"])
    for minute in (1, 2, 3):
        at_minute(state, minute)
    told(state, [asked(rq.ReplaceTable(definitions=()))], "02:03:10")
    assert given(end(state, first_of(1), "02:03:20")) == [("w1", first_of(2))]
    assert given(end(state, first_of(2), "02:03:30")) == [("w1", first_of(3))]


def test_a_fire_time_on_time_goes_before_those_that_are_caught_up_with() -> None:
    job = queued(trigger=Every(period=timedelta(minutes=1)), misfire=Misfire.ALL)
    state = leading(job, workers=["w1"])
    at_minute(state, 1)
    at_minute(state, 2)
    # 02:03 and 02:04 are found late
    told(state, [AlarmRang(), alive("02:04:30")], "02:04:30")
    assert waiting(state) == [run_of(2), run_of(3), run_of(4)]
    assert given(end(state, first_of(1), "02:04:40")) == [("w1", first_of(2))]
    assert fired(told(state, [AlarmRang(), alive("02:05:00")], "02:05:00")) == [run_of(5)]
    assert given(end(state, first_of(2), "02:05:05")) == [("w1", first_of(5))]
    assert given(end(state, first_of(5), "02:05:10")) == [("w1", first_of(3))]
    assert given(end(state, first_of(3), "02:05:20")) == [("w1", first_of(4))]


def test_a_takeover_finds_the_queue_as_it_was(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, queued())) as leader:
        for minute in (1, 2, 3):
            leader.tell([AlarmRang()], f"02:{minute:02}:00")
        assert not given(leader.take_over("02:03:05", {"w1": [first_of(1)]}))
        assert waiting(leader.state) == [run_of(2), run_of(3)]
        effects = leader.tell([AlarmRang()], "02:04:00")
        assert skipped(effects) == [("02:04:00", "02:04:00", "queue_full", 1)]
        effects = leader.tell([alive("02:04:10"), ended("w1", first_of(1))], "02:04:10")
        assert given(effects) == [("w1", first_of(2))]
        leader.take_over("02:04:15", {"w1": [first_of(2)]})
        assert given(leader.tell([ended("w1", first_of(2))], "02:04:20")) == [("w1", first_of(3))]


def test_a_run_that_had_begun_without_workers_to_spread_over_is_first_again_after_a_takeover(
    tmp_path: Path,
) -> None:
    with closing(Leadership(tmp_path, queued(split=PerWorker()), workers=())) as leader:
        for minute in (1, 2):
            leader.tell([AlarmRang()], f"02:{minute:02}:00")
        assert waiting(leader.state) == [run_of(2)]
        leader.take_over("02:02:05")
        assert waiting(leader.state) == [run_of(2)]


def test_a_takeover_begins_all_that_may_run_beside_each_other_again(tmp_path: Path) -> None:
    job = queued(split=PerWorker(), overlap=Overlap.ALLOW)
    with closing(Leadership(tmp_path, job, workers=())) as leader:
        for minute in (1, 2, 3):
            leader.tell([AlarmRang()], f"02:{minute:02}:00")
        leader.take_over("02:03:05")
        assert not waiting(leader.state)


def test_after_a_takeover_a_lost_run_lets_the_next_one_begin(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, queued())) as leader:
        for minute in (1, 2):
            leader.tell([AlarmRang()], f"02:{minute:02}:00")
        leader.tell([began("w1", first_of(1))], "02:02:01")
        effects = leader.take_over("02:02:20", nonce="n2")  # the worker was restarted meanwhile
        assert closed(effects) == [(run_of(1), "failed", "lost")]
        assert given(effects) == [("w1", first_of(2))]


# ---- replace


def replacing(**changes: object) -> Job:
    return queued(overlap=Overlap.REPLACE, **changes)


def test_a_new_run_ends_the_open_one_and_begins_when_its_attempts_have_ended() -> None:
    state = leading(replacing(split=Shards(count=2)), workers=["w1"], slots=4)
    at_minute(state, 1)
    second = f"{run_of(1)}~1~1"
    told(state, [took("w1", first_of(1), second)], "02:01:01")
    effects = at_minute(state, 2)
    assert fired(effects) == [run_of(2)]
    assert not given(effects)
    assert of(fx.RecordCancel, effects) == [fx.RecordCancel(run_of(1), run_of(2), "replaced")]
    assert {one.attempt for _, cancel in sent(msg.Cancel, effects) for one in cancel.attempts} == {
        first_of(1),
        second,
    }
    assert "replaced" in events_of(effects)
    assert not given(end(state, first_of(1), "02:02:05", "cancelled"))  # one of two
    effects = end(state, second, "02:02:06", "cancelled")
    assert closed(effects) == [(run_of(1), "cancelled", "replaced")]
    assert given(effects) == [("w1", f"{run_of(2)}~{index}~1") for index in (0, 1)]


def test_of_several_new_runs_only_the_newest_begins() -> None:
    state = leading(replacing(), workers=["w1"])
    at_minute(state, 1)
    at_minute(state, 2)
    assert closed(at_minute(state, 3)) == [(run_of(2), "cancelled", "replaced")]
    effects = end(state, first_of(1), "02:03:10")
    assert closed(effects) == [(run_of(1), "cancelled", "replaced")]
    assert given(effects) == [("w1", first_of(3))]


def test_without_an_open_run_nothing_is_replaced() -> None:
    state = leading(replacing(), workers=["w1"])
    assert given(at_minute(state, 1)) == [("w1", first_of(1))]
    assert closed(end(state, first_of(1), "02:01:10")) == [(run_of(1), "succeeded", "")]
    assert given(at_minute(state, 2)) == [("w1", first_of(2))]


def test_a_run_that_waits_for_a_worker_is_replaced_at_once() -> None:
    state = leading(replacing(), workers=[])
    at_minute(state, 1)
    effects = told(state, [AlarmRang()], "02:02:00")
    assert closed(effects) == [(run_of(1), "cancelled", "replaced")]
    assert not waiting(state)


def test_a_lost_attempt_lets_the_new_run_begin() -> None:
    state = leading(replacing(), workers=["w1", "w2"])
    at_minute(state, 1)
    told(state, [began("w1", first_of(1))], "02:01:01")
    assert not given(told(state, [AlarmRang(), beat("w2", 1, "02:02:00")], "02:02:00"))
    effects = told(state, [inventory("w1", "02:02:30", nonce="n2")], "02:02:30")  # killed and restarted
    assert closed(effects) == [(run_of(1), "cancelled", "replaced")]
    assert [attempt for _, attempt in given(effects)] == [first_of(2)]


def test_a_manual_trigger_replaces_and_says_so() -> None:
    state = leading(replacing(), workers=["w1"])
    at_minute(state, 1)
    shown = answer(told(state, [asked(rq.TriggerJob(job="backup", key="k", by="ann"))], "02:01:10"))
    assert isinstance(shown, rq.Triggered)
    assert (shown.outcome, run_of(1) in shown.reason) == ("started", True)
    assert waiting(state) == [shown.run]


def test_a_missed_fire_time_replaces_nothing_and_waits_for_its_turn() -> None:
    state = leading(replacing(), workers=["w1"])
    at_minute(state, 1)
    effects = told(state, [AlarmRang(), alive("02:02:30")], "02:02:30")
    assert not of(fx.RecordCancel, effects)
    effects = at_minute(state, 3)
    assert [cancel.run for cancel in of(fx.RecordCancel, effects)] == [run_of(1)]
    assert given(end(state, first_of(1), "02:03:05", "cancelled")) == [("w1", first_of(3))]
    assert given(end(state, first_of(3), "02:03:10")) == [("w1", first_of(2))]


def test_a_takeover_goes_on_with_a_replacement_and_knows_why(tmp_path: Path) -> None:
    with closing(Leadership(tmp_path, replacing())) as leader:
        for minute in (1, 2):
            leader.tell([AlarmRang()], f"02:{minute:02}:00")
        leader.take_over("02:02:02", {"w1": [first_of(1)]})
        assert waiting(leader.state) == [run_of(2)]
        effects = leader.tell([AlarmRang()], "02:02:04")  # a beat: asked again
        assert [peer for peer, _ in sent(msg.Cancel, effects)] == ["w1"]
        effects = leader.tell([ended("w1", first_of(1), "cancelled")], "02:02:05")
        assert closed(effects) == [(run_of(1), "cancelled", "replaced")]
        assert given(effects) == [("w1", first_of(2))]
