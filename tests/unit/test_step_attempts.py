"""One subtask from hand to hand: refused, failed, lost, never heard of. Nothing is done twice, nothing stays stuck."""

from datetime import timedelta

from support.leading import (
    a_job,
    asked,
    beat,
    began,
    closed,
    ended,
    events_of,
    found,
    given,
    inventory,
    leading,
    of,
    outcomes,
    refused,
    sent,
    told,
    took,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, SendFailed
from schedulerd.core.requests import TriggerJob
from schedulerd.core.state import State
from schedulerd.model.job import OnLost, Overlap
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import digest_of

RUN = "backup@20261123T020001Z-m2c70e12b"
FIRST = f"{RUN}~0~1"
SECOND = f"{RUN}~0~2"


def started(**changes: object) -> State:
    """A leader whose job was triggered at 02:00:01; its attempt was given to w1."""
    state = leading(a_job(**changes))
    effects = told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], "02:00:01")
    assert given(effects) == [("w1", FIRST)]
    return state


def beats(
    state: State, workers: list[str], until: int, first: int = 2, accepted: str = ""
) -> list[fx.Effect]:
    """Time passes to 02:00:00 + `until` seconds, only `workers` are heard; every effect of it."""
    effects: list[fx.Effect] = []
    for second in range(first, until + 1):
        now = f"02:{second // 60:02}:{second % 60:02}"
        digest = {"w1": digest_of(accepted) if accepted else 0}
        news = [beat(worker, second, now, digest=digest.get(worker, 0)) for worker in workers]
        effects += told(state, [*news, AlarmRang()], now)
    return effects


# ---- the usual end


def test_a_success_closes_the_run_and_is_acknowledged_after_the_record() -> None:
    state = started()
    told(state, [took("w1", FIRST), began("w1", FIRST)], "02:00:02")
    effects = told(state, [ended("w1", FIRST)], "02:00:03")
    assert outcomes(effects) == [(FIRST, "succeeded")]
    assert closed(effects) == [(RUN, "succeeded", "")]
    assert sent(msg.ResultAck, effects) == [("w1", msg.ResultAck([FIRST]))]
    assert not state.runs
    assert not state.attempts


def test_the_same_result_again_changes_nothing_and_is_acknowledged_again() -> None:
    state = started()
    told(state, [ended("w1", FIRST)], "02:00:03")
    effects = told(state, [ended("w1", FIRST)], "02:00:04")
    assert not outcomes(effects)
    assert not closed(effects)
    assert sent(msg.ResultAck, effects) == [("w1", msg.ResultAck([FIRST]))]


def test_a_failure_ends_the_run_without_retries() -> None:
    assert closed(told(started(), [ended("w1", FIRST, "failed")], "02:00:03")) == [(RUN, "failed", "exit")]


def test_retry_max_counts_further_attempts_after_failures_and_timeouts() -> None:
    state = started(retry_max=2)
    assert given(told(state, [ended("w1", FIRST, "failed")], "02:00:03")) == [("w2", SECOND)]
    assert given(told(state, [ended("w2", SECOND, "timeout")], "02:00:04")) == [("w1", f"{RUN}~0~3")]
    effects = told(state, [ended("w1", f"{RUN}~0~3", "failed")], "02:00:05")
    assert not given(effects)
    assert closed(effects) == [(RUN, "failed", "exit")]


def test_a_further_attempt_is_told_how_the_one_before_ended() -> None:
    effects = told(started(retry_max=1), [ended("w1", FIRST, "timeout")], "02:00:03")
    ((_, dispatch),) = sent(msg.Dispatch, effects)
    assert dispatch.orders[0].previous == "timeout"


# ---- never accepted


def test_what_is_not_accepted_is_sent_again_to_the_same_worker_until_it_expires() -> None:
    state = started()
    effects = beats(state, ["w1", "w2"], 11)
    assert given(effects) == [("w1", FIRST)] * 3  # after 1, 2 and 4 s more
    assert not outcomes(effects)


def test_past_its_expiry_the_worker_is_asked_for_its_word() -> None:
    state = started()
    effects = beats(state, ["w1", "w2"], 14)
    assert sent(msg.Revoke, effects) == [("w1", msg.Revoke([FIRST]))]
    effects = told(state, [ended("w1", FIRST, "unstarted")], "02:00:15")
    assert given(effects) == [("w2", SECOND)]


def test_a_refusal_gives_the_subtask_to_another_worker() -> None:
    for reason in ("full", "draining", "expired", "faulty"):
        effects = told(started(), [refused("w1", FIRST, reason)], "02:00:02")
        assert outcomes(effects) == [(FIRST, "unstarted")]
        assert given(effects) == [("w2", SECOND)]


def test_refusals_do_not_chase_each_other_at_the_speed_of_the_network() -> None:
    state = started()
    told(state, [refused("w1", FIRST, "expired")], "02:00:02")
    assert not given(told(state, [refused("w2", SECOND, "expired")], "02:00:02.01"))
    again = told(state, [beat("w2", 1, "02:00:03")], "02:00:03")
    assert given(again) == [("w2", f"{RUN}~0~3")]


def test_a_refusal_of_a_former_leaders_frame_says_nothing_about_the_attempt() -> None:
    state = started()
    told(state, [took("w1", FIRST)], "02:00:02")
    effects = told(state, [refused("w1", FIRST, "stale")], "02:00:03")
    assert not outcomes(effects)
    assert FIRST in state.attempts


def test_a_tombstone_means_that_it_ran_and_nobody_knows_how() -> None:
    effects = told(started(), [refused("w1", FIRST, "tombstone")], "02:00:02")
    assert closed(effects) == [(RUN, "failed", "lost")]


