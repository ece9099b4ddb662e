"""What the leader makes of workers: who joins, who is believed, whose word is too old to count, who gets work."""

from datetime import timedelta

from support.leading import (
    EPOCH,
    a_job,
    asked,
    beat,
    began,
    ended,
    events_of,
    found,
    given,
    inventory,
    leading,
    of,
    outcomes,
    rebuilt,
    refused,
    row,
    said,
    sent,
    told,
    took,
)

from schedulerd.core import effects as fx
from schedulerd.core.events import AlarmRang, FrameArrived, FramesWaiting, LeadershipGained
from schedulerd.core.requests import DescribeWorkers, TriggerJob
from schedulerd.core.state import State
from schedulerd.model.job import Shards
from schedulerd.protocol import messages as msg
from schedulerd.protocol.codec import Envelope, digest_of
from schedulerd.protocol.ids import EPOCH_LEAP, HIGHEST_BELIEVED

RUN = "backup@20261123T020001Z-m2c70e12b"
FIRST = f"{RUN}~0~1"


def trigger(state: State, now: str = "02:00:01", job: str = "backup") -> list[fx.Effect]:
    """A caller wants the job now."""
    return told(state, [asked(TriggerJob(job=job, key="key", by="ann"))], now)


def drops(effects: list[fx.Effect]) -> list[str]:
    return [drop.reason for drop in of(fx.Drop, effects)]


# ---- joining


def test_a_worker_that_is_found_is_connected_and_greeted_until_it_answers() -> None:
    state = rebuilt(row(a_job()))
    effects = told(state, [LeadershipGained(), found("w1")], "02:00:00")
    assert of(fx.Connect, effects) == [fx.Connect("w1:7482", "w1:7482")]
    assert sent(msg.Hello, effects)
    assert sent(msg.Hello, told(state, [AlarmRang()], "02:00:00.1"))
    told(state, [inventory("w1", "02:00:00.2")], "02:00:00.2")
    assert not sent(msg.Hello, told(state, [AlarmRang()], "02:00:00.3"))


def test_a_step_of_one_heartbeat_does_not_look_at_every_worker() -> None:
    class Counted(dict[str, object]):
        walks = 0

        def values(self):  # type: ignore[no-untyped-def]
            Counted.walks += 1
            return super().values()

    state = leading(workers=["w1", "w2"])
    told(state, [AlarmRang()], "02:00:06")
    state.workers = Counted(state.workers)  # type: ignore[assignment]
    told(state, [beat("w1", 4, "02:00:06.1")], "02:00:06.1")
    told(state, [beat("w2", 4, "02:00:06.2")], "02:00:06.2")
    assert Counted.walks == 0


def test_the_hello_echoes_the_newest_heartbeat() -> None:
    state = leading(workers=["w1"])
    told(state, [beat("w1", 4, "02:00:01")], "02:00:01")
    assert sent(msg.Hello, told(state, [AlarmRang()], "02:00:02")) == [
        ("w1", msg.Hello("tcp://a:1", "", 4, "w1:7482"))
    ]


def test_a_second_daemon_with_the_same_id_is_refused_while_the_first_is_heard() -> None:
    state = leading(a_job())
    effects = told(state, [inventory("w1", "02:00:05", nonce="n2")], "02:00:05")
    assert drops(effects) == ["duplicate_worker"]
    assert state.workers["w1:7482"].nonce == "n1"


def test_a_worker_that_restarts_is_taken_after_the_old_one_has_been_silent() -> None:
    state = leading(a_job())
    for second in range(2, 8, 2):
        told(state, [beat("w2", second, f"02:00:0{second}")], f"02:00:0{second}")
    effects = told(state, [inventory("w1", "02:00:07", nonce="n2")], "02:00:07")
    assert "worker_joined" in events_of(effects)
    assert state.workers["w1:7482"].nonce == "n2"


def test_a_known_id_at_another_address_waits_until_the_first_one_is_lost() -> None:
    """It may be a copy of the state directory: what the first one holds may run on unheard, until the lease ends it."""
    state = leading(a_job())
    trigger(state)
    (attempt,) = [attempt for attempt in state.attempts.values() if attempt.worker]
    elsewhere = "w3:7482"
    for second in range(2, 58, 2):
        now = f"02:00:{second:02}"
        effects = told(
            state, [found("w1", "w2", "w3"), inventory(attempt.worker, now, nonce="n2", link=elsewhere)], now
        )
        assert drops(effects) == ["duplicate_worker"]
        assert not outcomes(effects)
    ends = []
    for second in range(58, 66, 2):
        now = f"02:{second // 60:02}:{second % 60:02}"
        ends += outcomes(told(state, [inventory(attempt.worker, now, nonce="n2", link=elsewhere)], now))
    assert ends == [(attempt.id, "lost")]
    assert state.workers[elsewhere].nonce == "n2"


