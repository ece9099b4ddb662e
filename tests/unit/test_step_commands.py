"""What callers may order: each command is recorded, answered once, and means the same after a failover."""

from datetime import timedelta

import pytest
from support.leading import (
    a_job,
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
    outcomes,
    sent,
    skipped,
    told,
    took,
)

from schedulerd.core import effects as fx
from schedulerd.core import requests as rq
from schedulerd.core.events import AlarmRang
from schedulerd.core.state import State
from schedulerd.errors import CommandError
from schedulerd.model.job import At, Cron, Every, Misfire, Overlap, Shards
from schedulerd.model.run import SkipReason
from schedulerd.protocol import messages as msg

MINUTELY = Cron(expressions=("* * * * *",))
RUN = "backup@20261123T020001Z-m2c70e12b"
FIRST = f"{RUN}~0~1"


def trigger(state: State, now: str = "02:00:01", key: str = "key") -> list[fx.Effect]:
    return told(state, [asked(rq.TriggerJob(job="backup", key=key, by="ann"))], now)


def refusal(effects: list[fx.Effect]) -> CommandError:
    error = answer(effects)
    assert isinstance(error, CommandError)
    return error


# ---- trigger and cancel


def test_a_trigger_answers_with_its_run_after_the_record() -> None:
    effects = trigger(leading(a_job()))
    assert answer(effects) == rq.Triggered(outcome="started", run=RUN)
    assert [type(effect) for effect in effects].index(fx.Reply) > 0
    assert fired(effects) == [RUN]


def test_the_same_key_names_the_same_run_and_starts_nothing_new() -> None:
    state = leading(a_job())
    trigger(state)
    effects = trigger(state, "02:00:05")
    assert not fired(effects)
    known = answer(effects)
    assert isinstance(known, rq.Triggered)
    assert (known.outcome, known.run) == ("started", RUN)


def test_another_trigger_is_refused_while_a_run_is_open_and_overlap_is_skip() -> None:
    state = leading(a_job())
    trigger(state)
    again = answer(trigger(state, "02:00:02", key="other"))
    assert isinstance(again, rq.Triggered)
    assert (again.outcome, again.run) == ("refused", None)
    beside = leading(a_job(overlap=Overlap.ALLOW))
    trigger(beside)
    assert fired(trigger(beside, "02:00:02", key="other"))


def test_an_unknown_job_is_answered_with_near_names() -> None:
    state = leading(a_job())
    error = refusal(told(state, [asked(rq.TriggerJob(job="bakcup", key="k", by="ann"))], "02:00:01"))
    assert (error.kind, error.near) == ("not_found", ("backup",))


def test_a_cancelled_run_gives_nothing_out_any_more_and_closes_when_the_rest_has_ended() -> None:
    state = leading(a_job(split=Shards(count=3)), workers=["w1"], slots=1)
    trigger(state)
    told(state, [took("w1", FIRST)], "02:00:01.5")
    effects = told(state, [asked(rq.CancelRun(run=RUN, by="ann"))], "02:00:01.8")
    assert answer(effects) == rq.Cancelled(run=RUN)
    assert of(fx.RecordCancel, effects) == [fx.RecordCancel(RUN, "ann")]
    assert sent(msg.Cancel, effects) == [("w1", msg.Cancel([msg.Cancellation(FIRST)]))]
    assert not closed(effects)
    effects = told(state, [ended("w1", FIRST, "cancelled")], "02:00:03")
    assert not given(effects)
    assert closed(effects) == [(RUN, "cancelled", "operator")]


def test_what_was_not_accepted_yet_is_revoked_too_and_asked_again_with_each_beat() -> None:
    state = leading(a_job())
    trigger(state)
    effects = told(state, [asked(rq.CancelRun(run=RUN, by="ann", kill=True))], "02:00:01.2")
    assert sent(msg.Revoke, effects) == [("w1", msg.Revoke([FIRST]))]
    again = told(state, [AlarmRang()], "02:00:02")
    assert sent(msg.Cancel, again) == [("w1", msg.Cancel([msg.Cancellation(FIRST, True)]))]


def test_a_run_that_waits_is_cancelled_at_once() -> None:
    state = leading(a_job(), workers=[])
    trigger(state)
    effects = told(state, [asked(rq.CancelRun(run=RUN, by="ann"))], "02:00:02")
    assert closed(effects) == [(RUN, "cancelled", "operator")]


def test_a_success_that_crosses_a_cancel_is_kept_and_the_run_is_cancelled() -> None:
    state = leading(a_job())
    trigger(state)
    told(state, [asked(rq.CancelRun(run=RUN, by="ann"))], "02:00:02")
    effects = told(state, [ended("w1", FIRST)], "02:00:03")
    assert outcomes(effects) == [(FIRST, "succeeded")]
    assert closed(effects) == [(RUN, "cancelled", "operator")]


