"""A leader whose host has just booted and whose clock may be wrong: what waits for it, and what does not."""

import pytest
from support.leading import (
    EPOCH,
    a_job,
    answer,
    asked,
    at,
    defined,
    fired,
    of,
    row,
    skipped,
    told,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, ClockTrusted, LeadershipGained
from schedulerd.core.requests import DeleteJob, PauseJob, PutJob, ReplaceTable, TriggerJob
from schedulerd.core.state import State
from schedulerd.core.takeover import rebuild
from schedulerd.errors import CommandError
from schedulerd.model.job import Cron, Job, Misfire, Pool
from schedulerd.model.run import OpenWork
from schedulerd.protocol.timing import Timing

EVERY_MINUTE = Cron(expressions=("* * * * *",))
HOURLY = Cron(expressions=("0 * * * *",))


def doubting(*jobs: Job, mark: str = "02:00:30", now: str) -> State:
    """A leader that was down since `mark` and does not believe its clock."""
    work = OpenWork(jobs=tuple(row(job, mark) for job in jobs), runs=(), next_fence=1)
    state = rebuild(
        work,
        epoch=EPOCH,
        leader="a",
        results="tcp://a:1",
        output="",
        timing=Timing(),
        now=at(now),
        doubts_clock=True,
    )
    told(state, [LeadershipGained()], now)
    return state


def test_missed_fire_times_wait_and_others_are_on_time() -> None:
    state = doubting(a_job("busy", trigger=EVERY_MINUTE), a_job("rare", trigger=HOURLY), now="02:59:50")
    effects = told(state, [AlarmRang()], "03:00:00")
    assert (fired(effects), skipped(effects)) == (["rare@20261123T030000Z"], [])
    alarm = of(fx.SetAlarm, effects)[0].utc
    assert alarm is not None
    assert alarm > at("03:00:00").utc, "a job that waits must not make the loop spin"


def test_what_waited_is_settled_when_the_clock_is_believed_again() -> None:
    state = doubting(a_job(trigger=EVERY_MINUTE), now="02:59:50")
    effects = told(state, [ClockTrusted()], "02:59:52")
    assert fired(effects) == ["backup@20261123T025900Z"]
    assert skipped(effects) == [("02:01:00", "02:58:00", "misfire", 58)]
    assert skipped(told(state, [AlarmRang()], "03:00:00")) == [("03:00:00", "03:00:00", "overlap", 1)]


@pytest.mark.parametrize("misfire", Misfire)
def test_what_came_while_a_job_waited_was_not_missed(misfire: Misfire) -> None:
    state = doubting(a_job(trigger=EVERY_MINUTE, misfire=misfire, catchup_max=0), now="02:59:45")
    effects = told(state, [ClockTrusted()], "03:00:15")
    late = [run for run in fired(effects) if run.endswith("030000Z")]
    blocked = [skip for skip in skipped(effects) if skip[0] == "03:00:00"]
    # the newest missed one waits for its turn to be caught up with: that holds up nothing that is on time
    assert (late, blocked) == (["backup@20261123T030000Z"], [])


def test_a_clock_that_was_ahead_settles_nothing_of_the_future() -> None:
    state = doubting(a_job(trigger=EVERY_MINUTE), now="08:00:00")
    effects = told(state, [ClockTrusted()], "02:00:40")
    assert (fired(effects), skipped(effects)) == ([], [])
    assert state.jobs["backup"].mark == at("02:00:40").utc
    assert fired(told(state, [AlarmRang()], "02:01:00")) == ["backup@20261123T020100Z"]


def test_a_clock_set_back_in_doubt_leaves_the_job_on_time() -> None:
    state = doubting(a_job(trigger=EVERY_MINUTE), now="08:00:00")
    told(state, [AlarmRang()], "02:00:50")
    assert fired(told(state, [AlarmRang()], "02:01:00")) == ["backup@20261123T020100Z"]


def test_a_job_that_waits_cannot_be_accounted_for_by_a_command() -> None:
    owned = a_job("ours", trigger=EVERY_MINUTE)
    filed = a_job("filed", trigger=EVERY_MINUTE)
    state = doubting(filed, now="02:59:50")
    state.jobs["ours"] = type(state.jobs["filed"])(
        defined(owned, ""), at("02:00:30").utc, at("02:00:30").utc, None, None, state.jobs["filed"].next_fire
    )
    changed = a_job("filed", trigger=EVERY_MINUTE, description="new")
    for request in (
        PauseJob(job="ours", by="me", reason="", until=None),
        PutJob(definition=defined(a_job("ours", trigger=HOURLY), ""), by="me"),
        DeleteJob(job="ours", by="me"),
        ReplaceTable(definitions=(defined(changed),)),
        ReplaceTable(definitions=()),
    ):
        effects = told(state, [asked(request)], "02:59:51")
        refusal = answer(effects)
        assert isinstance(refusal, CommandError), request
        assert refusal.kind == "unavailable"
        assert not of(fx.RecordJobs, effects)
    told(state, [asked(ReplaceTable(definitions=(defined(filed), defined(a_job("new")))))], "02:59:51")
    assert "new" in state.jobs, "a table that changes none of the waiting jobs comes into force"
    manual = told(state, [asked(TriggerJob(job="ours", key="k", by="me"))], "02:59:51")
    assert len(fired(manual)) == 1


def test_a_table_that_is_refused_for_the_clock_changes_no_pool_either() -> None:
    state = doubting(a_job(trigger=EVERY_MINUTE), now="02:59:50")
    order = ReplaceTable(definitions=(), pools=(Pool(name="db", max=1),))
    effects = told(state, [asked(order)], "02:59:51")
    assert isinstance(answer(effects), CommandError)
    assert not state.pools
    assert not of(fx.RecordPools, effects)
