"""Globs: what each form is about, and that what denies never says less than what allows."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as some

from kheish.beneath import globs, names
from kheish.beneath.globs import Reach


def covers(pattern: str, path: str, *, is_loose: bool = False) -> bool:
    return globs.covers(globs.compiled(pattern, is_loose=is_loose), names.meant(path).split("/"))


@pytest.mark.found("B3")
@pytest.mark.parametrize(
    ("pattern", "path", "strictly", "loosely"),
    [
        ("**", "a/b/c", True, True), ("**/c", "c", True, True), ("a/**/c", "a/c", True, True),
        ("a/**/c", "a/x/y/c", True, True), ("a/*/c", "a/x/y/c", False, False), ("*", "a/b", True, True),
        ("./*", "a/b", False, False), ("[ab].txt", "x/b.txt", True, True), ("a/**", "a", False, False),
        ("*a*a*a*a*a*a*b", "a" * 200, False, False), ("[!a]", "b", True, True), ("[^a]", "a", False, False),
        ("[a-c]x", "bx", True, True), ("[]]", "]", True, True), ("[", "[", True, True), ("a[", "a[", True, True),
        # brackets, braces and backslashes
        ("app/[id]/**", "app/[id]/page.tsx", False, True), ("app/[id]/**", "app/i/x", True, True),
        (r"app/\[id]/**", "app/[id]/x", True, True), (r"app/\[id]/**", "app/i/x", False, False),
        ("[...slug].js", "[...slug].js", False, True), ("[[x]]", "[[x]]", False, True), (r"\*", "*", True, True),
        (r"\*", "a", False, False), (r"a\?", "a?", True, True), (r"a\?", "ab", False, False),
        ("{a,b}/x", "b/x", True, True), ("{a,b}/x", "{a,b}/x", False, True), (r"\{a,b}", "{a,b}", True, True),
        ("{a,{b,c}}", "c", True, True), ("{a}", "{a}", True, True), (r"[\]]", "]", True, True),
        (r"a\\b", r"a\b", True, True), ("src/", "x/src/y", True, True), (r"\**", "*x", True, True),
        # names that are no UTF-8
        (r"menu_\xe9.txt", r"menu_\xe9.txt", True, True), ("menu_*", r"menu_\xe9.txt", True, True),
        (r"\xc3\xa9", "é", True, True), ("?", r"\xe9", True, True), ("a*", r"a\x0ab", True, True),
    ],
)  # fmt: skip
def test_what_a_glob_is_about(pattern: str, path: str, strictly: bool, loosely: bool) -> None:
    assert (covers(pattern, path), covers(pattern, path, is_loose=True)) == (strictly, loosely)


_TEXT = some.text(alphabet="ab/*?[]!-{},\\.x^é", min_size=1, max_size=12)
_PATH = some.lists(some.text(alphabet="ab[]{},\\!é*?-x", min_size=1, max_size=5), min_size=1, max_size=4)


@given(_TEXT, _PATH)
def test_what_denies_never_says_less_than_what_allows(pattern: str, path: list[str]) -> None:
    strict, loose = (globs.compiled(pattern, is_loose=is_loose) for is_loose in (False, True))
    if globs.covers(strict, path):
        assert globs.covers(loose, path) and globs.reach(loose, path) is Reach.YES
    assert globs.reach(loose, path) >= globs.reach(strict, path)


@given(_PATH)
def test_a_path_is_denied_by_its_own_name_and_by_that_of_a_folder_above_it(path: list[str]) -> None:
    for end in range(1, len(path) + 1):
        pattern = "./" + "/".join(path[:end])
        assert globs.reach(globs.compiled(pattern, is_loose=True), path) is Reach.YES


@given(_PATH)
def test_an_escaped_path_is_about_itself_alone(path: list[str]) -> None:
    escaped = "./" + "/".join("".join(f"\\{one}" if one in "*?[]{},\\" else one for one in name) for name in path)
    steps = globs.compiled(escaped, is_loose=False)
    assert globs.covers(steps, path)
    assert not globs.covers(steps, [*path, "b"]) and not globs.covers(steps, [path[0] + "b", *path[1:]])


LONG = ("*a" * 2000 + "b", "[" * 5000, "{" * 5000, "{," * 3000, "\\" * 9999, "**/" * 1000, "[!" + "a-" * 4000)


def test_no_pattern_takes_long_and_too_many_alternatives_are_refused() -> None:
    began = time.monotonic()
    for text in LONG:
        globs.reach(globs.compiled(text, is_loose=True), ["a" * 250] * 20)
    assert time.monotonic() - began < 10
    with pytest.raises(globs.TooMany, match="alternatives"):
        globs.expanded("{a,b}" * 12)