def test_without_a_connection_the_first_send_proves_that_nobody_has_it() -> None:
    effects = told(started(), [SendFailed("w1:7482", (FIRST,))], "02:00:01.1")
    assert outcomes(effects) == [(FIRST, "unstarted")]
    assert given(effects) == [("w2", SECOND)]


def test_a_later_send_that_fails_proves_nothing() -> None:
    state = started()
    beats(state, ["w1", "w2"], 3)
    assert not outcomes(told(state, [SendFailed("w1:7482", (FIRST,))], "02:00:03.1"))


def test_work_that_nobody_is_able_to_take_fails_after_dispatch_timeout() -> None:
    job = a_job(requires=("gpu",), dispatch_timeout=timedelta(seconds=20))
    state = leading(job)
    told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], "02:00:01")
    effects = beats(state, ["w1", "w2"], 20)
    assert not closed(effects)
    effects = told(state, [AlarmRang()], "02:00:21")
    assert closed(effects) == [(RUN, "failed", "no_worker")]
    assert "no_worker" in events_of(effects)


def test_the_alarm_of_dispatch_timeout_is_kept_however_the_sum_of_times_rounds() -> None:
    for thousandth in range(1, 400):
        job = a_job(requires=("gpu",), dispatch_timeout=timedelta(seconds=40))
        state = leading(job, now="02:00:00")
        told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], f"02:00:01.{thousandth:03}")
        (due, _) = state.deadlines[0]
        now = f"02:00:{due - 5000.0!r}"
        assert closed(told(state, [AlarmRang()], now)) or state.deadlines, thousandth


def test_dispatch_timeout_counts_from_when_a_subtask_waits_not_from_the_runs_beginning() -> None:
    state = started(retry_max=1, dispatch_timeout=timedelta(seconds=20))
    told(state, [took("w1", FIRST)], "02:00:02")
    beats(state, ["w1", "w2"], 50, accepted=FIRST)
    told(state, [ended("w1", FIRST, "failed")], "02:00:50.1")
    effects = told(state, [refused("w2", SECOND, "full")], "02:00:50.2")
    assert given(effects) == [("w1", f"{RUN}~0~3")]


# ---- lost


def test_lost_worker_hands_its_attempts_to_another_when_the_job_says_so() -> None:
    state = started(on_lost=OnLost.RETRY)
    told(state, [took("w1", FIRST), began("w1", FIRST)], "02:00:01.5")
    effects = beats(state, ["w2"], 59)
    assert not outcomes(effects)
    effects = beats(state, ["w2"], 62, first=60)
    assert outcomes(effects) == [(FIRST, "lost")]
    assert given(effects)[0] == ("w2", SECOND)
    assert {"worker_lost", "attempt_lost"} <= set(events_of(effects))


def test_a_lost_attempt_ends_the_run_by_default() -> None:
    state = started()
    told(state, [took("w1", FIRST), began("w1", FIRST)], "02:00:01.5")
    assert closed(beats(state, ["w2"], 62)) == [(RUN, "failed", "lost")]


def test_losses_are_retried_twice_and_counted_apart_from_failures() -> None:
    state = started(on_lost=OnLost.RETRY, retry_max=1)
    told(state, [ended("w1", FIRST, "lost")], "02:00:02")
    told(state, [ended("w2", SECOND, "failed")], "02:00:03")
    told(state, [ended("w1", f"{RUN}~0~3", "lost")], "02:00:04")
    effects = told(state, [ended("w2", f"{RUN}~0~4", "lost")], "02:00:05")
    assert not given(effects)
    assert closed(effects) == [(RUN, "failed", "lost")]


def test_a_leaders_own_stall_is_no_silence_of_a_worker() -> None:
    state = started()
    told(state, [took("w1", FIRST)], "02:00:01.5")
    effects = told(state, [AlarmRang()], "02:30:00")
    assert not outcomes(effects)
    assert "worker_lost" not in events_of(effects)


def test_a_success_that_comes_late_settles_its_subtask_while_the_run_is_open() -> None:
    state = started(on_lost=OnLost.RETRY, overlap=Overlap.ALLOW, requires=())
    told(state, [took("w1", FIRST)], "02:00:01.5")
    told(state, [found("w1")], "02:00:02")  # w2 leaves discovery, and says nothing more
    told(state, [refused("w2", "nothing", "full")], "02:00:02")
    told(state, [inventory("w2", "02:00:02.5", state="draining")], "02:00:02.5")
    told(state, [ended("w1", FIRST, "lost"), inventory("w1", "02:00:03", state="draining")], "02:00:03")
    assert state.runs[RUN].pending
    effects = told(state, [ended("w1", FIRST)], "02:00:04")
    assert of(fx.RecordLateResults, effects)
    assert closed(effects) == [(RUN, "succeeded", "")]


def test_an_attempt_of_a_silent_worker_is_not_given_out_twice_when_runs_may_not_overlap() -> None:
    """It may have started: until the worker is lost by the lease, only its own word frees it."""
    state = started(on_lost=OnLost.RETRY)
    assert not outcomes(beats(state, ["w2"], 40))
    state = started(on_lost=OnLost.RETRY, overlap=Overlap.ALLOW)
    assert outcomes(beats(state, ["w2"], 40)) == [(FIRST, "lost")]


def test_what_waits_once_more_is_recorded_before_it_is_given_out_in_the_same_step() -> None:
    """Else the ledger would keep it for pending while an attempt of it runs."""
    state = leading(a_job(retry_max=1))
    ((worker, attempt),) = given(
        told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], "02:00:01")
    )
    effects = told(state, [ended(worker, attempt, "failed")], "02:00:02")
    kinds = [type(effect) for effect in effects]
    assert kinds.index(fx.RecordSubtaskStates) < kinds.index(fx.RecordAttempts)
