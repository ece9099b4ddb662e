"""Fire times through the leader's mind: runs, skips and catch-up, each exactly one row."""

from datetime import timedelta

from support.leading import (
    BEGIN,
    a_job,
    asked,
    at,
    beat,
    closed,
    ended,
    fired,
    given,
    instant,
    leading,
    of,
    rebuilt,
    row,
    skipped,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, LeadershipGained
from schedulerd.core.requests import PauseJob, ResumeJob, TriggerJob
from schedulerd.core.step import step
from schedulerd.model.job import Cron, Every, Misfire, Overlap
from schedulerd.model.moment import Moment
from schedulerd.model.run import Pause
from schedulerd.protocol.messages import Dispatch

MINUTELY = Cron(expressions=("* * * * *",))


def test_a_fire_time_is_recorded_as_a_run_with_its_attempt_before_anything_is_sent() -> None:
    state = leading(a_job(trigger=MINUTELY))
    effects = told(state, [AlarmRang()], "02:01:00")
    kinds = [type(effect) for effect in effects]
    assert kinds[:4] == [fx.RecordRuns, fx.RecordSubtasks, fx.RecordAttempts, fx.RecordMarks]
    assert fired(effects) == ["backup@20261123T020100Z"]
    assert given(effects) == [("w1", "backup@20261123T020100Z~0~1")]
    assert kinds.index(fx.RecordAttempts) < kinds.index(fx.Send)
    assert of(fx.RecordMarks, effects) == [fx.RecordMarks((("backup", instant("02:01:00")),))]


def test_the_alarm_is_set_to_the_next_fire_time() -> None:
    state = leading(a_job(trigger=MINUTELY))
    assert of(fx.SetAlarm, told(state, [AlarmRang()], "02:01:00"))[0].utc == instant("02:02:00")


def test_nothing_fires_before_its_time() -> None:
    state = leading(a_job(trigger=MINUTELY))
    assert not of(fx.RecordRuns, told(state, [AlarmRang()], "02:00:59.9"))


def test_overlap_skip_makes_a_fire_time_a_skip_while_a_run_is_open() -> None:
    state = leading(a_job(trigger=MINUTELY))
    told(state, [AlarmRang()], "02:01:00")
    effects = told(state, [AlarmRang()], "02:02:00")
    assert skipped(effects) == [("02:02:00", "02:02:00", "overlap", 1)]
    assert not fired(effects)
    told(state, [ended("w1", "backup@20261123T020100Z~0~1")], "02:02:30")
    assert fired(told(state, [AlarmRang()], "02:03:00")) == ["backup@20261123T020300Z"]


def test_overlap_allow_lets_runs_run_beside_each_other() -> None:
    state = leading(a_job(trigger=MINUTELY, overlap=Overlap.ALLOW))
    told(state, [AlarmRang()], "02:01:00")
    assert fired(told(state, [AlarmRang()], "02:02:00")) == ["backup@20261123T020200Z"]


def test_a_manual_run_counts_as_open_too() -> None:
    state = leading(a_job(trigger=MINUTELY))
    told(state, [asked(TriggerJob(job="backup", key="k", by="ann"))], "02:00:30")
    assert skipped(told(state, [AlarmRang()], "02:01:00")) == [("02:01:00", "02:01:00", "overlap", 1)]


def test_fire_times_of_a_pause_are_one_range_and_firing_goes_on_after_it() -> None:
    state = leading(a_job(trigger=Every(period=timedelta(seconds=5)), overlap=Overlap.ALLOW))
    told(state, [asked(PauseJob(job="backup", by="ann"))], "02:00:01")
    assert not fired(told(state, [AlarmRang()], "02:00:05"))
    effects = told(state, [asked(ResumeJob(job="backup", by="ann"))], "02:00:31")
    assert skipped(effects) == [("02:00:10", "02:00:30", "paused", 5)]
    assert of(fx.RecordPause, effects) == [fx.RecordPause("backup", None)]
    assert fired(told(state, [AlarmRang()], "02:00:35")) == ["backup@20261123T020035Z"]


def test_a_pause_ends_by_itself_at_its_time() -> None:
    state = leading(a_job(trigger=MINUTELY))
    told(state, [asked(PauseJob(job="backup", by="ann", until=instant("02:01:30")))], "02:00:10")
    assert skipped(told(state, [AlarmRang()], "02:01:00")) == [("02:01:00", "02:01:00", "paused", 1)]
    effects = told(state, [AlarmRang()], "02:01:30")
    assert of(fx.RecordPause, effects) == [fx.RecordPause("backup", None)]
    assert fired(told(state, [AlarmRang()], "02:02:00")) == ["backup@20261123T020200Z"]


def test_a_pause_that_ended_while_nobody_led_is_accounted_for_up_to_its_end_only() -> None:
    pause = Pause(by="ann", reason="", since=instant("01:50:00"), until=instant("01:58:30"))
    job = a_job(trigger=MINUTELY, misfire=Misfire.SKIP)
    state = rebuilt(row(job, mark="01:55:00", pause=pause), now="02:00:30")
    effects = told(state, [LeadershipGained()], "02:00:30")
    assert skipped(effects) == [
        ("01:56:00", "01:58:00", "paused", 3),
        ("01:59:00", "02:00:00", "misfire", 2),
    ]


def test_a_job_paused_by_its_definition_skips() -> None:
    state = leading(a_job(trigger=MINUTELY, paused=True))
    assert skipped(told(state, [AlarmRang()], "02:01:00")) == [("02:01:00", "02:01:00", "paused", 1)]


def test_missed_fire_times_are_caught_up_with_one_after_another_oldest_first() -> None:
    job = a_job(trigger=MINUTELY, misfire=Misfire.ALL, catchup_max=3, overlap=Overlap.ALLOW)
    state = leading(row(job, mark="01:55:00"), now="02:00:30")
    ids = [f"backup@20261123T0{minute}00Z" for minute in ("158", "159", "200")]
    assert [run for run in ids if run in state.runs] == ids
    assert given(told(state, [AlarmRang()], "02:00:31")) == [("w1", f"{ids[0]}~0~1")]
    assert not given(told(state, [AlarmRang()], "02:00:32"))  # the others wait for it
    then = told(state, [ended("w1", f"{ids[0]}~0~1")], "02:00:40")
    assert closed(then) == [(ids[0], "succeeded", "")]
    assert given(then) == [("w2", f"{ids[1]}~0~1")]


def test_catchup_is_limited_to_ten_runs_a_second_over_all_jobs() -> None:
    jobs = [row(a_job(f"job{number:02}", trigger=MINUTELY), mark="01:59:30") for number in range(20)]
    state = rebuilt(*jobs, now="02:00:30")
    begun = []
    for hundredth in range(100):
        told(state, [AlarmRang()], f"02:00:{30 + hundredth / 100:.2f}")
        begun.append(sum(not run.is_held for run in state.runs.values()))
    assert begun[0] == 1
    assert 9 <= begun[-1] <= 10
    assert len(set(begun)) == begun[-1]  # one at a time


def test_a_catchup_run_waits_for_an_open_run_of_its_job() -> None:
    job = a_job(trigger=MINUTELY, misfire=Misfire.ONCE)
    state = leading(job)
    assert given(told(state, [AlarmRang()], "02:01:00"))
    assert not given(told(state, [AlarmRang()], "02:02:30"))  # 02:02 was missed and is caught up with
    assert "backup@20261123T020200Z" in state.runs
    still_there = [beat("w1", 1, "02:02:40"), beat("w2", 1, "02:02:40")]
    effects = told(state, [*still_there, ended("w1", "backup@20261123T020100Z~0~1")], "02:02:40")
    assert given(effects) == [("w2", "backup@20261123T020200Z~0~1")]


def test_catchup_runs_that_wait_for_their_turn_hold_up_nothing_that_is_on_time() -> None:
    jobs = [row(a_job(f"job{number:02}", trigger=MINUTELY), mark="01:59:30") for number in range(20)]
    state = rebuilt(*jobs, now="02:00:59.5")
    for tenth in range(5):
        told(state, [AlarmRang()], f"02:00:59.{5 + tenth}")
    begun = sum(
        not run.is_held for run in state.runs.values()
    )  # only these are in the way of their jobs' next
    assert 0 < begun < 20
    effects = told(state, [AlarmRang()], "02:01:00")
    assert len(fired(effects)) == 20 - begun
    assert [reason for _, _, reason, _ in skipped(effects)] == ["overlap"] * begun


def test_misfire_skip_and_too_old_say_why() -> None:
    skip = a_job("skips", trigger=MINUTELY, misfire=Misfire.SKIP)
    old = a_job("ages", trigger=MINUTELY, misfire=Misfire.ONCE, catchup=timedelta(minutes=2))
    state = rebuilt(row(skip, mark="01:55:30"), row(old, mark="01:55:30"), now="02:00:30")
    effects = told(state, [LeadershipGained()], "02:00:30")
    assert skipped(effects) == [
        ("01:56:00", "01:58:00", "too_old", 3),
        ("01:59:00", "01:59:00", "misfire", 1),
        ("01:56:00", "02:00:00", "misfire", 5),
    ]
    assert fired(effects) == ["ages@20261123T020000Z"]


def test_a_clock_set_back_fires_nothing_again() -> None:
    state = leading(a_job(trigger=MINUTELY, overlap=Overlap.ALLOW))
    assert fired(told(state, [AlarmRang()], "02:01:00"))
    assert not fired(step(state, [AlarmRang()], Moment(BEGIN, at("02:01:10").mono)))
    assert not fired(told(state, [AlarmRang()], "02:01:20"))
    assert fired(told(state, [AlarmRang()], "02:02:00")) == ["backup@20261123T020200Z"]


def test_work_without_a_worker_is_recorded_and_waits() -> None:
    state = leading(a_job(trigger=MINUTELY), workers=[])
    effects = told(state, [AlarmRang()], "02:01:00")
    assert fired(effects) == ["backup@20261123T020100Z"]
    assert not of(fx.RecordAttempts, effects)
    assert not [effect for effect in of(fx.Send, effects) if isinstance(effect.message, Dispatch)]