def test_a_worker_that_was_started_again_at_another_address_has_the_lock_and_waits_six_seconds_only() -> None:
    state = leading(a_job())
    told(state, [inventory("w1", "02:00:01", place="here")], "02:00:01")
    for second, is_taken in ((3, False), (5, False), (7.5, True)):
        now = f"02:00:{second}"
        told(
            state,
            [found("w1", "w2", "w3"), inventory("w1", now, nonce="n2", link="w3:7482", place="here")],
            now,
        )
        assert (state.workers["w3:7482"].nonce == "n2") == is_taken


def test_a_copy_tells_another_place_and_waits_until_the_first_one_is_lost() -> None:
    state = leading(a_job())
    told(state, [inventory("w1", "02:00:01", place="here")], "02:00:01")
    for second in range(3, 59, 2):
        now = f"02:00:{second:02}"
        copy = inventory("w1", now, nonce="n2", link="w3:7482", place="elsewhere")
        assert drops(told(state, [found("w1", "w2", "w3"), copy], now)) == ["duplicate_worker"]


def test_a_copy_at_an_address_that_is_known_no_more_is_not_taken_for_the_first_one() -> None:
    """Its inventory was on the way when discovery forgot it: that the first one is silent makes it no successor."""
    state = leading(a_job())
    trigger(state)
    (attempt,) = state.attempts.values()
    for second in (3, 9, 15):
        now = f"02:00:{second:02}"
        effects = told(state, [inventory(attempt.worker, now, nonce="n2", link="w9:7482")], now)
        assert drops(effects) == ["unknown_worker"]
        assert not outcomes(effects)
    assert attempt.id in state.attempts


def test_another_daemon_at_the_address_of_one_that_holds_work_waits_until_that_one_is_lost() -> None:
    """Its journal is an empty one: that it does not know an attempt is no proof that the first one did not start it."""
    state = leading(a_job())
    trigger(state)
    (attempt,) = state.attempts.values()
    address = f"{attempt.worker}:7482"
    for second in range(2, 58, 2):
        now = f"02:00:{second:02}"
        effects = told(state, [inventory("w9", now, link=address)], now)
        assert drops(effects) == ["duplicate_worker"]
        assert not outcomes(effects)
    ends = []
    for second in range(58, 66, 2):
        now = f"02:{second // 60:02}:{second % 60:02}"
        ends += outcomes(told(state, [inventory("w9", now, link=address)], now))
    assert ends == [(attempt.id, "lost")]
    assert state.workers[address].id == "w9"


def test_another_daemon_at_the_address_of_one_without_work_waits_six_seconds_only() -> None:
    state = leading(a_job())
    for second, worker in ((3, "w1"), (5, "w1"), (7, "w9")):
        now = f"02:00:{second:02}"
        told(state, [inventory("w9", now, link="w1:7482")], now)
        assert state.workers["w1:7482"].id == worker


def test_a_worker_that_said_goodbye_may_come_back_at_another_address_at_once() -> None:
    state = leading(a_job())
    told(state, [beat("w1", 1, "02:00:01", state="leaving"), found("w1", "w2", "w3")], "02:00:01")
    told(state, [inventory("w1", "02:00:02", nonce="n2", link="w3:7482")], "02:00:02")
    assert state.workers["w3:7482"].nonce == "n2"


def test_a_worker_that_said_goodbye_may_come_back_at_once() -> None:
    state = leading(a_job())
    told(state, [beat("w1", 1, "02:00:01", state="leaving")], "02:00:01")
    told(state, [inventory("w1", "02:00:02", nonce="n2")], "02:00:02")
    assert state.workers["w1:7482"].nonce == "n2"


def test_a_late_inventory_of_an_earlier_boot_is_not_believed() -> None:
    state = leading(a_job())
    told(state, [beat("w1", 1, "02:00:01", state="leaving")], "02:00:01")
    told(state, [inventory("w1", "02:00:02", nonce="n2")], "02:00:02")
    for second in range(4, 12, 2):
        told(state, [AlarmRang()], f"02:00:{second:02}")
    effects = told(state, [inventory("w1", "02:00:01", nonce="n1")], "02:00:12")
    assert drops(effects) == ["late"]
    assert state.workers["w1:7482"].nonce == "n2"


