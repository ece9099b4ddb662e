"""Templates as a worker fills them in for one attempt."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulerd.protocol.messages import Order, Spec
from schedulerd.protocol.rendering import (
    PARENT_JOB,
    TemplateError,
    Values,
    render_argv,
    render_shell,
    render_text,
)

FIRE_UTC_US = 1_795_399_200_250_000  # 2026-11-23T02:00:00.250Z


def spec(timezone="Europe/Prague", fire_utc_us=FIRE_UTC_US):
    return Spec(
        run="backup@20261123T020000Z",
        job="backup",
        fire_utc_us=fire_utc_us,
        timezone=timezone,
        kind="argv",
        argv=[],
        text="",
        shell=[],
        env={},
        cwd=None,
        timeout_ms=0,
        kill_after_ms=0,
        success_codes=[0],
        subtasks=16,
        output_limit=0,
        guarded=False,
        chunked=False,
    )


def values(item=None, *, json_text=None, env=None, **of_spec):
    text = json_text if json_text is not None or item is None else json.dumps(item)
    order = Order("backup@20261123T020000Z~3~2", 0, 0, 7, item=text, env=env or {})
    return Values(spec(**of_spec), order, "w1")


def test_names_of_the_run_and_attempt():
    text = "{{ subtask }}/{{ subtasks }} {{ attempt }} {{ worker }} {{run_id}}"
    assert render_text(text, values()) == "3/16 2 w1 backup@20261123T020000Z"


def test_fire_time_is_utc_and_its_parts_are_in_the_zone_of_the_job():
    assert render_text("{{ fire_time }}", values()) == "2026-11-23T02:00:00.250000Z"
    assert render_text("{{ fire_time }}", values(fire_utc_us=1_795_399_200_000_000)) == "2026-11-23T02:00:00Z"
    text = "{{ fire_time.date }} {{ fire_time.time }} {{ fire_time.hour }} {{ fire_time.minute }}"
    assert render_text(text, values()) == "2026-11-23 03:00:00 03 00"
    assert render_text(text, values(timezone="America/New_York")) == "2026-11-22 21:00:00 21 00"
    assert render_text("{{ fire_time.epoch }}", values()) == "1795399200"


def test_unknown_zone_fails_the_attempt():
    with pytest.raises(TemplateError, match="Mars/Base"):
        render_text("{{ fire_time.date }}", values(timezone="Mars/Base"))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("a b", "a b"),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        (["x", 1], '["x",1]'),
        ({"k": "ü"}, '{"k":"ü"}'),
    ],
)
def test_strings_stand_as_they_are_and_the_rest_as_json(item, expected):
    assert render_text("<{{ item }}>", values(json_text=json.dumps(item))) == f"<{expected}>"


def test_fields_are_looked_up_in_depth():
    assert render_text("{{ item.a.b }}", values({"a": {"b": "c"}})) == "c"
    assert render_text("{{ matrix.desk }}", values({"desk": "fx"})) == "fx"


@pytest.mark.parametrize(
    ("text", "item", "message"),
    [
        ("{{ item.path }}", {"name": 1}, 'item has no field "path"; it has name'),
        ("{{ item.path }}", "text", 'item has no field "path": it is a string'),
        ("{{ item.a.b }}", {"a": [1]}, 'item.a has no field "b": it is a list'),
        ("{{ item }}", None, "this attempt has no item"),
        ("{{ items.x }}", [{"x": 1}, {}], r'items\[1\] has no field "x"; it has none'),
        ("{{ items }}", "one", "items has no value"),
        ("{{ parent.job }}", None, "no other job caused this run"),
        ("{{ nonsense }}", None, "nonsense does not exist"),
        ("{{ 1 }}", None, "found {{ 1 }}, expected"),
    ],
)
def test_what_an_attempt_lacks_is_named(text, item, message):
    for render in (render_text, render_shell):
        with pytest.raises(TemplateError, match=message):
            render(text, values(item))
    with pytest.raises(TemplateError, match=message):
        render_argv([text], values(item))


def test_an_item_that_is_not_json_fails_the_attempt():
    with pytest.raises(TemplateError, match="not JSON"):
        render_text("{{ item }}", values(json_text="{nope"))


def test_the_item_is_not_read_when_no_template_asks_for_it():
    assert render_argv(["{{ subtask }}"], values(json_text="{nope")) == ["3"]


def test_parent_job_comes_from_the_environment_of_the_order():
    assert render_text("{{ parent.job }}", values(env={PARENT_JOB: "backup"})) == "backup"


def test_an_argument_that_is_exactly_items_becomes_one_argument_an_item():
    chunk = values([{"path": "/a b"}, {"path": "/c"}])
    assert render_argv(["thumbs", "{{ items.path }}", "{{items.path | raw}}", "-"], chunk) == [
        "thumbs",
        "/a b",
        "/c",
        "/a b",
        "/c",
        "-",
    ]
    assert render_argv(["x", "{{ items }}"], values(["a", 1])) == ["x", "a", "1"]
    assert render_argv(["x", "{{ items }}"], values([])) == ["x"]
    assert render_argv(["--all={{ items.path }}"], chunk) == ['--all=["/a b","/c"]']


def test_values_in_shell_text_are_quoted_unless_raw():
    nasty = values("$(rm -rf /); 'x'")
    assert render_shell("echo {{ item }}", nasty) == "echo " + shlex.quote("$(rm -rf /); 'x'")
    assert render_shell("echo {{ item | raw }}", nasty) == "echo $(rm -rf /); 'x'"
    assert render_shell("ls {{ items.p }}", values([{"p": "a b"}, {"p": "c"}])) == "ls 'a b' c"
    assert render_shell("ls {{ items.p | raw }}", values([{"p": "a b"}, {"p": "c"}])) == "ls a b c"


@given(st.text())
def test_a_quoted_value_is_one_word_whatever_it_holds(text):
    assert shlex.split(render_shell("x {{ item }} y", values(json_text=json.dumps(text)))) == ["x", text, "y"]


@given(st.text())
def test_a_value_is_never_read_as_a_template_again(text):
    assert (
        render_text("{{ item }}", values(json_text=json.dumps("{{ worker }}" + text)))
        == "{{ worker }}" + text
    )
