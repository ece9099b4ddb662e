"""Every key and value of a TOML text is found where it stands."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulerd.adapters.jobfiles.positions import Positions
from schedulerd.adapters.jobfiles.toml_text import Path

NASTY = '''
# [job.comment] is no header
title = "a # b = [c]"          # = "x"
empty = ""
literal = 'C:\\[job.x]'
"quoted key" = 1
'single.dotted' = 2
"esc\\u0041ped" = 3
a.b."c d".e = [ 1, 2 ] # dotted
  spaced . key   =   true
date = 1979-05-27 07:32:00
[job.x]   # [job.y]
script = """
[job.fake]
schedule = "x"
\\"""still inside\\"""
"""
long = \'\'\'
[job.fake2]
'' \'\'\'
quotes = """"two quotes""""" # five at the end
none = """"""
argv = [
  "a", # ] comment
  "b]", 'c"',
  ["d", { e = "f", g.h = 1 }],
  """
[job.fake3]
""",
]
inline = { a = { b = [ { c = "}" } ] }, "d.e" = 1 , f.g = [] }
[ job . "y.z" ]
x = 0x1F
[[job.x.notify]]
to = "one"
[[job.x.notify]]
to = "two"
[job.x.notify.deep]
k = 1
[[job.x.notify.more]]
[[job.x.notify.more]]
k = 2
[job.last]
end = 'no newline'
'''.strip("\n")


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    inner: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, element in inner:
        yield from leaves(element, (*path, name))


def check(text: str) -> int:
    """Every value of the document, cut out at its place, reads as that value; tables with a header have none."""
    positions, seen = Positions(text), 0
    for path, value in leaves(tomllib.loads(text)):
        start, end = positions.span(path) if path else (-1, -1)
        if start >= 0:
            assert tomllib.loads(f"x = {text[start:end]}") == {"x": value}, path
            seen += 1
        else:
            assert isinstance(value, dict | list)
        if path and isinstance(path[-1], str):
            key = text[positions.offset(path) :]
            spelled = tomllib.loads(_first_key(key) + " = 0")
            assert list(spelled) == [path[-1]]
    return seen


def _first_key(text: str) -> str:
    if text[0] in "\"'":
        end = 1
        while text[end] != text[0]:
            end += 2 if text[end] == "\\" and text[0] == '"' else 1
        return text[: end + 1]
    end = 0
    while end < len(text) and (text[end].isalnum() or text[end] in "-_"):
        end += 1
    return text[:end]


def test_nasty_text_is_read_right() -> None:
    assert check(NASTY) > 35


def test_headers_inside_texts_are_no_headers() -> None:
    paths = [statement.path for statement in Positions(NASTY).statements if statement.value < 0]
    assert paths == [
        ("job", "x"),
        ("job", "y.z"),
        ("job", "x", "notify", 0),
        ("job", "x", "notify", 1),
        ("job", "x", "notify", 1, "deep"),
        ("job", "x", "notify", 1, "more", 0),
        ("job", "x", "notify", 1, "more", 1),
        ("job", "last"),
    ]


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ("[job.x]\nargv = [\n  'a',\n  1]\n", ("job", "x", "argv", 1), (4, 3), (4, 3)),
        ("[job.x]\nretry = { max = 2, backoff = '1s' }", ("job", "x", "retry", "backoff"), (2, 20), (2, 30)),
        ("job.x.every = '5s'", ("job", "x", "every"), (1, 7), (1, 15)),
        ("job.x.every = '5s'", ("job", "x"), (1, 5), (1, 5)),
        ("[job]\nx = { every = '5s' }", ("job", "x", "every"), (2, 7), (2, 15)),
        ("[job.x.split]\nshards = 2", ("job", "x"), (1, 6), (1, 6)),
        ("[job.x.split]\nshards = 2\n[job.x]\na = 1", ("job", "x"), (3, 6), (3, 6)),
        ("[job.x]\na = 1", ("job", "x", "missing"), (1, 6), (1, 6)),
        ("é = { b = 1 }", ("é", "b"), (1, 1), (1, 1)),
    ],
)
def test_places(text: str, path: Path, key: tuple[int, int], value: tuple[int, int]) -> None:
    assert (Positions(text).key(path), Positions(text).value(path)) == (key, value)


@pytest.mark.parametrize(
    ("literal", "index", "place"),
    [
        ('"61 0 * * *"', 0, (1, 6)),
        ("'61 0 * * *'", 3, (1, 9)),
        ('"\\u0041\\n\\U0001F600b"', 3, (1, 24)),
        ('"""\nab"""', 1, (2, 2)),
        ('"""a\\\n   \n  b"""', 1, (3, 3)),
        ("'''\nab'''", 0, (2, 1)),
    ],
)
def test_a_character_of_a_string_is_found_behind_its_escapes(
    literal: str, index: int, place: tuple[int, int]
) -> None:
    assert Positions(f"k = {literal}").character(("k",), index) == place


scalars = st.one_of(
    st.integers(-9, 99).map(str),
    st.sampled_from(
        ['""', "''", '"[job.x]"', "'# x'", '"\\"]"', '""""a"b"""', "'''it's'''", "true", "1979-05-27"]
    ),
    st.sampled_from(['"""\n[job.x]\n"""', "'''\n]]\n'''", "1.5e3", "07:32:00", '"a = b"', '"""\\\n  x"""""']),
)
space = st.sampled_from(["", " ", "\t", "\n", " # ] } [job.c]\n"])
keys = st.sampled_from(["a", "b-c", '"d.e"', "'f g'", '"\\u0068"', "1"])


def lists(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    elements = st.lists(st.tuples(space, inner, space).map("".join), max_size=3)
    return st.tuples(elements, space).map(lambda parts: f"[{','.join(parts[0])}{parts[1]}]")


def tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.dictionaries(keys, inner, max_size=3)
    return pairs.map(lambda found: "{" + ", ".join(f"{key} = {value}" for key, value in found.items()) + "}")


values = st.recursive(scalars, lambda inner: st.one_of(lists(inner), tables(inner)), max_leaves=8)
statements = st.dictionaries(st.tuples(keys, keys).map(" . ".join), values, max_size=4)
documents = st.dictionaries(
    st.sampled_from(["[job.x]", '[ job."y.z" ]', "[[job.l]]", "[t]"]), statements, max_size=4
)


@settings(max_examples=200, deadline=None)
@given(documents)
def test_any_document_is_read_right(document: dict[str, dict[str, str]]) -> None:
    text = "".join(
        f"{header} # c\n" + "".join(f"{key}={value}\n" for key, value in found.items())
        for header, found in document.items()
    )
    check(text)