def test_frames_of_unknown_workers_and_other_boots_are_dropped_and_said() -> None:
    state = leading(a_job())
    assert drops(told(state, [beat("w9", 1, "02:00:01")], "02:00:01")) == ["unknown_worker"]
    foreign = beat("w1", 1, "02:00:01")
    other_boot = type(foreign)(type(foreign.envelope)(EPOCH, "w1", "n9", "a", ""), foreign.message)
    assert drops(told(state, [other_boot], "02:00:01")) == ["nonce"]


def test_a_newer_epoch_is_the_end_of_this_leadership_and_nothing_else_is_done() -> None:
    state = leading(a_job())
    assert told(state, [inventory("w1", "02:00:01", epoch=EPOCH + 2)], "02:00:01") == [fx.StepDown(EPOCH + 2)]
    state = leading(a_job())
    assert told(state, [refused("w1", FIRST, "stale", seen=EPOCH + 1)], "02:00:01") == [
        fx.StepDown(EPOCH + 1)
    ]


# ---- what it holds


def test_only_who_speaks_to_this_leader_by_its_id_ends_its_leadership() -> None:
    state = leading(a_job())
    stranger = FrameArrived(Envelope(EPOCH + 1, "w1", "n1", "somebody", ""), msg.Refused([], EPOCH + 1))
    effects = told(state, [stranger, beat("w1", 1, "02:00:01")], "02:00:01")
    assert drops(effects) == ["not_for_us"]
    assert state.workers["w1:7482"].heard == 1, "what came with it was taken in"


def test_an_epoch_out_of_reach_is_not_followed() -> None:
    state = leading(a_job())
    effects = told(state, [said("w1", msg.Refused([], 1 << 53), epoch=1 << 53)], "02:00:01")
    assert drops(effects) == ["epoch"]
    assert drops(told(state, [said("w1", msg.Refused([], 1 << 53))], "02:00:01")) == ["epoch"]
    believable = HIGHEST_BELIEVED + EPOCH_LEAP
    assert told(state, [said("w1", msg.Refused([], believable))], "02:00:01") == [fx.StepDown(believable)]


def test_three_heartbeats_with_a_foreign_digest_ask_for_an_inventory() -> None:
    state = leading(a_job())
    effects = [
        told(state, [beat("w1", number, f"02:00:0{number}", digest=99)], f"02:00:0{number}")
        for number in (1, 2, 3)
    ]
    assert [len(sent(msg.Reconcile, some)) for some in effects] == [0, 0, 1]


def test_the_digest_follows_what_was_accepted_and_ended() -> None:
    state = leading(a_job(split=Shards(count=2)), workers=["w1"])
    trigger(state)
    told(state, [took("w1", FIRST)], "02:00:01.1")
    told(state, [took("w1", f"{RUN}~1~1"), took("w1", FIRST)], "02:00:01.2")
    assert state.workers["w1:7482"].digest == digest_of(FIRST) ^ digest_of(f"{RUN}~1~1")
    told(state, [ended("w1", FIRST)], "02:00:02")
    assert state.workers["w1:7482"].digest == digest_of(f"{RUN}~1~1")


def test_a_new_boot_that_does_not_know_an_attempt_settles_it() -> None:
    for events, end in (([], "unstarted"), ([took("w1", FIRST)], "lost")):
        state = leading(a_job())
        trigger(state)
        told(state, [*events, beat("w1", 1, "02:00:02", state="leaving")], "02:00:02")
        effects = told(state, [inventory("w1", "02:00:03", nonce="n2")], "02:00:03")
        assert outcomes(effects) == [(FIRST, end)]


def test_an_inventory_taken_before_the_acceptance_does_not_lose_the_attempt() -> None:
    """It was on its way while the Dispatch was on its own: reordered, or over another connection."""
    state = leading(a_job())
    trigger(state)
    told(state, [took("w1", FIRST), began("w1", FIRST)], "02:00:02")
    effects = told(state, [inventory("w1", "02:00:01.5")], "02:00:02.5")
    assert not outcomes(effects)


def test_an_inventory_taken_after_the_expiry_is_the_last_word() -> None:
    for events, end in (([], "unstarted"), ([took("w1", FIRST)], "lost")):
        state = leading(a_job())
        trigger(state)
        told(state, events, "02:00:02")
        told(state, [beat("w1", 1, "02:00:10"), beat("w2", 1, "02:00:10")], "02:00:10")
        effects = told(state, [inventory("w1", "02:00:11.5")], "02:00:11.5")
        assert outcomes(effects) == [(FIRST, end)]


