"""What the leader notes for people: every odd happening is an event or a count, and the ordinary course is none."""

from datetime import timedelta

from support.leading import (
    EPOCH,
    a_job,
    asked,
    at,
    beat,
    began,
    clock_ms,
    ended,
    events_of,
    found,
    inventory,
    leading,
    of,
    rebuilt,
    refused,
    row,
    said,
    sent,
    told,
    took,
)

from schedulerd.core import effects as fx
from schedulerd.core import tally
from schedulerd.core.events import AlarmRang, FrameArrived, LeadershipGained, ResultsRepeated
from schedulerd.core.requests import TriggerJob
from schedulerd.core.state import State
from schedulerd.core.step import step
from schedulerd.model.job import OnLost, Shards
from schedulerd.protocol import messages as msg

RUN = "backup@20261123T020001Z-m2c70e12b"
FIRST = f"{RUN}~0~1"


def trigger(state: State, now: str = "02:00:01") -> list[fx.Effect]:
    """A caller wants the job now."""
    return told(state, [asked(TriggerJob(job="backup", key="key", by="ann"))], now)


def noted(effects: list[fx.Effect], *kinds: str) -> list[tuple[str, str | None, str]]:
    """(type, worker, detail) of the events of these types; of all without types."""
    return [
        (event.type, event.worker, event.detail)
        for event in of(fx.RecordEvent, effects)
        if not kinds or event.type in kinds
    ]


def counts(effects: list[fx.Effect]) -> dict[tuple[str, str], int]:
    """What was counted."""
    return {(count.what, count.label): count.by for count in of(fx.Count, effects)}


def counted_beat(
    worker: str, number: int, now: str, *, told: msg.Counted | None = None, **grown: int
) -> FrameArrived:
    """A heartbeat with what the worker has counted, and what leaders before have told of it."""
    counts = msg.Counted(**grown)
    return said(worker, msg.Heartbeat(number, clock_ms(now), 2, 0, 0, 0, "ready", counts, told))


# ---- attempts


def test_an_ordinary_attempt_is_no_event_and_counts_nothing() -> None:
    state = leading(a_job(), workers=["w1"])
    effects = trigger(state)
    effects += told(state, [took("w1", FIRST), began("w1", FIRST)], "02:00:01.2")
    effects += told(state, [ended("w1", FIRST)], "02:00:05")
    assert events_of(effects) == ["triggered"]
    assert not counts(effects)


def test_a_retry_says_after_what_and_which_it_is() -> None:
    state = leading(a_job(retry_max=2), workers=["w1"])
    trigger(state)
    effects = told(state, [took("w1", FIRST), ended("w1", FIRST, "timeout")], "02:00:05")
    assert noted(effects) == [("retried", "w1", "after timeout, as attempt 2: retry 1 of 2")]
    assert counts(effects) == {("retries", "timeout"): 1}
    (event,) = of(fx.RecordEvent, effects)
    assert (event.job, event.run, event.subtask, event.attempt) == ("backup", RUN, 0, FIRST)


def test_what_a_worker_says_was_lost_or_never_started_is_noted_with_its_reason() -> None:
    for outcome, event in (
        (
            msg.Outcome(FIRST, "lost", "lost", "the worker restarted"),
            ("attempt_lost", "the worker restarted"),
        ),
        (msg.Outcome(FIRST, "lost", "fenced", "no leader"), ("attempt_fenced", "fenced: no leader")),
        (msg.Outcome(FIRST, "unstarted", "expired", "too late"), ("attempt_unstarted", "expired: too late")),
        (msg.Outcome(FIRST, "unstarted", "revoked", "drained"), ("attempt_unstarted", "revoked: drained")),
    ):
        state = leading(a_job(), workers=["w1"])
        trigger(state)
        effects = told(state, [took("w1", FIRST), said("w1", msg.Result([outcome]))], "02:00:05")
        kind, detail = event
        assert (kind, "w1", detail) in noted(effects)
        assert len(noted(effects, "attempt_lost", "attempt_fenced", "attempt_unstarted")) == 1


def test_a_loss_that_is_retried_is_two_events_in_their_order() -> None:
    state = leading(a_job(on_lost=OnLost.RETRY), workers=["w1"])
    trigger(state)
    lost = msg.Outcome(FIRST, "lost", "lost", "the worker restarted")
    effects = told(state, [took("w1", FIRST), said("w1", msg.Result([lost]))], "02:00:05")
    assert events_of(effects) == ["attempt_lost", "retried"]
    assert noted(effects, "retried") == [
        ("retried", "w1", "after lost, as attempt 2: loss 1, on_lost is retry")
    ]


