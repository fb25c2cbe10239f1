"""Matchers and conditions of hooks: whether a hook runs at a point."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from re import _parser as parser  # type: ignore[attr-defined]  # the parser of re.compile; it has no public name
from typing import Any

from kheish.domain import public_names
from kheish.domain.hooks.definition import Condition, HookFile
from kheish.domain.permissions import deny, match, shell
from kheish.domain.permissions.match import Fit
from kheish.domain.permissions.rules import SHELL_TOOLS, Rule, ToolCall

#: characters of a subject that an expression reads
_SUBJECT = 300
_EXACT = re.compile(r"[A-Za-z0-9_-]+(?:\s*[|,]\s*[A-Za-z0-9_-]+)*\Z")
_CONDITION = re.compile(r"(?P<tool>[A-Za-z_][\w-]*)(?:\((?P<match>.*)\))?\Z", re.DOTALL)
_FLAT = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "AT"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


def decides_alone(matcher: str) -> bool:
    """Return whether a matcher is compared here in few steps; another expression needs a confined child."""
    return matcher in ("", "*") or _EXACT.match(matcher) is not None or _is_cheap(matcher)


@lru_cache(maxsize=512)
def _is_cheap(pattern: str) -> bool:
    """Return whether each alternative of an expression is flat, with at most two repeated characters: its steps on a
    text of n characters are at most n³, and a subject is short."""
    if "(" in pattern or ("[" in pattern and "|" in pattern):
        return False
    return all(_is_flat(part) for part in pattern.split("|"))


def _is_flat(pattern: str) -> bool:
    try:
        parts = list(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError):
        return False
    repeated = [argument[-1] for kind, argument in parts if str(kind) in _REPEATS]
    inner = all(len(tree) == 1 and str(tree[0][0]) in _FLAT for tree in repeated)
    return inner and len(repeated) <= 2 and {str(kind) for kind, _ in parts} <= _FLAT | _REPEATS


def matches(matcher: str, subjects: Sequence[str]) -> bool:
    """Return whether a matcher means one of the names of a subject. An event without a subject matches always."""
    if matcher in ("", "*") or not subjects:
        return True
    if _EXACT.match(matcher):
        return bool({name.strip() for name in re.split(r"[|,]", matcher)} & set(subjects))
    return search(matcher, list(subjects))


def search(pattern: str, subjects: Sequence[str]) -> bool:
    """Return whether an expression is found in one of the subjects."""
    expression = re.compile(pattern)
    return any(expression.search(subject[:_SUBJECT]) is not None for subject in subjects)


def condition_of(hook: HookFile) -> Condition | None:
    """Return a hook's condition as a rule, with the tool as written. An unreadable text is a tool of that name."""
    if not isinstance(hook.condition, str):
        return hook.condition
    found = _CONDITION.match(hook.condition.strip())
    if found is None:
        return Condition(tool=hook.condition)
    pattern = (found["match"] or "").strip() or None
    if pattern is not None:
        pattern = pattern.removeprefix("domain:").removeprefix("./")
        pattern = f"{pattern[:-2]} *" if pattern.endswith(":*") else pattern
    return Condition(tool=found["tool"], match=None if pattern == "*" else pattern)


def holds(condition: Condition, tool: str, ruled: str, effect: str, arguments: dict[str, Any], workspace: str) -> bool:
    """Return whether a condition fits a call, read loosely: a hook rather runs once too often. It may import the parser
    of command lines: call it in a thread."""
    if condition.tool != ruled and condition.tool not in public_names.names_of(tool):
        return False
    if condition.match is None:
        return True
    rule = Rule(tool=ruled, match=condition.match, decision="deny")
    command = arguments.get("command")
    if ruled in SHELL_TOOLS and isinstance(command, str):
        return deny.restricts(rule.match, shell.read(command)) is not Fit.NO
    call = ToolCall(tool=ruled, effect=effect, arguments=arguments)
    return match.restricts(rule, call, Path(workspace)) is not Fit.NO
