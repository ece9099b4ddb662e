"""Windows, calendars, jitter, counting from ends and boots through the leader's mind."""

from datetime import timedelta

from support.leading import (
    answer,
    asked,
    closed,
    defined,
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

from schedulerd.adapters.jobfiles import parse_job
from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.effects import Effect
from schedulerd.core.events import AlarmRang, HostBooted, LeadershipGained
from schedulerd.core.state import State
from schedulerd.model.job import Job


def a_job(**keys: object) -> Job:
    return parse_job("backup", {"argv": ["true"], **keys}).job


def wakes(effects: list[Effect]) -> object:
    return of(fx.SetAlarm, effects)[-1].utc


def ends(state: State, run: str, when: str) -> list[Effect]:
    return told(state, [ended("w1", f"backup@20261123T{run}Z~0~1")], when)


def seen(state: State) -> rq.JobView:
    (view,) = answer(told(state, [asked(rq.DescribeJobs(jobs=tuple(state.jobs)))], "03:59:59"))  # type: ignore[misc]
    return view


def test_after_max_runs_there_are_no_fire_times_and_the_job_is_done() -> None:
    state = leading(a_job(schedule="* * * * *", max_runs=2))
    effects = told(state, [AlarmRang()], "02:01:00")
    assert of(fx.RecordRunCounts, effects) == [fx.RecordRunCounts((("backup", 1),))]
    assert skipped(told(state, [AlarmRang()], "02:02:00")) == [("02:02:00", "02:02:00", "overlap", 1)]
    ends(state, "020100", "02:02:10")
    told(state, [asked(rq.TriggerJob(job="backup", key="k", by="ann"))], "02:02:20")  # it counts for nothing
    told(state, [asked(rq.CancelRun(run=next(iter(state.runs)), by="ann"))], "02:02:30")
    effects = told(state, [AlarmRang()], "02:03:00")
    assert of(fx.RecordRunCounts, effects) == [fx.RecordRunCounts((("backup", 2),))]
    assert wakes(effects) is None
    assert not fired(told(state, [AlarmRang()], "02:04:00"))
    assert not skipped(told(state, [AlarmRang()], "02:05:00"))


def test_a_count_is_not_forgotten_by_restarts_and_edits() -> None:
    job = a_job(schedule="* * * * *", max_runs=2)
    state = rebuilt(row(job, runs=2))
    assert not fired(told(state, [LeadershipGained()], "02:05:00"))
    assert seen(state).state == "done"
    more = defined(a_job(schedule="* * * * *", max_runs=3))
    told(state, [asked(rq.ReplaceTable(definitions=(more,)))], "02:05:30")
    assert fired(told(state, [AlarmRang()], "02:06:00")) == ["backup@20261123T020600Z"]


def test_missed_fire_times_run_only_as_far_as_max_runs_goes() -> None:
    job = a_job(schedule="* * * * *", max_runs=2, misfire="all", overlap="allow")
    state = rebuilt(row(job, mark="01:55:00"), now="02:00:30")
    effects = told(state, [LeadershipGained()], "02:00:30")
    assert fired(effects) == ["backup@20261123T015600Z", "backup@20261123T015700Z"]
    assert not skipped(effects)


def test_skips_are_recorded_in_order_of_time_whatever_decides_about_them() -> None:
    state = leading(a_job(every="2s", misfire="skip"))
    assert fired(told(state, [AlarmRang()], "02:00:02"))
    effects = told(state, [AlarmRang()], "02:00:20")
    assert skipped(effects)[:2] == [
        ("02:00:04", "02:00:08", "misfire", 3),
        ("02:00:10", "02:00:10", "overlap", 1),
    ]


def test_an_excluded_fire_time_is_a_recorded_skip_and_the_next_run_is_shown() -> None:
    closed_until = {"times": "2026-11-23T02:00:00Z/2026-11-23T04:30:00Z"}
    state = leading(a_job(schedule="0 * * * *", not_calendar=closed_until))
    assert seen(state).next_fire_time == instant("05:00:00")
    state = leading(a_job(schedule="0 * * * *", not_calendar=closed_until))
    effects = told(state, [AlarmRang()], "03:00:00")
    assert skipped(effects) == [("03:00:00", "03:00:00", "calendar", 1)]
    assert wakes(effects) == instant("04:00:00")


def test_jitter_delays_the_run_and_the_mark_waits_with_it() -> None:
    state = leading(a_job(schedule="0 * * * *", jitter="30m"))
    fire = state.jobs["backup"].next_fire
    assert fire is not None
    assert fire.delay > timedelta(minutes=1)
    effects = told(state, [AlarmRang()], "03:00:30")
    assert not fired(effects)
    assert wakes(effects) == fire.due
    told(state, [asked(rq.PauseJob(job="backup", by="ann"))], "03:00:40")
    effects = told(state, [asked(rq.ResumeJob(job="backup", by="ann"))], "03:00:50")
    assert not skipped(effects)
    assert state.jobs["backup"].mark < fire.instant
    again = rebuilt(row(a_job(schedule="0 * * * *", jitter="30m"), mark="02:59:59"), now="03:01:00")
    assert again.jobs["backup"].next_fire == fire  # another leader draws the same
    assert fired(told(state, [AlarmRang()], f"{fire.due:%H:%M:%S.%f}")) == ["backup@20261123T030000Z"]


def test_a_fire_time_that_waits_is_lost_neither_by_an_edit_nor_by_a_removal() -> None:
    late = a_job(schedule="0 * * * *", jitter="30m")

    def edited(definition: object) -> list[Effect]:
        state = leading(late)
        told(state, [AlarmRang()], "03:00:30")
        definitions = () if definition is None else (definition,)
        return told(state, [asked(rq.ReplaceTable(definitions=definitions))], "03:00:40")  # type: ignore[arg-type]

    assert fired(edited(defined(a_job(schedule="30 * * * *", jitter="30m")))) == ["backup@20261123T030000Z"]
    assert fired(edited(defined(a_job(schedule="0 * * * *")))) == ["backup@20261123T030000Z"]
    assert not fired(edited(defined(a_job(schedule="0 * * * *", jitter="30m", timeout="5m"))))
    effects = edited(None)
    assert not fired(effects)
    assert skipped(effects) == [("03:00:00", "03:00:00", "removed", 1)]


def test_counting_from_ends_the_next_fire_time_is_stored_with_the_end_of_the_run() -> None:
    state = leading(a_job(every="10m", every_from="end"))
    effects = told(state, [AlarmRang()], "02:10:00")
    assert fired(effects) == ["backup@20261123T021000Z"]
    assert wakes(effects) is None  # as long as the run is open
    effects = ends(state, "021000", "02:25:07")
    assert closed(effects)
    assert of(fx.RecordAnchors, effects) == [fx.RecordAnchors((("backup", instant("02:25:07")),))]
    assert wakes(effects) == instant("02:35:07")
    assert fired(told(state, [AlarmRang()], "02:35:07")) == ["backup@20261123T023507Z"]


def test_what_passes_in_a_pause_is_one_skip_and_the_next_counts_from_its_end() -> None:
    state = leading(a_job(every="10m", every_from="end"))
    told(state, [asked(rq.PauseJob(job="backup", by="ann"))], "02:01:00")
    assert skipped(told(state, [AlarmRang()], "02:10:00")) == [("02:10:00", "02:10:00", "paused", 1)]
    assert not skipped(told(state, [AlarmRang()], "02:20:00"))
    effects = told(state, [asked(rq.ResumeJob(job="backup", by="ann"))], "02:47:00")
    assert not skipped(effects)
    assert of(fx.RecordAnchors, effects) == [fx.RecordAnchors((("backup", instant("02:47:00")),))]
    assert wakes(effects) == instant("02:57:00")


def test_what_passes_while_nobody_leads_is_one_skip_and_the_next_counts_from_then() -> None:
    job = a_job(every="10m", every_from="end", misfire="skip")
    state = rebuilt(row(job, mark="02:00:00"), now="05:00:00")
    effects = told(state, [LeadershipGained()], "05:00:00")
    assert skipped(effects) == [("02:10:00", "02:10:00", "misfire", 1)]
    assert of(fx.RecordAnchors, effects) == [fx.RecordAnchors((("backup", instant("05:00:00")),))]
    assert wakes(effects) == instant("05:10:00")


def test_an_excluded_end_counted_fire_time_counts_on_from_itself() -> None:
    until = {"times": "2026-11-23T02:00:00Z/2026-11-23T02:25:00Z"}
    state = leading(a_job(every="10m", every_from="end", not_calendar=until))
    for minute in ("10", "20"):
        effects = told(state, [AlarmRang()], f"02:{minute}:00.25")
        assert skipped(effects) == [(f"02:{minute}:00", f"02:{minute}:00", "calendar", 1)]
    assert fired(told(state, [AlarmRang()], "02:30:00")) == ["backup@20261123T023000Z"]


def test_reboot_fires_once_for_every_job_and_boot() -> None:
    job = a_job(schedule=["@reboot", "0 4 * * *"])
    state = rebuilt(row(job, mark="02:00:00"), now="02:00:10.5")
    effects = told(state, [LeadershipGained(), HostBooted("boot-1")], "02:00:10.5")
    assert fired(effects) == ["backup@20261123T020010.5Z"]
    assert of(fx.RecordBoots, effects) == [fx.RecordBoots((("backup", "boot-1"),))]
    assert not fired(told(state, [HostBooted("boot-1")], "02:00:20"))
    effects = told(state, [asked(rq.ReplaceTable(definitions=()))], "02:00:30")
    effects = told(state, [asked(rq.ReplaceTable(definitions=(defined(job),)))], "02:00:40")
    assert not fired(effects)  # it was there in this boot before
    ends(state, "020010.5", "02:00:50")
    other = defined(a_job(schedule="@reboot", timeout="5m"))
    assert not fired(told(state, [asked(rq.ReplaceTable(definitions=(other,)))], "02:01:00"))
    assert seen(state).state == "active"


def test_a_new_job_fires_in_the_boot_it_is_first_seen_in_and_a_paused_one_skips() -> None:
    state = leading()
    told(state, [HostBooted("boot-1")], "02:00:01")
    put = rq.PutJob(definition=defined(a_job(schedule="@reboot"), file=""), by="ann")
    assert fired(told(state, [asked(put)], "02:00:02")) == ["backup@20261123T020002.000001Z"]
    state = rebuilt(row(a_job(schedule="@reboot", paused=True)))
    effects = told(state, [LeadershipGained(), HostBooted("boot-1")], "02:00:03")
    assert skipped(effects) == [("02:00:03", "02:00:03", "paused", 1)]
    assert not given(effects)


def test_outside_its_window_a_job_does_not_fire_at_boot() -> None:
    state = rebuilt(row(a_job(schedule="@reboot", end="2026-11-22T00:00:00Z")))
    effects = told(state, [LeadershipGained(), HostBooted("boot-1")], "02:00:03")
    assert not fired(effects)
    assert not skipped(effects)