def test_a_refusal_is_noted_once_and_the_work_given_out_again() -> None:
    state = leading(a_job())
    trigger(state)
    (name,) = [worker.name for worker in state.workers.values() if worker.attempts]
    effects = told(state, [refused(name, FIRST, "full")], "02:00:01.1")
    assert noted(effects)[0] == ("attempt_unstarted", name, "refused: full")
    assert counts(effects) == {("retries", "unstarted"): 1}


def test_resends_are_one_event_and_a_count_each() -> None:
    state = leading(a_job(), workers=["w1"])
    trigger(state)
    effects: list[fx.Effect] = []
    resent = 0
    for second in range(3, 9):
        some = told(state, [AlarmRang(), beat("w1", second, f"02:00:0{second}")], f"02:00:0{second}")
        resent += counts(some).get(("dispatches_resent", ""), 0)
        effects += some
    assert resent == 2
    assert noted(effects) == [
        (
            "dispatch_resent",
            "w1",
            "the worker has not answered yet; it starts at most once however often this is sent",
        )
    ]


def test_asking_an_attempt_back_is_one_event_however_often_it_is_asked() -> None:
    state = leading(a_job(), workers=["w1"])
    trigger(state)
    effects: list[fx.Effect] = []
    asked_back = 0
    for second in range(2, 22):
        some = told(state, [AlarmRang(), beat("w1", second, f"02:00:{second:02}")], f"02:00:{second:02}")
        asked_back += counts(some).get(("revocations", ""), 0)
        effects += some
    assert asked_back > 2
    assert noted(effects, "attempt_revoked") == [
        ("attempt_revoked", "w1", "not accepted before its expiry: the worker is asked")
    ]


# ---- what repeats in storms


def test_results_that_come_again_are_told_as_one_event_a_run() -> None:
    state = leading(a_job(), workers=["w1"])
    told(state, [ResultsRepeated((f"{RUN}~3~1", f"{RUN}~4~1"))], "02:00:00.5")
    effects = told(state, [ResultsRepeated((f"{RUN}~4~1",))], "02:00:02")
    (event,) = [event for event in of(fx.RecordEvent, effects) if event.type == "duplicate_result"]
    assert (event.job, event.run) == ("backup", RUN)
    assert event.detail == (
        f"3 times since 2026-11-23T02:00:00Z: a result that is recorded already; the first {RUN}~3~1"
    )
    assert not state.tally


def test_a_storm_is_told_in_few_events_and_small_memory() -> None:
    state = leading(a_job(), workers=["w1"])
    attempts = tuple(
        f"job@2026112{run % 10}T{run:06}Z~{index}~1" for run in range(2000) for index in range(5)
    )
    told(state, [ResultsRepeated(attempts)], "02:00:00.5")
    assert len(state.tally) <= tally.KEPT + 1
    effects = told(state, [AlarmRang()], "02:00:02")
    storm = [event for event in of(fx.RecordEvent, effects) if event.type == "duplicate_result"]
    assert len(storm) == tally.SHOWN + 1
    assert (
        sum(int(event.detail.partition(" ")[0].replace(",", "").replace("once", "1")) for event in storm)
        == 10_000
    )
    told(state, [ResultsRepeated(attempts)], "02:00:04")
    assert not noted(told(state, [AlarmRang()], "02:00:06"), "duplicate_result")  # too soon after the last
    later = noted(told(state, [AlarmRang()], "02:00:12.5"), "duplicate_result")
    assert len(later) == tally.SHOWN + 1


def test_what_a_workers_counts_grow_by_is_told_from_its_second_heartbeat_on() -> None:
    state = leading(a_job(), workers=["w1"])
    told(state, [counted_beat("w1", 1, "02:00:01", duplicate_dispatches=7)], "02:00:01")
    effects = told(
        state, [counted_beat("w1", 2, "02:00:02", duplicate_dispatches=9, stale_frames=1)], "02:00:02"
    )
    assert noted(effects) == [
        (
            "duplicate_dispatch",
            "w1",
            "2 times since 2026-11-23T02:00:02Z: an order for an attempt it had already; nothing started twice",
        ),
        ("stale_frame", "w1", "once since 2026-11-23T02:00:02Z: a frame of an older epoch, refused"),
    ]