def test_a_final_run_cannot_be_cancelled() -> None:
    error = refusal(told(leading(a_job()), [asked(rq.CancelRun(run=RUN, by="ann"))], "02:00:02"))
    assert error.kind == "conflict"


# ---- pause and resume


def test_a_pause_can_end_what_runs() -> None:
    state = leading(a_job())
    trigger(state)
    effects = told(state, [asked(rq.PauseJob(job="backup", by="ann", cancel_running=True))], "02:00:02")
    assert sent(msg.Cancel, effects)
    view = answer(effects)
    assert isinstance(view, rq.JobView)
    assert view.state == "paused"


def test_a_pause_that_would_be_over_already_is_refused() -> None:
    state = leading(a_job())
    request = rq.PauseJob(job="backup", by="ann", until=instant("01:59:00"))
    assert refusal(told(state, [asked(request)], "02:00:02")).kind == "invalid"


def test_a_pause_by_definition_is_lifted_where_it_stands() -> None:
    state = leading(a_job(paused=True))
    error = refusal(told(state, [asked(rq.ResumeJob(job="backup", by="ann"))], "02:00:02"))
    assert error.kind == "conflict"
    assert "jobs.toml:1" in error.text


# ---- the table


def replace(
    state: State, *jobs: object, now: str = "02:00:30", filled: tuple[object, ...] = ()
) -> list[fx.Effect]:
    definitions = tuple(defined(job) for job in jobs)  # type: ignore[arg-type]
    return told(state, [asked(rq.ReplaceTable(definitions=definitions, filled=filled))], now)  # type: ignore[arg-type]


def test_a_new_table_says_what_came_changed_and_went() -> None:
    state = leading(a_job("stays"), a_job("changes"), a_job("goes"))
    effects = replace(state, a_job("stays"), a_job("changes", retry_max=1), a_job("comes"))
    assert answer(effects) == rq.TableReplaced(
        added=("comes",), changed=("changes",), removed=("goes",), unchanged=1
    )
    assert sorted(state.jobs) == ["changes", "comes", "stays"]
    assert of(fx.RecordRemovals, effects) == [fx.RecordRemovals(("goes",))]


def test_a_name_that_the_api_has_is_a_conflict_and_changes_nothing() -> None:
    state = leading(a_job("mine"))
    told(state, [asked(rq.PutJob(definition=defined(a_job("hers"), file=""), by="ann"))], "02:00:10")
    effects = replace(state, a_job("hers"), a_job("new"))
    assert refusal(effects).kind == "conflict"
    assert not of(fx.RecordJobs, effects)
    assert sorted(state.jobs) == ["hers", "mine"]


def test_a_changed_job_is_accounted_for_up_to_now_and_counts_anew_from_now() -> None:
    state = leading(a_job(trigger=Every(period=timedelta(seconds=20)), overlap=Overlap.ALLOW))
    effects = replace(state, a_job(trigger=MINUTELY), now="02:00:20")
    assert fired(effects) == ["backup@20261123T020020Z"]  # of the old definition
    assert not fired(told(state, [AlarmRang()], "02:00:40"))
    assert state.jobs["backup"].mark == instant("02:00:20")


def test_runs_of_a_removed_job_finish_and_still_count_when_it_comes_back() -> None:
    state = leading(a_job(trigger=MINUTELY))
    trigger(state)
    replace(state)
    assert not state.jobs
    assert RUN in state.runs
    replace(state, a_job(trigger=MINUTELY), now="02:00:40")
    assert skipped(told(state, [AlarmRang()], "02:01:00")) == [("02:01:00", "02:01:00", "overlap", 1)]
    assert closed(told(state, [ended("w1", FIRST)], "02:01:10")) == [(RUN, "succeeded", "")]
    assert fired(told(state, [AlarmRang()], "02:02:00"))


def test_a_job_that_comes_back_does_not_fill_its_old_slots_again() -> None:
    state = leading(a_job(trigger=MINUTELY, overlap=Overlap.ALLOW))
    told(state, [AlarmRang()], "02:01:00")
    replace(state, now="02:01:10")
    replace(state, a_job(trigger=MINUTELY, overlap=Overlap.ALLOW), now="02:00:50")  # the clock was set back
    assert not fired(told(state, [AlarmRang()], "02:01:00"))
    assert fired(told(state, [AlarmRang()], "02:02:00")) == ["backup@20261123T020200Z"]


# ---- single instants that are past


def once(*texts: str, misfire: Misfire = Misfire.ALL) -> object:
    return a_job(trigger=At(instants=tuple(map(instant, texts))), misfire=misfire, overlap=Overlap.ALLOW)


def test_instants_that_are_past_already_meet_the_misfire_policy_once() -> None:
    effects = replace(leading(), once("01:59:00", "02:05:00"))
    assert fired(effects) == ["backup@20261123T015900Z"]
    effects = replace(leading(), once("01:58:00", "01:59:00", misfire=Misfire.SKIP))
    assert skipped(effects) == [
        ("01:58:00", "01:58:00", "misfire", 1),
        ("01:59:00", "01:59:00", "misfire", 1),
    ]


