"""The helper process's parts that touch no process: capture, deadlines, frames, environment."""

import json
import os
import pwd
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulerd.protocol.messages import Captured, Order, Outcome, Spec
from schedulerd.protocol.rendering import TemplateError, Values
from workerd.spawner import wire
from workerd.spawner.capture import Capture
from workerd.spawner.deadlines import Deadlines
from workerd.spawner.environment import ITEM_LIMIT, PATH, environment_of, has_large_item

RUN = "backup@20261123T020000Z"
SPEC = Spec(
    run=RUN,
    job="backup",
    fire_utc_us=1_795_399_200_000_000,
    timezone="UTC",
    kind="argv",
    argv=["x"],
    text="",
    shell=[],
    env={"DAY": "{{ fire_time.date }}", "SCHEDULERD_JOB": "not this"},
    cwd=None,
    timeout_ms=1000,
    kill_after_ms=1000,
    success_codes=[0],
    subtasks=4,
    output_limit=8,
    guarded=False,
    chunked=False,
)


# ---- capture


def test_all_is_kept_in_the_head_while_it_fits():
    capture = Capture(8)
    for piece in (b"abc", b"de", b"fgh"):
        capture.feed(piece)
    assert capture.captured() == Captured(b"abcdefgh")


def test_head_and_tail_are_kept_and_the_middle_counted():
    capture = Capture(8)
    capture.feed(b"0123456789")
    capture.feed(b"abc")
    assert capture.captured() == Captured(b"0123", b"9abc", 5)
    assert capture.total == 13


