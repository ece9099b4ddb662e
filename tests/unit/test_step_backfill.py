"""Backfill runs in the leader's hands: behind catch-up, beside what is on time, refused when the plan is outdated."""

from msgspec import structs
from support.leading import (
    a_job,
    answer,
    asked,
    at,
    events_of,
    fired,
    given,
    instant,
    leading,
    rebuilt,
    row,
    told,
)

from schedulerd.core import requests as rq
from schedulerd.core.backfill import Fill
from schedulerd.core.events import LeadershipGained
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.core.trigger import FireTime
from schedulerd.errors import CommandError
from schedulerd.model.job import Cron, Misfire
from schedulerd.model.run import Cause, NewRun, OpenRun, RunState

HOURLY = a_job(trigger=Cron(expressions=("0 * * * *",)))


def request(state: State, *times: str, max_parallel: int = 1) -> rq.BackfillJob:
    return rq.BackfillJob(
        job="backup",
        by="eva",
        version=state.jobs["backup"].definition.version,
        fills=tuple(Fill(FireTime(instant(time)), "paused") for time in times),
        splits=(),
        max_parallel=max_parallel,
    )


def test_backfill_runs_are_recorded_with_why_they_were_skipped_and_let_go_one_by_one() -> None:
    state = leading(HOURLY)
    effects = told(state, [asked(request(state, "00:00:00", "01:00:00"))], "02:00:05")
    assert answer(effects) == rq.Backfilled(runs=("backup@20261123T000000Z", "backup@20261123T010000Z"))
    assert fired(effects) == ["backup@20261123T000000Z", "backup@20261123T010000Z"]
    assert events_of(effects) == ["backfilled", "backfilled", "backfill"]
    assert [attempt for _, attempt in given(effects)] == ["backup@20261123T000000Z~0~1"]
    later = [attempt for _, attempt in given(told(state, [], "02:00:10"))]
    assert "backup@20261123T010000Z~0~1" not in later


def test_a_fire_time_on_time_does_not_wait_for_what_is_held() -> None:
    state = leading(HOURLY, slots=1, workers=("w1",))
    told(state, [asked(request(state, "00:00:00", "01:00:00", max_parallel=2))], "02:00:05")
    assert [run.is_held for run in state.runs.values()] == [False, True]
    assert list(state.jobs["backup"].open_runs) == ["backup@20261123T000000Z"]


def test_a_plan_from_before_is_refused_and_changes_nothing() -> None:
    state = leading(HOURLY)
    planned = request(state, "00:00:00")
    changed = structs.replace(planned, version="another")
    assert isinstance(answer(told(state, [asked(changed)], "02:00:05")), CommandError)
    told(state, [asked(planned)], "02:00:06")
    effects = told(state, [asked(planned)], "02:00:07")
    refusal = answer(effects)
    assert isinstance(refusal, CommandError)
    assert refusal.kind == "conflict"
    assert fired(effects) == []


def test_what_was_missed_goes_before_what_was_asked_for() -> None:
    job = a_job(trigger=Cron(expressions=("* * * * *",)), misfire=Misfire.ALL)
    held = NewRun(
        id="backup@20261123T010000Z",
        job="backup",
        version="1",
        cause=Cause.BACKFILL,
        fire_time=instant("01:00:00"),
        has_slot=True,
        created_at=instant("01:59:00"),
    )
    open_run = OpenRun(
        run=held,
        definition=row(job).definition,
        state=RunState.PENDING,
        started_at=None,
        is_split=False,
        is_cancelled=False,
        subtasks=(),
        attempts=(),
    )
    state = rebuilt(row(job, "02:00:00"), runs=[open_run], now="02:02:30")
    assert list(state.jobs["backup"].open_runs) == []  # what waits is in nobody's way, after a takeover too
    step(state, [LeadershipGained()], at("02:02:30"))
    queued = [run.id for run in state.held["backup"]]
    assert queued == ["backup@20261123T020200Z", "backup@20261123T010000Z"]
    assert not state.runs["backup@20261123T020100Z"].is_held