def test_what_a_worker_counted_while_nobody_led_is_told_by_the_next_leader_once() -> None:
    state = leading(a_job(), workers=["w1"])
    first = counted_beat("w1", 8, "02:00:01", told=msg.Counted(stale_frames=3), stale_frames=5)
    effects = told(state, [first], "02:00:01")
    assert [hello.told for _, hello in sent(msg.Hello, effects)] in ([], [None])  # nothing is committed yet
    effects = told(state, [AlarmRang()], "02:00:03")
    meaning = "2 times since 2026-11-23T02:00:01Z: a frame of an older epoch, refused"
    assert noted(effects) == [("stale_frame", "w1", meaning)]
    effects = told(state, [counted_beat("w1", 9, "02:00:04", stale_frames=5)], "02:00:05")
    assert not noted(effects)
    assert [hello.told for _, hello in sent(msg.Hello, effects)] == [msg.Counted(stale_frames=5)]


def test_what_waits_to_be_told_is_not_said_to_be_told() -> None:
    state = leading(a_job(), workers=["w1"])
    told(state, [counted_beat("w1", 1, "02:00:01", told=msg.Counted(), helper_deaths=1)], "02:00:01")
    told(state, [AlarmRang()], "02:00:03")
    told(state, [counted_beat("w1", 2, "02:00:04", helper_deaths=2)], "02:00:04")  # too soon after the last
    for second in (5, 7, 9, 11):
        effects = told(state, [AlarmRang()], f"02:00:{second:02}")
        assert [hello.told for _, hello in sent(msg.Hello, effects)] == [msg.Counted(helper_deaths=1)]


def test_a_worker_of_the_version_before_counts_nothing() -> None:
    state = leading(a_job(), workers=["w1"])
    told(state, [beat("w1", 1, "02:00:01")], "02:00:01")
    assert not noted(told(state, [beat("w1", 2, "02:00:03")], "02:00:03"))


# ---- workers


def test_a_worker_that_was_suspect_and_is_heard_again_is_told() -> None:
    state = leading(a_job(), workers=["w1"])
    effects: list[fx.Effect] = []
    for second in range(2, 10, 2):
        effects += told(state, [AlarmRang()], f"02:00:0{second}")
    effects += told(state, [beat("w1", 1, "02:00:09")], "02:00:09")
    effects += told(state, [beat("w1", 2, "02:00:10")], "02:00:10")
    assert [(kind, worker) for kind, worker, _ in noted(effects)] == [
        ("worker_suspect", "w1"),
        ("worker_returned", "w1"),
    ]
    assert noted(effects)[1][2] == "heard again after 9.0 s"


def test_a_second_daemon_of_one_id_is_told_in_few_events_however_often_it_knocks() -> None:
    state = leading(a_job(), workers=["w1"])
    effects: list[fx.Effect] = []
    for number in range(1, 10):
        now = f"02:00:0{number}"
        effects += told(
            state, [beat("w1", number, now), inventory("w1", now, nonce=f"twin-{number:04}")], now
        )
    assert len(of(fx.Drop, effects)) == 9
    refused = "a second daemon with its id or at its address was refused while it was heard or held work"
    assert noted(effects) == [
        ("worker_refused", "w1", f"2 times since 2026-11-23T02:00:01Z: {refused}; the first boot twin-000")
    ]


def test_draining_and_leaving_are_told_once() -> None:
    state = leading(a_job(), workers=["w1"])
    effects = told(state, [beat("w1", 1, "02:00:01", state="draining")], "02:00:01")
    effects += told(state, [beat("w1", 2, "02:00:03", state="draining")], "02:00:03")
    effects += told(state, [beat("w1", 3, "02:00:05", state="leaving")], "02:00:05")
    assert events_of(effects) == ["worker_draining", "worker_left"]


def test_a_run_that_waited_for_an_able_worker_says_how_long_and_for_what() -> None:
    state = leading(a_job(requires=("role=db",), dispatch_timeout=timedelta(minutes=5)), workers=[])
    trigger(state)
    told(state, [found("w1")], "02:00:20")
    effects = told(state, [inventory("w1", "02:00:21", labels=["role=db"])], "02:00:21")
    assert ("waited", None, "20.0 s without an able worker; requires role=db") in noted(effects)


# ---- leaders


def test_a_new_epoch_says_what_it_found_open() -> None:
    state = rebuilt(row(a_job()))
    effects = step(state, [LeadershipGained(is_new=True)], at("02:00:00"))
    found = f"epoch {EPOCH} begins with 0 open runs, 0 of them without an attempt; 0 attempts are asked about"
    assert noted(effects) == [("takeover", None, found)]


def test_beginning_again_after_a_refused_batch_is_no_takeover() -> None:
    state = rebuilt(row(a_job(split=Shards(count=2))))
    assert not noted(step(state, [LeadershipGained()], at("02:00:00")))