@given(st.lists(st.binary(max_size=9000), max_size=12), st.integers(0, 5000))
def test_capture_agrees_with_cutting_the_whole(pieces, limit):
    whole = b"".join(pieces)
    capture = Capture(limit)
    for piece in pieces:
        capture.feed(piece)
    kept = capture.captured()
    assert capture.total == len(whole)
    if len(whole) <= limit:
        assert kept == Captured(whole)
    else:
        tail = limit - limit // 2
        assert kept == Captured(whole[: limit // 2], whole[len(whole) - tail :], len(whole) - limit)


def test_an_endless_stream_takes_no_more_than_its_bound():
    capture = Capture(1000)
    for _ in range(1000):
        capture.feed(b"x" * 1000)
        assert len(capture._tail) <= 2 * 500 + 4096 + 1000
    assert capture.captured().dropped == 999_000


# ---- deadlines


def child():
    return SimpleNamespace(deadline_ms=0)


def test_children_come_due_in_order_and_only_by_their_latest_deadline():
    deadlines, one, two, three = Deadlines(), child(), child(), child()
    deadlines.set(one, 30)
    deadlines.set(two, 20)
    deadlines.set(three, 10)
    deadlines.set(three, 0)
    deadlines.set(two, 40)
    assert deadlines.next_ms() == 30
    assert deadlines.pop_due(29) is None
    assert deadlines.pop_due(50) is one
    assert one.deadline_ms == 0
    assert deadlines.pop_due(50) is two
    assert deadlines.pop_due(50) is None
    assert deadlines.next_ms() is None


def test_children_that_end_early_do_not_pile_up():
    deadlines = Deadlines()
    for number in range(10_000):
        short = child()
        deadlines.set(short, 3_600_000 + number)
        deadlines.set(short, 0)
    assert len(deadlines._heap) < 200


# ---- frames


MESSAGES = [
    wire.Spawn(Order(f"{RUN}~0~1", 0, 5, 1, item='{"a":1}', stdin=b"\x00", env={"A": "B"}), SPEC, "w", 3, 5),
    wire.Kill(f"{RUN}~0~1", False, 10_000),
    wire.Lease(123),
]


def test_messages_survive_both_ways():
    events = [wire.Started("a", 1), wire.Expired("b"), wire.Ended(Outcome("c~0~1", "failed", exit_code=2))]
    (body,) = wire.FrameReader().feed(wire.frame_of(MESSAGES))
    assert wire.to_helper.decode(body) == MESSAGES
    (body,) = wire.FrameReader().feed(wire.frame_of(events))
    assert wire.from_helper.decode(body) == events


@given(st.lists(st.lists(st.integers(0, 2**60), max_size=20), max_size=8), st.integers(1, 50))
def test_frames_are_cut_right_however_the_bytes_arrive(batches, step):
    stream = b"".join(wire.frame_of([wire.Lease(number) for number in batch]) for batch in batches)
    reader = wire.FrameReader()
    bodies = [body for at in range(0, len(stream), step) for body in reader.feed(stream[at : at + step])]
    assert [[lease.until_clock_ms for lease in wire.to_helper.decode(body)] for body in bodies] == batches


def test_the_orders_are_read_only_in_their_own_direction():
    (body,) = wire.FrameReader().feed(wire.frame_of(MESSAGES))
    with pytest.raises(msgspec.ValidationError):
        wire.from_helper.decode(body)


# ---- environment


def environment(spec=SPEC, subtask=2, **of_order):
    order = Order(f"{RUN}~{subtask}~3", 0, 5, 77, **of_order)
    return environment_of(wire.Spawn(order, spec, "w1", 9, 5), Values(spec, order, "w1"))


def test_environment_is_clean_and_tells_the_attempt_who_it_is(monkeypatch):
    monkeypatch.setenv("WORKERD_SECRET", "x")
    user = pwd.getpwuid(os.getuid())
    env = environment(item='["a"]', previous="lost", env={"GIVEN": "{{ item }}"})
    assert "WORKERD_SECRET" not in env
    assert env["PATH"] == PATH
    assert (env["HOME"], env["USER"]) == (user.pw_dir, user.pw_name)
    assert env["LANG"] == "C.UTF-8"
    assert env["DAY"] == "2026-11-23"
    assert env["GIVEN"] == "{{ item }}"  # given with a trigger: no template
    told = {name: value for name, value in env.items() if name.startswith("SCHEDULERD_")}
    assert told == {
        "SCHEDULERD_JOB": "backup",
        "SCHEDULERD_RUN_ID": RUN,
        "SCHEDULERD_FIRE_TIME": "2026-11-23T02:00:00Z",
        "SCHEDULERD_SUBTASK": "2",
        "SCHEDULERD_SUBTASKS": "4",
        "SCHEDULERD_ATTEMPT": "3",
        "SCHEDULERD_ATTEMPT_ID": f"{RUN}~2~3",
        "SCHEDULERD_EPOCH": "9",
        "SCHEDULERD_FENCE": "77",
        "SCHEDULERD_IDEMPOTENCY_KEY": f"{RUN}~2",
        "SCHEDULERD_WORKER": "w1",
        "SCHEDULERD_PREVIOUS_OUTCOME": "lost",
        "SCHEDULERD_ITEM": '["a"]',
    }


def test_later_environments_win():
    spec = msgspec.structs.replace(SPEC, env={"PATH": "/job", "A": "job", "B": "job"})
    env = environment(spec, env={"B": "attempt"})
    assert (env["PATH"], env["A"], env["B"]) == ("/job", "job", "attempt")


def test_traceparent_is_the_same_trace_for_a_run_and_a_span_of_the_attempt():
    first, again = environment()["TRACEPARENT"], environment()["TRACEPARENT"]
    version, trace, span, flags = first.split("-")
    assert first == again
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    assert environment(env={"TRACEPARENT": "mine"})["TRACEPARENT"] == "mine"


def test_a_large_item_is_left_out_by_its_bytes():
    assert has_large_item(json.dumps("x" * ITEM_LIMIT))
    assert has_large_item('"' + "ä" * (ITEM_LIMIT // 2) + '"')
    assert not has_large_item('"' + "x" * (ITEM_LIMIT - 2) + '"')
    assert "SCHEDULERD_ITEM" not in environment(item=json.dumps("x" * ITEM_LIMIT))


def test_a_template_in_the_environment_can_fail_the_attempt():
    with pytest.raises(TemplateError):
        environment(msgspec.structs.replace(SPEC, env={"A": "{{ item.x }}"}), item="{}")


def test_a_gather_goes_without_the_variables_that_name_an_item():
    spec = msgspec.structs.replace(
        SPEC, env={"ONE": "{{ item.x }}", "ALL": "{{ items }}", "DAY": "{{ run_id }}"}
    )
    env = environment(spec, subtask=-1)
    assert env["DAY"] == RUN
    assert not {"ONE", "ALL", "SCHEDULERD_ITEM"} & env.keys()
    assert env["SCHEDULERD_SUBTASK"] == "-1"
