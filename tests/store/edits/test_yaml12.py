"""YAML 1.2 core: what words mean, where things are, what is refused, and that writing and reading agree."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kheish.store.edits import yaml12, yaml_writing
from kheish.store.edits.yaml12 import Flaw, MapNode, Mark


def load(text: str) -> Any:
    tree, flaws = yaml12.read(text)
    assert tree is not None and not flaws, flaws
    return yaml12.plain(tree)


def flaw(text: str) -> Flaw:
    _, flaws = yaml12.read(text)
    assert len(flaws) == 1, flaws
    return flaws[0]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("12:30", "12:30"), ("2026-11-22", "2026-11-22"),
        ("true", True), ("FALSE", False), ("tRue", "tRue"), ("null", None), ("~", None), ("", None), ("nul", "nul"),
        ("10", 10), ("-7", -7), ("0o17", 15), ("0x1F", 31), ("017", 17), ("0b1", "0b1"), ("1_000", "1_000"),
        ("1.10", 1.1), ("1e3", 1000.0), (".5", 0.5), ("+.inf", math.inf), ("1.2.3", "1.2.3"), ("<<", "<<"), ("=", "="),
        ("'10'", "10"), ('"true"', "true"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(typed: str, value: Any) -> None:
    found = load(f"key: {typed}\n")["key"]
    assert found == value and type(found) is type(value)


def test_keys_are_what_was_typed() -> None:
    assert load("on: 1\n1.10: 2\nnull: 3\ntrue: {0x10: 4}\n") == {"on": 1, "1.10": 2, "null": 3, "true": {"0x10": 4}}


def test_places_count_from_one_also_after_a_mark_and_with_crlf() -> None:
    text, wrong = yaml12.decode("\ufeffé: 1\r\nb:\r\n  - 😀x: [1, zwei]\r\n".encode())
    tree, flaws = yaml12.read(text)
    assert isinstance(tree, MapNode) and not (wrong or flaws)
    assert tree.key_marks == {"é": Mark(1, 1), "b": Mark(2, 1)}
    node = yaml12.walk(tree, ("b", 0, "😀x", 1))
    assert node is not None and node.mark == Mark(3, 13)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate_key", 3, 1),
        ("a: 1\nb: !!int 3\n", "tag_not_allowed", 2, 4),
        ("a: !secret x\n", "tag_not_allowed", 1, 4),
        ("a: &x [*x]\n", "too_many_aliases", 1, 8),
        ("a: *nobody\n", "syntax", 1, 4),
        ("a: 1\n---\nb: 1\n", "syntax", 2, 1),
        ("a: 1\n b: 2\n", "syntax", 2, 3),
        ("a:\n\tb: 1\n", "syntax", 2, 1),
        ("a: 1\nb: [1, 2\n", "syntax", 2, 4),
        ('a: 1\nb: "x\n', "syntax", 2, 4),
        ("a: b: c\n", "syntax", 1, 5),
        ("a: 1\n? [x]\n: 2\n", "wrong_type", 2, 3),
        ("[" * 100 + "]" * 100, "syntax", 1, 65),
    ],
)
def test_what_is_refused_is_refused_at_its_place(text: str, code: str, line: int, column: int) -> None:
    found = flaw(text)
    assert (found.code, found.mark) == (code, Mark(line, column)), found


@pytest.mark.parametrize(
    ("raw", "code", "mark"),
    [
        (b"a: 1\nb\xc3\xa9: \xff", "not_utf8", Mark(2, 5)),
        ("a: 1".encode("utf-16"), "not_utf8", Mark(1, 1)),
        (b"a: x\x00", "syntax", Mark(1, 5)),
        (b"#" * (yaml12.MAX_BYTES + 1), "too_large", Mark(1, 1)),
    ],
    ids=["latin", "utf16", "nul", "huge"],
)
def test_bytes_that_are_no_text(raw: bytes, code: str, mark: Mark) -> None:
    _, found = yaml12.decode(raw)
    assert found is not None and (found.code, found.mark) == (code, mark)


def test_aliases_work_and_are_bounded_before_they_are_expanded() -> None:
    assert load("a: &x {k: [1]}\nb: *x\n") == {"a": {"k": [1]}, "b": {"k": [1]}}
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    began = time.process_time()
    assert flaw(laughs).code == "too_many_aliases"
    long = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 100)}]\n"
    assert flaw(long).code == "too_many_aliases"
    assert time.process_time() - began < 2


AMBIGUOUS = [
    "on", "1.10", "12:30", "2026-11-22", "0o17", "08", "1e3", ".5", ".inf", "<<", "=", "null", "~", "y", "", " ", "---",
    "- a", "a: b", "x #y", "a\nb\n", "a\n\n", "a \nb", "a\rb", "\ufeff", "a\u2028b", "\x85a 😀", "😀\nb", "#", "{{x}}",
]  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(AMBIGUOUS)
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(DATA)
def test_what_is_written_is_read_back(data: Any) -> None:
    text, wrong = yaml12.decode(yaml_writing.dump({"key": data}))
    assert wrong is None
    assert load(text) == {"key": data}


def test_written_yaml_is_for_people() -> None:
    data = {"version": "1.10", "when": "on", "note": "first 😀\nsecond\n", "list": [{"at": "12:30"}], "n": None}
    assert yaml_writing.dump(data).decode() == (
        "version: '1.10'\nwhen: 'on'\nnote: |\n  first 😀\n  second\nlist:\n- at: '12:30'\nn: null\n"
    )


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t1.~", max_size=60))
def test_any_text_gives_a_tree_or_a_flaw(text: str) -> None:
    tree, flaws = yaml12.read(text)
    lines = text.count("\n") + 2
    assert all(found.mark is not None and 1 <= found.mark.line <= lines for found in flaws)
    assert tree is None or flaws or yaml12.plain(tree) is not Ellipsis


@pytest.mark.found("B6")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'a: "\ud83d\udc4d"', "\U0001f44d"),
        (r'a: "x\uD83D\uDC4Dy\u00e9"', "x\U0001f44dyé"),
        (r'a: "\\\ud83d\udc4d"', "\\\U0001f44d"),
        (r'a: "\\ud83d\\udc4d"', r"\ud83d\udc4d"),
        (r"a: '\ud83d\udc4d'", r"\ud83d\udc4d"),
        (r"a: \ud83d\udc4d", r"\ud83d\udc4d"),
        ("a: |-\n  \\ud83d\\udc4d", r"\ud83d\udc4d"),
    ],
)
def test_a_pair_of_escapes_is_one_character_in_double_quotes_only(text: str, value: str) -> None:
    tree, flaws = yaml12.read(text + "\n")

    assert tree is not None and not flaws
    assert yaml12.plain(tree) == {"a": value}


@pytest.mark.parametrize("text", [r'a: "\ud83d"', r'a: "\udc4d\ud83d"', r'a: "\\ud83d\udc4d"', r'"\ud83d": 1'])
def test_half_of_a_pair_is_told_in_plain_words(text: str) -> None:
    _, flaws = yaml12.read(text + "\n")

    assert "half of a surrogate pair" in flaws[0].message


@pytest.mark.found("B6")
def test_a_merge_key_is_refused_and_a_quoted_one_is_a_key() -> None:
    for text, where in (("<<: {a: 1}\n", ()), ("a: &x {b: 1}\nc:\n  <<: *x\n", ("c",)), ("a: {<<: {b: 1}}\n", ("a",))):
        _, flaws = yaml12.read(text)
        assert [(flaw.code, flaw.keys) for flaw in flaws] == [("merge_key", where)]
    tree, flaws = yaml12.read('"<<": 1\na: <<\nb: [<<]\n')
    assert tree is not None and not flaws
    assert yaml12.plain(tree) == {"<<": 1, "a": "<<", "b": ["<<"]}


def test_mistakes_are_told_up_to_a_bound() -> None:
    for line in ("k: 1\n", "k%d: !x 1\n", "k%d: *x\n"):
        text = "".join(line % at if "%" in line else line for at in range(10_000))
        _, flaws = yaml12.read(text)
        assert len(flaws) == yaml12.MAX_FLAWS + 1 and "fix these first" in flaws[-1].message
