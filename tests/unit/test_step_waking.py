"""What the leader wakes for stays as small as the table and the open runs, and nothing of it is forgotten by that."""

from datetime import timedelta

from support.leading import (
    a_job,
    asked,
    at,
    beat,
    closed,
    defined,
    events_of,
    fired,
    inventory,
    leading,
    of,
    skipped,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.events import AlarmRang
from schedulerd.model.job import Cron, Every, Job

MINUTELY = Cron(expressions=("* * * * *",))
HOURLY = Cron(expressions=("0 * * * *",))


def edited(job: Job) -> rq.PutJob:
    return rq.PutJob(definition=defined(job, ""), by="ann")


def test_a_job_edited_all_day_is_remembered_once() -> None:
    state = leading(*(a_job(f"other{number}", trigger=HOURLY) for number in range(20)))
    longest = 0
    for number in range(10_000):
        trigger = Every(period=timedelta(hours=1, seconds=number))
        told(state, [asked(edited(a_job("mine", trigger=trigger)))], "02:00:10")
        longest = max(longest, len(state.fires))
    assert longest < 200
    told(state, [asked(edited(a_job("mine", trigger=MINUTELY)))], "02:00:20")
    assert fired(told(state, [AlarmRang()], "02:01:00")) == ["mine@20261123T020100Z"]
    assert len(fired(told(state, [AlarmRang()], "03:00:00"))) == 21


def test_pauses_that_were_lifted_are_forgotten_and_the_one_that_holds_ends_in_time() -> None:
    state = leading(a_job(trigger=MINUTELY))
    for second in range(1000):
        until = at("09:00:00").utc + timedelta(seconds=second)
        told(state, [asked(rq.PauseJob(job="backup", by="ann", until=until))], "02:00:10")
        told(state, [asked(rq.ResumeJob(job="backup", by="ann"))], "02:00:20")
    assert len(state.fires) < 100
    told(state, [asked(rq.PauseJob(job="backup", by="ann", until=at("02:03:30").utc))], "02:00:30")
    for second in range(1000):  # the heap is made anew while the pause holds
        trigger = Every(period=timedelta(hours=1, seconds=second))
        told(state, [asked(edited(a_job("other", trigger=trigger)))], "02:00:40")
    skips = [told(state, [AlarmRang()], f"02:0{minute}:00") for minute in (1, 2, 3)]
    assert [skipped(effects)[0][2] for effects in skips] == ["paused"] * 3
    effects = told(state, [AlarmRang()], "02:03:30")
    assert events_of(effects) == ["resumed"]
    assert fired(told(state, [AlarmRang()], "02:04:00")) == ["backup@20261123T020400Z"]


def test_a_table_that_shrinks_takes_what_it_would_wake_for_along() -> None:
    state = leading(*(a_job(f"j{number}", trigger=HOURLY) for number in range(500)), a_job(trigger=HOURLY))
    kept = defined(a_job(trigger=HOURLY))
    told(state, [asked(rq.ReplaceTable(definitions=(kept,)))], "02:00:10")
    assert [name for _, name in state.fires] == ["backup"]


def test_a_job_that_waits_for_the_clock_is_not_looked_at_because_others_are_edited() -> None:
    state = leading(a_job(trigger=MINUTELY), now="02:00:30")
    state.is_clock_believed, state.doubts_since = False, at("02:00:30").mono
    told(state, [AlarmRang()], "02:59:50")
    assert list(state.doubted) == ["backup"]
    for second in range(1000):
        trigger = Every(period=timedelta(hours=1, seconds=second))
        effects = told(state, [asked(edited(a_job("other", trigger=trigger)))], "02:59:51")
        alarm = of(fx.SetAlarm, effects)[0].utc
        assert alarm is None or alarm > at("02:59:51").utc


def test_a_worker_that_comes_and_goes_is_not_remembered_each_time() -> None:
    job = a_job(trigger=MINUTELY, requires=("gpu",), dispatch_timeout=timedelta(hours=6))
    state = leading(job, workers=["w1"], slots=0, labels=["gpu"])
    told(state, [AlarmRang()], "02:01:00")
    for number in range(1, 1001):
        gone = beat("w1", 2 * number, "02:01:10", state="draining")
        told(state, [gone], "02:01:10")
        told(state, [beat("w1", 2 * number + 1, "02:01:10")], "02:01:10")
    assert len(state.deadlines) < 100
    told(state, [inventory("w1", "02:01:20", slots=0, labels=["gpu"], state="draining")], "02:01:20")
    (run,) = state.runs
    assert not closed(told(state, [AlarmRang()], "08:01:19"))
    assert closed(told(state, [AlarmRang()], "08:01:20"))[0] == (run, "failed", "no_worker")