def test_an_inventory_that_is_older_than_a_heartbeat_does_not_set_the_workers_clock_back() -> None:
    state = leading(a_job(), workers=["w1"])
    told(state, [beat("w1", 5, "02:00:10")], "02:00:10")
    assert drops(told(state, [inventory("w1", "02:00:01")], "02:00:10.5")) == ["late"]
    ((_, dispatch),) = sent(msg.Dispatch, trigger(state, "02:00:11"))
    assert dispatch.orders[0].expiry_clock_ms == (5000 + 11 + 10) * 1000


def test_an_inventory_from_before_this_leadership_is_not_compared() -> None:
    state = rebuilt(row(a_job()))
    told(state, [LeadershipGained(), found("w1")], "02:00:00")
    assert drops(told(state, [inventory("w1", "02:00:00", epoch=EPOCH - 1)], "02:00:00.5")) == ["late"]
    assert not state.workers["w1:7482"].nonce


def test_an_inventory_counts_as_acceptance_and_start_of_what_it_lists() -> None:
    state = leading(a_job())
    trigger(state)
    effects = told(state, [inventory("w1", "02:00:02", running=[FIRST])], "02:00:02")
    assert [attempt for record in of(fx.RecordStarted, effects) for attempt, _ in record.starts] == [FIRST]
    assert state.attempts[FIRST].is_accepted


# ---- who gets work


def test_work_goes_round_robin_over_able_workers() -> None:
    state = leading(a_job(split=Shards(count=5)), workers=["w3", "w1", "w2"])
    assert [worker for worker, _ in given(trigger(state))] == ["w1", "w1", "w2", "w2", "w3"]
    takers = [attempt.worker for attempt in state.attempts.values()]
    assert takers == ["w1", "w2", "w3", "w1", "w2"]


def test_slots_are_never_exceeded() -> None:
    state = leading(a_job(split=Shards(count=9)), slots=2)
    assert len(given(trigger(state))) == 4
    effects = told(state, [ended("w1", FIRST)], "02:00:01.5")
    assert len(given(effects)) == 1
    assert all(len(worker.attempts) <= worker.slots for worker in state.workers.values())


def test_required_labels_decide_who_is_able() -> None:
    jobs = [a_job("with", requires=("gpu",)), a_job("without", requires=("!gpu",))]
    state = leading(*jobs)
    told(state, [inventory("w2", "02:00:00.5", labels=["gpu"])], "02:00:00.5")
    assert [worker for worker, _ in given(trigger(state, job="with"))] == ["w2"]
    assert [worker for worker, _ in given(trigger(state, job="without"))] == ["w1"]


def test_nobody_is_judged_while_frames_wait_to_be_heard() -> None:
    state = leading(a_job())
    (attempt,) = given(trigger(state))
    told(state, [took(*attempt)], "02:00:01")
    for second in range(2, 70, 2):  # every step has more frames than it gets
        effects = told(state, [FramesWaiting()], f"02:{second // 60:02}:{second % 60:02}")
        assert not events_of(effects)
        assert not outcomes(effects)
    assert outcomes(told(state, [AlarmRang()], "02:01:10")) == [(attempt[1], "lost")]


def test_suspect_draining_and_leaving_workers_get_no_new_work() -> None:
    state = leading(a_job(split=Shards(count=3)), workers=["w1", "w2", "w3", "w4"])
    for second in range(2, 9, 2):
        now = f"02:00:0{second}"
        told(
            state,
            [
                beat("w2", second, now, state="draining"),
                beat("w3", second, now, state="leaving"),
                beat("w4", second, now),
            ],
            now,
        )
    assert {worker for worker, _ in given(trigger(state, "02:00:08.1"))} == {"w4"}
    (views,) = [reply.answer for reply in of(fx.Reply, told(state, [asked(DescribeWorkers())], "02:00:08.2"))]
    assert isinstance(views, tuple)
    assert [view.state for view in views] == ["suspect", "draining", "gone", "ready"]


def test_a_worker_that_left_discovery_is_kept_until_it_is_gone() -> None:
    state = leading(a_job(timeout=timedelta(seconds=5)))
    assert not of(fx.Disconnect, told(state, [found("w2")], "02:00:01"))
    effects = told(state, [beat("w1", 1, "02:00:02", state="leaving"), AlarmRang()], "02:00:02")
    assert of(fx.Disconnect, effects) == [fx.Disconnect("w1:7482")]
    assert "w1:7482" not in state.workers
