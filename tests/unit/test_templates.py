"""The template grammar as the reader of job files checks it."""

import pytest

from schedulerd.protocol.templates import Fault, Reference, check_template, parse


def faults(text, *, chunked=False, **more):
    return check_template(text, chunked=chunked, **more)


def test_text_without_templates_has_no_faults():
    assert faults("plain } }} { ${x} text") == []


@pytest.mark.parametrize(
    "name",
    [
        "item",
        "item.path",
        "item.a.b-c._d",
        "subtask",
        "subtasks",
        "fire_time",
        "fire_time.date",
        "fire_time.time",
        "fire_time.hour",
        "fire_time.minute",
        "fire_time.epoch",
        "run_id",
        "attempt",
        "worker",
        "matrix.desk",
        "parent.job",
    ],
)
def test_every_name_of_the_grammar_is_accepted_with_and_without_raw(name):
    assert faults("{{ N }}-{{N}}-{{ N | raw }}-{{N|raw}}".replace("N", name)) == []


def test_unknown_root_is_reported_at_its_first_brace_with_the_nearest_name():
    text = "--day {{ fire_tim }} {{ subtask }} {{ zzz }}"
    first, second = faults(text)
    assert first == (6, 'template name "fire_tim" does not exist; did you mean "fire_time"?')
    assert second[0] == text.index("{{ zzz")
    assert second[1].startswith('template name "zzz" does not exist; expected one of item, items,')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ fire_time.day }}", "fire_time has only fire_time.date, fire_time.time"),
        ("{{ fire_time.date.x }}", "fire_time has only"),
        ("{{ subtask.x }}", "subtask has no fields"),
        ("{{ parent.run }}", "parent has only parent.job"),
        ("{{ parent }}", "expected parent.job"),
        ("{{ matrix }}", "expected matrix.NAME"),
    ],
)
def test_fields_that_a_root_does_not_have_are_refused(text, message):
    ((offset, found),) = faults(text)
    assert offset == 0
    assert message in found


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{ }}",
        "{{ item",
        "{{ item. }}",
        "{{ .item }}",
        "{{ item | upper }}",
        "{{ item | raw | raw }}",
        "{{ 1 + 1 }}",
        "{{ item['x'] }}",
        "{{ item }",
        "{{\nitem }}",
    ],
)
def test_what_is_not_of_the_grammar_is_reported_with_what_was_found_and_expected(text):
    ((offset, message),) = faults("ä" + text)
    assert offset == 1  # characters, not bytes
    assert message == (
        f"found {text.splitlines()[0]}, expected {{{{ name.name }}}} or {{{{ name.name | raw }}}}"
    )


def test_a_long_unfinished_template_is_shown_in_part():
    ((_, message),) = faults("{{ " + "x" * 5000)
    assert len(message) < 150


def test_all_faults_of_a_text_are_reported_in_order():
    assert [offset for offset, _ in faults("{{ a }} {{ }} {{ item }} {{ b.c }}")] == [0, 8, 25]


def test_item_is_refused_with_chunk_and_items_without():
    assert faults("{{ items.path }}", chunked=True) == []
    ((_, message),) = faults("{{ item.path }}", chunked=True)
    assert message == 'template "item.path" cannot be used with chunk; expected "items", which has them all'
    assert "chunk" in faults("{{ matrix.x }}", chunked=True)[0][1]
    ((_, message),) = faults("{{ items }}", chunked=False)
    assert message == 'template "items" cannot be used without chunk; expected "item"'


def test_items_and_parents_are_refused_where_there_are_none():
    assert len(faults("{{ item }}{{ items }}{{ matrix.x }}", has_item=False)) == 3
    assert len(faults("{{ parent.job }}", has_parent=False)) == 1


def test_pieces_keep_text_and_offsets():
    assert parse("a{{ item.x | raw }}b{{ }}") == (
        "a",
        Reference(1, ("item", "x"), True),
        "b",
        Fault(20, "found {{ }}, expected {{ name.name }} or {{ name.name | raw }}"),
        " }}",
    )