def test_those_that_have_their_row_never_fire_again() -> None:
    effects = replace(leading(), once("01:58:00", "01:59:00"), filled=(("backup", instant("01:58:00")),))
    assert fired(effects) == ["backup@20261123T015900Z"]


def test_one_that_fired_after_the_caller_had_looked_does_not_fire_again() -> None:
    state = leading(once("02:00:20", "02:00:50"))  # type: ignore[arg-type]
    assert fired(told(state, [AlarmRang()], "02:00:20"))
    assert not fired(replace(state, once("02:00:20", "02:00:55"), now="02:00:25"))


def test_past_instants_are_skipped_one_by_one_for_rows_of_others_may_lie_between() -> None:
    effects = replace(
        leading(),
        once("01:50:00", "01:55:00", "01:59:00", misfire=Misfire.SKIP),
        filled=(("backup", instant("01:55:00")),),
    )
    assert [(first, last) for first, last, _, _ in skipped(effects)] == [
        ("01:50:00", "01:50:00"),
        ("01:59:00", "01:59:00"),
    ]


def test_missed_instants_of_a_list_are_rows_of_their_own_for_an_edit_may_put_another_between_them() -> None:
    state = leading(once("02:00:20", "02:00:50", misfire=Misfire.SKIP))  # type: ignore[arg-type]
    effects = told(state, [AlarmRang()], "02:10:00")
    assert skipped(effects) == [
        ("02:00:20", "02:00:20", "misfire", 1),
        ("02:00:50", "02:00:50", "misfire", 1),
    ]
    assert all(
        skip.is_apart for effect in effects if isinstance(effect, fx.RecordSkips) for skip in effect.skips
    )
    effects = replace(state, once("02:00:20", "02:00:30", "02:00:50", misfire=Misfire.SKIP), now="02:10:01")
    assert skipped(effects) == [("02:00:30", "02:00:30", "misfire", 1)]


def test_an_instant_between_a_clock_set_back_and_the_mark_is_accounted_for() -> None:
    state = leading(a_job(trigger=MINUTELY, overlap=Overlap.ALLOW))
    told(state, [AlarmRang()], "02:10:00")
    effects = replace(state, once("02:05:00", "02:20:00"), now="02:03:00")
    assert skipped(effects) == [("02:05:00", "02:05:00", SkipReason.MISFIRE.value, 1)]


# ---- through the API


def test_a_job_owned_by_a_file_refuses_with_its_place() -> None:
    state = leading(a_job())
    for request in (
        rq.DeleteJob(job="backup", by="ann"),
        rq.PutJob(definition=defined(a_job(retry_max=1), file=""), by="ann"),
    ):
        error = refusal(told(state, [asked(request)], "02:00:01"))
        assert error.kind == "conflict"
        assert "jobs.toml:1" in error.text


def test_versions_guard_changes() -> None:
    state = leading()
    mine = defined(a_job(), file="")
    assert answer(told(state, [asked(rq.PutJob(definition=mine, by="ann"))], "02:00:01")) == rq.Stored(
        definition=mine, is_new=True
    )
    for request in (
        rq.PutJob(definition=mine, by="ann", must_be_new=True),
        rq.PutJob(definition=mine, by="ann", expected_version="other"),
        rq.DeleteJob(job="backup", by="ann", expected_version="other"),
    ):
        assert refusal(told(state, [asked(request)], "02:00:02")).kind == "conflict"
    deleted = told(
        state, [asked(rq.DeleteJob(job="backup", by="ann", expected_version=mine.version))], "02:00:03"
    )
    assert answer(deleted) == rq.Stored(definition=mine)
    assert not state.jobs


@pytest.mark.parametrize("cancel", [True, False])
def test_a_deleted_jobs_runs_finish_or_are_cancelled(cancel: bool) -> None:
    state = leading()
    told(state, [asked(rq.PutJob(definition=defined(a_job(), file=""), by="ann"))], "02:00:00.5")
    told(state, [], "02:00:00.6")
    trigger(state)
    effects = told(state, [asked(rq.DeleteJob(job="backup", by="ann", cancel=cancel))], "02:00:02")
    assert bool(sent(msg.Cancel, effects)) is cancel
    assert RUN in state.runs


def test_all_jobs_are_looked_at_in_parts() -> None:
    state = leading(*(a_job(f"j{number}") for number in range(5)))
    seen: list[str] = []
    while some := answer(told(state, [asked(rq.WalkJobs(first=len(seen), most=2))], "02:00:01")):
        assert isinstance(some, tuple)
        assert len(some) <= 2
        seen.extend(view.definition.job.name for view in some)
    assert seen == [f"j{number}" for number in range(5)]
