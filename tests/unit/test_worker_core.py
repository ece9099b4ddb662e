"""The worker's mind, told facts and asked for orders: no clock, no socket, no file."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schedulerd.protocol.codec import Envelope, decode, digest_of, encode
from schedulerd.protocol.ids import EPOCH_LEAP, HIGHEST_BELIEVED
from schedulerd.protocol.messages import (
    Accepted,
    Cancel,
    Cancellation,
    Captured,
    Counted,
    Dispatch,
    Drain,
    Heartbeat,
    Hello,
    Inventory,
    Message,
    Order,
    Outcome,
    Reconcile,
    Refused,
    Result,
    ResultAck,
    Revoke,
    Spec,
    Start,
    Started,
)
from workerd.core import WorkerMoment, WorkerState, boot, snapshot, step
from workerd.effects import ConnectResults, Effect, Exit, Journal, Kill, RenewLease, Send, SetAlarm, Spawn
from workerd.events import (
    ChildEnded,
    ChildExpired,
    ChildStarted,
    DrainAsked,
    Event,
    FrameArrived,
    HelperDied,
    LinkUp,
    SettingsRead,
    Tick,
)
from workerd.records import (
    AttemptsAccepted,
    AttemptsAcknowledged,
    AttemptsEnded,
    AttemptsStarting,
    EpochSeen,
    Record,
)
from workerd.state import TOMBSTONE_MS, Identity, Limits, Phase

UTC = 1_800_000_000_000
EXPIRY = 110_000
PLACE = "tcp://127.0.0.1:7481"

T = TypeVar("T")


def at(clock_ms: int) -> WorkerMoment:
    return WorkerMoment(clock_ms, UTC + clock_ms)


def identity(slots: int = 2) -> Identity:
    return Identity(worker="w", nonce="n", name="web-01", slots=slots, labels=("a=b",), version="1")


def hello(
    epoch: int = 5, heard: int = 0, nonce: str = "n", results: str = PLACE, link: str = ""
) -> FrameArrived:
    return FrameArrived(
        Envelope(epoch, f"leader{epoch}", "x", "w" if nonce else "", nonce), Hello(results, "", heard, link)
    )


def frame(message: Message, epoch: int = 5, nonce: str = "n", worker: str = "w") -> FrameArrived:
    return FrameArrived(Envelope(epoch, f"leader{epoch}", "x", worker, nonce), message)


def spec(guarded: bool = False, kill_after_ms: int = 10_000) -> Spec:
    return Spec(
        run="r",
        job="j",
        fire_utc_us=0,
        timezone="UTC",
        kind="argv",
        argv=["true"],
        text="",
        shell=[],
        env={},
        cwd=None,
        timeout_ms=60_000,
        kill_after_ms=kill_after_ms,
        success_codes=[0],
        subtasks=1,
        output_limit=1000,
        guarded=guarded,
        chunked=False,
    )


def dispatch(*attempts: str, expiry: int = EXPIRY, guarded: bool = False, epoch: int = 5) -> FrameArrived:
    orders = [Order(attempt, 0, expiry, 1) for attempt in attempts]
    return frame(Dispatch([spec(guarded)], orders), epoch)


def led(slots: int = 2, limits: Limits | None = None) -> WorkerState:
    """A worker that has heard its leader of epoch 5 at 100 s on its clock."""
    state, _ = boot(identity(slots), [], at(100_000), limits)
    step(state, [hello()], at(100_000))
    return state


def of(kind: type[T], effects: Iterable[Effect]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def said(kind: type[T], effects: Iterable[Effect]) -> list[T]:
    """What was sent of one kind of message."""
    return [
        effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)
    ]


def outcomes(effects: Iterable[Effect]) -> list[Outcome]:
    return [outcome for result in said(Result, effects) for outcome in result.outcomes]


def ended(attempt: str, state: str = "succeeded") -> ChildEnded:
    return ChildEnded(Outcome(attempt, state, "exit", exit_code=0, started_utc_ms=UTC, finished_utc_ms=UTC))


def refusals(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    return [(r.attempt, r.reason) for refused in said(Refused, effects) for r in refused.refusals]


# ---- accepting and starting


def test_dispatch_is_journaled_once_then_told_then_started() -> None:
    state = led()
    effects = step(state, [dispatch("a", "b")], at(100_100))
    assert effects == [
        Journal(
            [
                AttemptsAccepted([("a", EXPIRY), ("b", EXPIRY)]),
                AttemptsStarting(["a", "b"], UTC + 100_100),
            ],
            sync=True,
        ),
        Send(Accepted(["a", "b"])),
        Spawn(Order("a", 0, EXPIRY, 1), spec(), 5),
        Spawn(Order("b", 0, EXPIRY, 1), spec(), 5),
    ]


def test_what_has_no_slot_waits_and_starts_when_one_is_free() -> None:
    state = led(slots=1)
    first = step(state, [dispatch("a", "b")], at(100_100))
    assert [spawn.order.attempt for spawn in of(Spawn, first)] == ["a"]
    then = step(state, [ended("a")], at(100_200))
    assert then[0] == Journal(
        [AttemptsStarting(["b"], UTC + 100_200), AttemptsEnded([ended("a").outcome], 100_200)], sync=True
    )
    assert [spawn.order.attempt for spawn in of(Spawn, then)] == ["b"]


def test_started_is_told_unless_the_result_is_in_the_same_step() -> None:
    state = led()
    step(state, [dispatch("a", "b")], at(100_100))
    effects = step(state, [ChildStarted("a", 7), ChildStarted("b", 8), ended("b")], at(100_200))
    assert said(Started, effects) == [Started([Start("a", 7)])]
    assert [o.attempt for o in outcomes(effects)] == ["b"]


def test_a_repeated_dispatch_is_answered_with_the_known_state_and_never_starts_again() -> None:
    state = led(slots=1)
    step(state, [dispatch("a", "b")], at(100_100))
    step(state, [ChildStarted("a", 7)], at(100_200))
    again = step(state, [dispatch("a", "b", expiry=100_000)], at(100_300))
    assert said(Started, again) == [Started([Start("a", 7)])]
    assert said(Accepted, again) == [Accepted(["b"])]
    assert not of(Spawn, again)
    assert not of(Journal, again)
    step(state, [ended("a")], at(100_400))
    again = step(state, [dispatch("a")], at(100_500))
    assert [o.attempt for o in outcomes(again)] == ["a"]
    assert not of(Journal, again)
    step(state, [frame(ResultAck(["a"]))], at(100_600))
    assert refusals(step(state, [dispatch("a")], at(100_700))) == [("a", "tombstone")]
    assert state.counters["duplicate_dispatches"] == 3


def test_expired_faulty_and_surplus_attempts_are_refused() -> None:
    state = led(slots=1)
    orders = [Order("late", 0, 100_100, 1), Order("odd", 3, EXPIRY, 1), Order("", 0, EXPIRY, 1)]
    effects = step(state, [frame(Dispatch([spec()], orders))], at(100_100))
    assert refusals(effects) == [("late", "expired"), ("odd", "faulty"), ("", "faulty")]
    many = [f"m{number}" for number in range(20)]
    effects = step(state, [dispatch(*many)], at(100_200))
    assert refusals(effects) == [("m18", "full"), ("m19", "full")]
    assert state.live + len(state.waiting) == 18


def test_an_attempt_refused_as_full_never_starts_later_for_another_may_have_it() -> None:
    state = led(slots=1)
    step(state, [dispatch(*[f"m{number}" for number in range(19)])], at(100_200))
    step(state, [frame(Revoke([f"m{number}" for number in range(1, 18)]))], at(100_300))
    assert refusals(step(state, [dispatch("m18")], at(100_400))) == [("m18", "full")]
    assert refusals(step(state, [dispatch("m18")], at(EXPIRY + 2_000))) == [("m18", "expired")]
    assert not state.refused


def test_too_much_unacknowledged_output_refuses_new_work_until_acknowledged() -> None:
    state = led(limits=Limits(ended_bytes=1000))
    step(state, [dispatch("a")], at(100_100))
    loud = Outcome("a", "succeeded", stdout=Captured(b"x" * 600, b"y" * 600))
    step(state, [ChildEnded(loud)], at(100_200))
    assert refusals(step(state, [dispatch("b")], at(100_300))) == [("b", "full")]
    step(state, [frame(ResultAck(["a"]))], at(100_400))
    assert of(Spawn, step(state, [dispatch("c")], at(100_500)))


def test_what_expires_while_it_waits_ends_unstarted() -> None:
    state = led(slots=1)
    step(state, [dispatch("a", "b")], at(100_100))
    effects = step(state, [Tick()], at(EXPIRY))
    assert [(o.attempt, o.state, o.reason) for o in outcomes(effects)] == [("b", "unstarted", "expired")]
    assert isinstance(effects[0], Journal)
    assert effects[0].sync


def test_expiry_found_by_the_spawning_side_ends_unstarted() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    effects = step(state, [ChildExpired("a")], at(100_200))
    assert [(o.state, o.started_utc_ms) for o in outcomes(effects)] == [("unstarted", None)]
    assert state.live == 0


# ---- fences


def test_a_frame_for_another_boot_or_another_worker_is_dropped_and_counted() -> None:
    state = led()
    attempt = Dispatch([spec()], [Order("a", 0, EXPIRY, 1)])
    effects = step(
        state,
        [frame(attempt, nonce="old"), frame(attempt, worker="v"), frame(attempt, nonce="")],
        at(100_100),
    )
    assert effects == []
    assert state.counters["frames_for_another"] == 3


def test_an_older_epoch_is_refused_at_its_own_endpoint_and_changes_nothing() -> None:
    state = led()
    effects = step(state, [hello(epoch=4, results="tcp://old"), dispatch("a", epoch=4)], at(100_100))
    (sent,) = of(Send, effects)
    assert (sent.endpoint, sent.receiver) == ("tcp://old", "leader4")
    assert isinstance(sent.message, Refused)
    assert [(r.attempt, r.reason) for r in sent.message.refusals] == [("a", "stale")]
    assert sent.message.seen == 5
    assert not of(Spawn, effects)
    assert not of(ConnectResults, effects)
    assert (state.epoch, state.results, state.leader) == (5, PLACE, "leader5")


def test_a_newer_epoch_is_remembered_before_anything_else_is_done() -> None:
    state = led()
    effects = step(state, [dispatch("a", epoch=6)], at(100_100))
    assert isinstance(effects[0], Journal)
    assert effects[0].records[0] == EpochSeen(6)
    assert effects[0].sync
    assert (
        refusals(step(state, [dispatch("b", epoch=5)], at(100_200))) == []
    )  # no endpoint known: counted alone
    assert state.counters["refused_stale"] == 1
    assert "b" not in state.attempts


def test_a_second_leader_of_one_epoch_is_not_followed_while_the_first_is_heard() -> None:
    state = led()
    for clock in (102_000, 104_000, 107_900):
        assert of(ConnectResults, step(state, [hello(results="tcp://rival")], at(clock))) == []
        step(state, [hello()], at(clock))
    assert state.counters["hellos_of_a_rival"] == 3
    assert state.results == PLACE
    effects = step(state, [hello(results="tcp://moved")], at(107_900 + 6_000))
    assert of(ConnectResults, effects) == [ConnectResults("tcp://moved")]


def test_an_epoch_out_of_reach_is_neither_remembered_nor_followed() -> None:
    state = led()
    for epoch in (1 << 53, HIGHEST_BELIEVED + EPOCH_LEAP + 1):
        effects = step(state, [hello(epoch, results="tcp://liar"), dispatch("a", epoch=epoch)], at(100_100))
        assert effects == []
    assert (state.epoch, state.results) == (5, PLACE)
    assert state.counters["frames_epoch_out_of_reach"] == 4
    step(state, [hello(HIGHEST_BELIEVED + EPOCH_LEAP)], at(100_200))
    assert state.epoch == HIGHEST_BELIEVED + EPOCH_LEAP, "there is always room for the next leader"


def test_a_hello_of_a_new_epoch_reconnects_and_gets_the_inventory_and_all_results_again() -> None:
    state = led()
    step(state, [dispatch("a", "b")], at(100_100))
    step(state, [ended("a")], at(100_200))
    effects = step(state, [hello(epoch=6, results="tcp://new", link="l1")], at(100_300))
    assert effects[:2] == [Journal([EpochSeen(6)], sync=True), ConnectResults("tcp://new")]
    (inventory,) = said(Inventory, effects)
    assert (inventory.running, inventory.ended, inventory.link) == (["b"], ["a"], "l1")
    again = step(state, [Tick()], at(100_800))
    assert [o.attempt for o in outcomes(again)] == ["a"]


@pytest.mark.parametrize("nonce", ["", "other"])
def test_a_hello_that_does_not_name_this_boot_is_answered_with_an_inventory(nonce: str) -> None:
    state = led()
    effects = step(state, [hello(nonce=nonce, heard=99)], at(100_100))
    assert len(said(Inventory, effects)) == 1
    assert state.heard == 0
    assert said(Inventory, step(state, [hello()], at(100_200))) == []


def test_reconcile_is_answered_with_everything_held() -> None:
    state = led(slots=1)
    step(state, [dispatch("a", "b")], at(100_100))
    (inventory,) = said(Inventory, step(state, [frame(Reconcile())], at(100_200)))
    assert inventory == Inventory("web-01", 1, ["a=b"], "1", 100_200, ["b"], ["a"], [])


# ---- results


def test_results_are_sent_again_after_1_2_4_up_to_60_seconds_until_acknowledged() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    now = 100_200
    assert outcomes(step(state, [ended("a")], at(now)))
    for gap in (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000):
        assert not outcomes(step(state, [Tick()], at(now + gap - 1)))
        now += gap
        assert [o.attempt for o in outcomes(step(state, [Tick()], at(now)))] == ["a"]
    step(state, [frame(ResultAck(["a"]))], at(now))
    assert not outcomes(step(state, [Tick()], at(now + 120_000)))


def test_an_acknowledgement_alone_costs_no_fsync_and_leaves_a_tombstone_for_an_hour() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    step(state, [ended("a")], at(100_200))
    effects = step(state, [frame(ResultAck(["a", "unknown"]))], at(100_300))
    assert effects == [Journal([AttemptsAcknowledged(["a"])], sync=False)]
    assert (state.attempts, state.digest, state.ended) == ({}, 0, 0)
    step(state, [Tick()], at(EXPIRY + TOMBSTONE_MS - 1))
    assert "a" in state.tombstones
    step(state, [Tick()], at(EXPIRY + TOMBSTONE_MS + 2_000))
    assert not state.tombstones


def test_a_dispatch_replayed_after_its_tombstone_is_forgotten_is_refused_by_its_expiry() -> None:
    state = led()
    replay = dispatch("a")
    step(state, [replay], at(100_100))
    step(state, [ended("a")], at(100_200))
    step(state, [frame(ResultAck(["a"]))], at(100_300))
    assert refusals(step(state, [replay], at(EXPIRY + TOMBSTONE_MS - 1))) == [("a", "tombstone")]
    step(state, [Tick()], at(EXPIRY + TOMBSTONE_MS + 2_000))
    assert not state.tombstones
    effects = step(state, [replay], at(EXPIRY + TOMBSTONE_MS + 2_100))
    assert refusals(effects) == [("a", "expired")]
    assert not of(Spawn, effects)


def test_a_revocation_of_the_unknown_outlives_a_restart_before_it_was_told() -> None:
    state, first = boot(identity(), [], at(100_000))
    records = journaled(
        first, step(state, [hello()], at(100_000)), step(state, [frame(Revoke(["z"]))], at(100_100))
    )
    reborn = Identity(worker="w", nonce="n2", name="web-01", slots=2, labels=(), version="1")
    state, _ = boot(reborn, records, at(100_200))
    told = step(state, [hello(epoch=5, nonce="n2")], at(100_300))
    assert said(Inventory, told)[0].ended == ["z"]
    orders = [Order("z", 0, EXPIRY, 1)]
    late = step(state, [frame(Dispatch([spec()], orders), nonce="n2")], at(100_400))
    assert [(o.attempt, o.state) for o in outcomes(late)] == [("z", "unstarted")]
    assert not of(Spawn, late)


def at_place(nonce: str, place: str, endpoint: str) -> Identity:
    return replace(identity(), nonce=nonce, place=place, endpoint=endpoint)


def test_a_boot_names_those_before_it_in_its_own_directory_and_at_its_own_address() -> None:
    records: list[Record] = []
    for nonce, place, endpoint, former in (
        ("n1", "here", "a:1", []),
        ("n2", "here", "a:2", ["n1"]),
        ("n3", "here after a boot of the host", "a:2", ["n2"]),
        ("copy", "there", "b:1", []),
        ("n5", "there", "b:1", ["copy"]),
    ):
        state, _ = boot(at_place(nonce, place, endpoint), records, at(100_000))
        (told,) = said(Inventory, step(state, [hello(nonce="")], at(100_100)))
        assert told.former == former
        records = snapshot(state, 100_200)
    for number in range(20):
        state, _ = boot(at_place(f"again{number}", "there", ""), records, at(100_000))
        records = snapshot(state, 100_200)
    assert [one.nonce for one in state.boots] == [f"again{number}" for number in range(12, 20)]


def test_what_leaders_have_told_of_its_counts_is_said_to_the_next_one() -> None:
    state, _ = boot(identity(), [], at(100_000))
    for epoch, hello_told, told in (
        (5, None, Counted()),
        (5, Counted(stale_frames=2), Counted(stale_frames=2)),
        (6, None, Counted(stale_frames=2)),
    ):
        envelope = Envelope(epoch, f"leader{epoch}", "x", "w", "n")
        greeting = FrameArrived(envelope, Hello(f"{PLACE}{epoch}", "", 0, "", hello_told))
        step(state, [greeting], at(100_100))
        beats = said(Heartbeat, step(state, [], at(state.next_beat_ms)))
        assert [beat.told for beat in beats] == [told]


def test_a_dispatch_that_names_an_attempt_twice_starts_it_once() -> None:
    state = led(slots=4)
    effects = step(state, [dispatch("a", "a"), dispatch("a")], at(100_100))
    assert [spawn.order.attempt for spawn in of(Spawn, effects)] == ["a"]
    assert state.counters["duplicate_dispatches"] == 2


def test_a_new_leader_at_the_old_endpoint_gets_a_connection_of_its_own() -> None:
    state = led()
    effects = step(state, [hello(epoch=6, results=PLACE)], at(100_100))
    assert of(ConnectResults, effects) == [ConnectResults(PLACE)]
    assert not of(ConnectResults, step(state, [hello(epoch=6, results=PLACE)], at(102_100)))


def test_tombstones_are_bounded_and_only_expired_ones_give_way() -> None:
    state = led(slots=10, limits=Limits(tombstones=2))
    step(state, [dispatch("a", "b", "c", "d")], at(100_100))
    step(state, [ended(attempt) for attempt in "abcd"], at(100_200))
    step(state, [frame(ResultAck(list("abcd")))], at(100_300))
    step(state, [Tick()], at(EXPIRY - 1))
    assert list(state.tombstones) == ["a", "b", "c", "d"]
    step(state, [Tick()], at(EXPIRY + 2_000))
    assert list(state.tombstones) == ["c", "d"]


def test_results_of_one_step_are_cut_into_frames_of_about_a_mebibyte() -> None:
    state = led(slots=10)
    step(state, [dispatch("a", "b", "c")], at(100_100))
    big = [ChildEnded(Outcome(a, "succeeded", stdout=Captured(b"x" * 600_000))) for a in "abc"]
    effects = step(state, big, at(100_200))
    assert [len(result.outcomes) for result in said(Result, effects)] == [1, 1, 1]


def test_a_link_that_comes_up_gets_inventory_beat_and_results_at_once() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    step(state, [ended("a")], at(100_200))
    effects = step(state, [LinkUp()], at(100_300))
    assert said(Inventory, effects)
    assert said(Heartbeat, effects)
    assert [o.attempt for o in outcomes(effects)] == ["a"]


# ---- cancel and revoke


def test_cancel_ends_a_running_attempt_and_its_result_says_cancelled() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    effects = step(state, [frame(Cancel([Cancellation("a")]))], at(100_200))
    assert of(Kill, effects) == [Kill("a", False, 10_000)]
    effects = step(state, [frame(Cancel([Cancellation("a", kill=True)]))], at(100_300))
    assert of(Kill, effects) == [Kill("a", True, 10_000)]
    effects = step(state, [ended("a", "failed")], at(100_400))
    assert [(o.state, o.reason) for o in outcomes(effects)] == [("cancelled", "cancelled")]


def test_a_cancel_that_comes_too_late_leaves_the_success() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    step(state, [frame(Cancel([Cancellation("a")]))], at(100_200))
    assert outcomes(step(state, [ended("a")], at(100_300)))[0].state == "succeeded"


@pytest.mark.parametrize(
    ("message", "verdict"),
    [(Cancel([Cancellation("b")]), ("cancelled", "cancelled")), (Revoke(["b"]), ("unstarted", "revoked"))],
)
def test_what_waits_ends_without_having_started(message: Message, verdict: tuple[str, str]) -> None:
    state = led(slots=1)
    step(state, [dispatch("a", "b")], at(100_100))
    effects = step(state, [frame(message)], at(100_200))
    assert isinstance(effects[0], Journal)
    assert [(o.state, o.reason, o.started_utc_ms) for o in outcomes(effects)] == [(*verdict, None)]
    assert not of(Spawn, step(state, [ended("a")], at(100_300)))


@pytest.mark.parametrize("message", [Cancel([Cancellation("z")]), Revoke(["z"])])
def test_revoking_the_unknown_is_journaled_and_a_later_dispatch_does_not_start(message: Message) -> None:
    state = led()
    effects = step(state, [frame(message)], at(100_200))
    assert isinstance(effects[0], Journal)
    assert effects[0].sync
    (known,) = outcomes(effects)
    assert known.attempt == "z"
    late = step(state, [dispatch("z")], at(100_300))
    assert not of(Spawn, late)
    assert outcomes(late) == [known]
    step(state, [frame(ResultAck(["z"]))], at(100_400))
    assert refusals(step(state, [dispatch("z")], at(100_500))) == [("z", "tombstone")]


def test_revoking_what_runs_only_says_that_it_runs() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    step(state, [ChildStarted("a", 7)], at(100_200))
    effects = step(state, [frame(Revoke(["a"]))], at(100_300))
    assert said(Started, effects) == [Started([Start("a", 7)])]
    assert not of(Kill, effects)


# ---- beats and leases


def test_heartbeats_go_out_every_two_seconds_with_what_is_held() -> None:
    state = led(slots=3)
    step(state, [dispatch("a", "b")], at(100_100))
    effects = step(state, [Tick()], at(102_500))
    (beat,) = said(Heartbeat, effects)
    assert beat == Heartbeat(2, 102_500, 1, digest_of("a") ^ digest_of("b"), 500, 2, "ready", told=Counted())
    assert of(SetAlarm, effects) == [SetAlarm(104_500)]
    assert not said(Heartbeat, step(state, [Tick()], at(104_499)))


def beat_until(state: WorkerState, start: int, end: int, echo: bool) -> list[Effect]:
    """Step every half second; with `echo` the leader answers each beat."""
    effects: list[Effect] = []
    for now in range(start, end, 500):
        events: list[Event] = [hello(heard=state.beat)] if echo else [Tick()]
        effects += step(state, events, at(now))
    return effects


def test_without_an_echo_guarded_attempts_are_ended_before_the_leader_may_call_them_lost() -> None:
    state = led()
    step(state, [dispatch("a", guarded=True), dispatch("b")], at(100_100))
    last_echo = 120_000
    assert not of(Kill, beat_until(state, 100_500, last_echo, echo=True))
    anchor = state.lease_ms
    assert anchor > 115_000
    assert not of(Kill, beat_until(state, last_echo, anchor + 40_000, echo=False))
    effects = beat_until(state, anchor + 40_000, anchor + 42_500, echo=False)
    (term,) = of(Kill, effects)
    assert (term.attempt, term.kill_now) == ("a", False)
    assert term.kill_after_ms <= 5_000
    effects = beat_until(state, anchor + 42_500, anchor + 47_500, echo=False)
    assert of(Kill, effects)[0] == Kill("a", True, 0)
    effects = step(state, [ended("a", "failed")], at(anchor + 47_600))
    assert [(o.state, o.reason) for o in outcomes(effects)] == [("lost", "fenced")]
    assert state.counters["fenced"] == 1
    assert not of(Kill, beat_until(state, anchor + 47_600, anchor + 90_000, echo=False))


def test_an_echo_of_an_old_beat_does_not_stretch_the_lease() -> None:
    state = led()
    beat_until(state, 100_500, 110_000, echo=False)
    step(state, [hello(heard=2)], at(110_000))
    anchor = state.lease_ms
    assert anchor < 103_000
    step(state, [hello(heard=2), hello(heard=1), hello(heard=77)], at(111_000))
    assert state.lease_ms == anchor


def test_a_guarded_attempt_waits_for_an_echo_when_the_lease_is_out() -> None:
    state = led()
    beat_until(state, 100_500, 150_000, echo=False)
    effects = step(state, [dispatch("a", guarded=True, expiry=160_000)], at(150_000))
    assert said(Accepted, effects) == [Accepted(["a"])]
    assert not of(Spawn, effects)
    assert of(Spawn, step(state, [hello(heard=state.beat)], at(150_500)))


def test_the_helper_lease_shrinks_with_a_guarded_attempt_and_grows_back() -> None:
    state = led()
    assert of(RenewLease, step(state, [Tick()], at(102_000))) == [RenewLease(40.0)]
    effects = step(state, [dispatch("a", guarded=True)], at(110_000 - 1))
    assert of(RenewLease, effects)[-1] == RenewLease(35.001)
    assert effects.index(of(RenewLease, effects)[-1]) < effects.index(of(Spawn, effects)[0])
    beat_until(state, 110_500, 143_000, echo=False)
    assert of(RenewLease, beat_until(state, 143_000, 145_500, echo=False)) == [RenewLease(6.0)]
    step(state, [ended("a")], at(145_600))
    assert RenewLease(40.0) in beat_until(state, 146_000, 149_000, echo=False)


# ---- draining and dying


def test_drain_hands_back_what_waits_refuses_new_work_and_can_be_taken_back() -> None:
    state = led(slots=1)
    step(state, [dispatch("a", "b")], at(100_100))
    effects = step(state, [frame(Drain()), dispatch("c")], at(100_200))
    assert [(o.attempt, o.state) for o in outcomes(effects)] == [("b", "unstarted")]
    assert refusals(effects) == [("c", "draining")]
    assert [beat.state for beat in said(Heartbeat, effects)] == ["draining"]
    step(state, [ended("a")], at(100_300))
    assert not of(Exit, step(state, [frame(ResultAck(["a", "b"]))], at(100_400)))
    effects = step(state, [frame(Drain(on=False)), dispatch("d")], at(100_500))
    assert of(Spawn, effects)


def test_a_worker_asked_to_end_leaves_when_its_results_are_acknowledged() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    assert not of(Exit, step(state, [DrainAsked()], at(100_200)))
    assert not of(Exit, step(state, [ended("a")], at(100_300)))
    effects = step(state, [frame(ResultAck(["a"]))], at(100_400))
    assert [beat.state for beat in said(Heartbeat, effects)] == ["leaving"]
    assert effects[-1] == Exit("drained")
    assert step(state, [Tick()], at(200_000)) == []


def test_a_leaving_worker_does_not_wait_for_a_silent_leader_for_ever() -> None:
    state = led()
    step(state, [dispatch("a")], at(100_100))
    step(state, [DrainAsked()], at(100_100))
    step(state, [ended("a")], at(100_200))
    assert not of(Exit, step(state, [Tick()], at(110_199)))
    (left,) = of(Exit, step(state, [Tick()], at(110_200)))
    assert "1 results are unacknowledged" in left.reason


def test_a_worker_without_a_leader_leaves_at_once() -> None:
    state, _ = boot(identity(), [], at(1))
    assert of(Exit, step(state, [DrainAsked()], at(2))) == [Exit("drained")]


def test_a_dead_helper_makes_what_it_had_in_hand_lost() -> None:
    state = led(slots=2)
    step(state, [dispatch("a", "b", "c")], at(100_100))
    step(state, [ChildStarted("a", 7)], at(100_150))
    effects = step(state, [HelperDied("killed by signal 9")], at(100_200))
    assert [(o.attempt, o.state) for o in outcomes(effects)] == [("a", "lost"), ("b", "lost")]
    assert [spawn.order.attempt for spawn in of(Spawn, effects)] == ["c"]
    late = step(state, [ended("a"), ChildStarted("b", 9), ChildExpired("b")], at(100_300))
    assert late == []
    assert state.counters["stray_children"] == 3


def test_new_labels_are_told_at_once() -> None:
    state = led()
    (inventory,) = said(Inventory, step(state, [SettingsRead(4, ("x",))], at(100_100)))
    assert (inventory.slots, inventory.labels) == (4, ["x"])


# ---- restarts


def journaled(*steps: list[Effect]) -> list[Record]:
    return [record for effects in steps for journal in of(Journal, effects) for record in journal.records]


def test_after_a_restart_accepted_is_unstarted_started_is_lost_and_nothing_runs_again() -> None:
    state, first = boot(identity(slots=1), [], at(100_000))
    records = journaled(
        first,
        step(state, [hello()], at(100_000)),
        step(state, [dispatch("done", "ran", "waits")], at(100_100)),
        step(state, [ended("done")], at(100_200)),
    )
    reborn = Identity(worker="w", nonce="n2", name="web-01", slots=1, labels=(), version="1")
    state, effects = boot(reborn, records, at(200))
    assert isinstance(effects[0], Journal)
    assert effects[0].sync
    assert {a: kept.outcome.state for a, kept in state.attempts.items() if kept.outcome} == {
        "done": "succeeded",
        "ran": "lost",
        "waits": "unstarted",
    }
    assert (state.epoch, state.live, state.waiting) == (5, 0, {})
    told = step(state, [hello(epoch=5, nonce="n")], at(300))
    assert said(Inventory, told)[0].ended == ["done", "ran", "waits"]
    orders = [Order(a, 0, 50_000, 1) for a in ("done", "ran", "waits")]
    assert not of(Spawn, step(state, [frame(Dispatch([spec()], orders), nonce="n2")], at(400)))
    assert refusals(step(state, [hello(epoch=4, results="tcp://old")], at(500))) == []
    assert state.counters["refused_stale"] == 1


def test_a_snapshot_boots_to_the_same_state_as_the_whole_journal() -> None:
    state = led(slots=2)
    step(state, [dispatch("a", "b", "c", "d", "e")], at(100_100))
    step(state, [ended("a"), ChildStarted("b", 3), frame(Revoke(["e", "u"]))], at(100_200))
    step(state, [frame(ResultAck(["a"]))], at(100_300))
    before = snapshot(state, 100_400)
    reborn, _ = boot(identity(), before, at(100_400))
    assert list(reborn.attempts) == ["b", "c", "d", "e", "u"]
    states = {a: kept.outcome.state for a, kept in reborn.attempts.items() if kept.outcome}
    assert states == {"b": "lost", "c": "lost", "d": "unstarted", "e": "unstarted", "u": "unstarted"}
    assert (reborn.digest, reborn.epoch, reborn.tombstones) == (state.digest, 5, state.tombstones)


def test_tombstones_of_an_earlier_boot_of_the_host_do_not_last_for_days() -> None:
    state = led()
    step(state, [dispatch("a", expiry=900_000_000)], at(100_100))
    step(state, [ended("a")], at(100_200))
    step(state, [frame(ResultAck(["a"]))], at(100_300))
    reborn, _ = boot(identity(), snapshot(state, 100_400), at(10))
    assert reborn.tombstones["a"] <= 10 + 2 * TOMBSTONE_MS


def test_the_same_events_give_the_same_effects() -> None:
    def play() -> list[Effect]:
        state = led(slots=3)
        effects = step(state, [dispatch(*[f"x{n}" for n in range(9)])], at(100_100))
        effects += step(state, [ended("x1"), ended("x0"), frame(Revoke(["x7", "q"]))], at(100_200))
        return effects + step(state, [hello(epoch=9, results="tcp://n"), Tick()], at(103_000))

    assert play() == play()


# ---- whatever comes, in whatever order

NAMES = [f"r~{number}~1" for number in range(8)]


def facts(state: WorkerState, kind: str, names: list[str]) -> list[Event]:
    """Facts of one kind about some attempts, as they might come to this boot of the worker."""
    nonce = state.identity.nonce
    epoch = max(state.epoch, 5)
    orders = [Order(name, 0, 150_000 if name < "r~6" else 101_000, 1) for name in names]
    match kind:
        case "dispatch":
            return [frame(Dispatch([spec()], orders), epoch, nonce)]
        case "guarded":
            return [frame(Dispatch([spec(guarded=True)], orders), epoch, nonce)]
        case "cancel":
            return [frame(Cancel([Cancellation(name) for name in names]), epoch, nonce)]
        case "revoke":
            return [frame(Revoke(names), epoch, nonce)]
        case "ack":
            return [frame(ResultAck(names), epoch, nonce)]
        case "started":
            return [ChildStarted(name, 1) for name in names]
        case "ended":
            return [ended(name, "failed") for name in names]
        case "expired":
            return [ChildExpired(name) for name in names]
        case "hello":
            return [hello(epoch, heard=state.beat, nonce=nonce)]
        case "new leader":
            return [hello(epoch + 1, nonce="", results=f"tcp://l{epoch}")]
        case "old leader":
            return [
                hello(epoch - 1, results="tcp://old"),
                frame(Dispatch([spec()], orders), epoch - 1, nonce),
            ]
        case "helper died":
            return [HelperDied("")]
        case "drain":
            return [frame(Drain(on=len(names) % 2 == 0), epoch, nonce)]
        case _:
            return [LinkUp(), Tick()]


KINDS = [
    "dispatch",
    "guarded",
    "cancel",
    "revoke",
    "ack",
    "started",
    "ended",
    "expired",
    "hello",
    "new leader",
]
KINDS += ["old leader", "helper died", "drain", "tick", "restart", "crash"]
MOVES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.lists(st.sampled_from(NAMES), max_size=4), st.integers(0, 20_000)),
    max_size=60,
)


def verify(state: WorkerState) -> None:
    """What has to be true of a state after every step."""
    digest = 0
    for attempt, kept in state.attempts.items():
        digest ^= digest_of(attempt)
        assert (kept.outcome is not None) == (kept.phase is Phase.ENDED)
    phases = [kept.phase for kept in state.attempts.values()]
    assert state.digest == digest
    assert state.live == phases.count(Phase.STARTING) + phases.count(Phase.RUNNING) <= state.identity.slots
    assert len(state.waiting) == phases.count(Phase.WAITING)
    assert state.ended == phases.count(Phase.ENDED)
    assert not state.attempts.keys() & state.tombstones.keys()
    assert state.guarded.keys() <= {a for a, kept in state.attempts.items() if kept.phase is not Phase.ENDED}


@given(MOVES)
def test_no_attempt_is_started_twice_and_nothing_is_said_or_started_before_it_is_journaled(
    moves: list[tuple[str, list[str], int]],
) -> None:
    now = 100_000
    journal: list[Record] = []
    spawned: list[str] = []
    verdicts: dict[str, str] = {}
    state, effects = boot(identity(), [], at(now))
    for number, (kind, names, pause) in enumerate(moves):
        now += pause
        if kind in ("restart", "crash"):  # a crash loses what was not synced; here that is nothing but an ack
            reborn = Identity(worker="w", nonce=f"n{number}", name="x", slots=2, labels=(), version="1")
            records = snapshot(state, now) if kind == "restart" else journal
            state, effects = boot(reborn, records, at(now))
        else:
            effects = step(state, facts(state, kind, names), at(now))
        verify(state)
        for effect in effects:
            if isinstance(effect, Journal):
                assert effect is effects[0]
                journal += effect.records if effect.sync else []
            elif isinstance(effect, Spawn):
                spawned.append(effect.order.attempt)
        journaled_starts = [a for r in journal if isinstance(r, AttemptsStarting) for a in r.attempts]
        assert set(spawned) <= set(journaled_starts)
        for outcome in outcomes(effects):
            known = [o for r in journal if isinstance(r, AttemptsEnded) for o in r.outcomes]
            assert outcome in known
            assert verdicts.setdefault(outcome.attempt, outcome.state) == outcome.state
            assert (
                outcome.state != "unstarted" or outcome.attempt not in spawned or outcome.reason == "expired"
            )
    assert len(spawned) == len(set(spawned))


def test_heartbeats_tell_what_was_counted_since_the_boot() -> None:
    state = led(slots=3)
    step(state, [dispatch("a")], at(100_100))
    step(state, [dispatch("a"), dispatch("a", "b")], at(100_200))
    (beat,) = said(Heartbeat, step(state, [Tick()], at(102_500)))
    assert beat.counts == Counted(duplicate_dispatches=2)
    stale = Envelope(0, "old", "boot", state.identity.worker, state.identity.nonce)
    step(state, [FrameArrived(stale, Dispatch([], []))], at(102_600))
    (beat,) = said(Heartbeat, step(state, [Tick()], at(104_600)))
    assert beat.counts == Counted(duplicate_dispatches=2, stale_frames=1)


def test_a_leader_of_the_version_before_and_after_understands_the_other_heartbeat() -> None:
    new = Heartbeat(2, 3, 1, 4, 5, 6, "ready", Counted(duplicate_dispatches=7))
    header = Envelope(1, "w", "n", "l", "")
    assert decode([encode(header, new)]).message == new
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(new))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:7]), type=Heartbeat).counts == Counted()
    longer = [*fields[:7], [*fields[7], 8, 9]]  # a worker of the version after counts more
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(longer), type=Heartbeat) == new
