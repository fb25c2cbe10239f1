"""The matching of a rule's `match` and a call other than a command line: workspace globs, hosts, arguments.

Rules that allow are read strictly, rules that ask or deny loosely. Where the two readings differ, the call asks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kheish.beneath import globs, names
from kheish.domain.patches import patch as patches
from kheish.domain.permissions.rules import FILE_TOOLS, SHELL_TOOLS, Rule, ToolCall

#: invalid paths: an unresolvable path among several must not hide the targets of the others
NOWHERE = "\0"


class Fit(IntEnum):
    """The match of a rule that asks or denies and a call. MAYBE: only running the call would show it."""

    NO = 0
    MAYBE = 1
    YES = 2


def essential(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that identify a call: without a command's description and timeout."""
    left_out = frozenset({"description", "timeout"}) if tool in SHELL_TOOLS else frozenset()
    return {name: value for name, value in arguments.items() if value is not None and name not in left_out}


def is_same(rule: Rule, call: ToolCall) -> bool:
    """Return whether an exact rule matches this very call."""
    expected = _object(rule.match or "")
    return expected is not None and _same(dict(expected), essential(call.tool, call.arguments))


def grants(rule: Rule, call: ToolCall, workspace: Path) -> bool:
    """Return whether a rule that allows covers all of this call."""
    if rule.match is None:
        return True
    if rule.exact:
        return is_same(rule, call)
    if call.tool in FILE_TOOLS:
        paths, _ = _paths(call, workspace)
        steps = _compiled(rule, workspace, is_loose=False)
        return bool(paths) and all(path is not None and globs.covers(steps, path) for path in paths)
    if call.tool == "web_fetch":
        host = _host(call.arguments.get("url"))
        return host is not None and wild(tuple(rule.match.lower().split("*")), host)
    expected = _object(rule.match)
    return expected is not None and _same(expected, dict(call.arguments))


def restricts(rule: Rule, call: ToolCall, workspace: Path) -> Fit:
    """Return how a rule that asks or denies matches this call.

    A glob that fits a folder fits everything in it. `grep_search` reads a whole folder: MAYBE if the glob fits a
    possible file in it. A JSON object fits arguments that include its values.
    """
    if rule.match is None:
        return Fit.YES
    if rule.exact:
        return Fit.YES if is_same(rule, call) else Fit.NO
    if call.tool in FILE_TOOLS:
        steps = _compiled(rule, workspace, is_loose=True)
        paths, are_known = _paths(call, workspace)
        # another spelling of the workspace, or a call that the tool will refuse; or a rule older than the limits
        if not are_known or not steps:
            return Fit.MAYBE
        fit = Fit(max(globs.reach(steps, path) for path in paths if path is not None))
        return Fit.NO if fit is Fit.MAYBE and call.tool != "grep_search" else fit
    if call.tool == "web_fetch":
        host = _host(call.arguments.get("url"))
        pattern = rule.match.lower()
        parts = tuple(pattern.split("*"))
        fits = host is None or wild(parts, host) or (pattern.startswith("*.") and wild(parts, "." + host))
        return Fit.YES if fits else Fit.NO
    expected = _object(rule.match)
    if expected is None:
        return Fit.NO
    named = all(name in call.arguments and _same(value, call.arguments[name]) for name, value in expected.items())
    return Fit.YES if named else Fit.NO


def wild(pieces: Sequence[str], text: str) -> bool:
    """Return whether the text consists of the pieces with anything between them. Linear even for an agent's worst
    input."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return text == first
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in pieces[1:-1]:
        position = text.find(piece, at, end)
        if position < 0:
            return False
        at = position + len(piece)
    return True


def beneath(workspace: Path, path: Any, folder: str = ".") -> tuple[str, ...] | None:
    """Return the names from the workspace to `path` (as displayed, relative to `folder`).

    None for a path that is outside or invalid.
    """
    if not isinstance(path, str) or not isinstance(folder, str) or "\0" in path:
        return None
    try:
        path = names.meant(path)
    except ValueError:
        return None
    root = os.path.normpath(workspace)
    if path == "~" or path.startswith("~/"):
        return None
    full = os.path.normpath(os.path.join(root, folder, path))  # noqa: PTH118 - pathlib keeps `..`
    if full == root:
        return ()
    return tuple(full[len(root) :].strip("/").split("/")) if full.startswith(root.rstrip("/") + "/") else None


def _compiled(rule: Rule, workspace: Path, *, is_loose: bool) -> tuple[globs.Steps, ...]:
    """Return the compiled glob of a rule; empty if it has too many alternatives."""
    try:
        return globs.compiled(rule.match or "", is_loose=is_loose, root=str(workspace))
    except globs.TooMany:
        return ()


def fits_folder(pattern: str, names: tuple[str, ...], workspace: Path) -> bool:
    """Return whether a glob from the workspace fits a folder."""
    try:
        return globs.covers(globs.compiled(pattern, is_loose=False, root=str(workspace)), names)
    except globs.TooMany:
        return False


def paths_of(tool: str, arguments: Mapping[str, Any]) -> list[Any]:
    """Return the paths that a file tool is given; for an unreadable patch, None."""
    if tool != "apply_patch":
        return [arguments.get("path", ".")]
    try:
        return [one.path for one in patches.read(str(arguments.get("patch", "")))]
    except (patches.BadPatch, UnicodeEncodeError):
        return [None]


def _paths(call: ToolCall, workspace: Path) -> tuple[list[tuple[str, ...] | None], bool]:
    """Return the paths of a call, as written and as resolved, and whether all of their targets are known."""
    written = [beneath(workspace, path) for path in paths_of(call.tool, call.arguments)]
    resolved = [beneath(workspace, path) for path in call.resolved]
    are_known = all(path is not None for path in (resolved or written))
    return written + resolved, are_known


def _host(url: Any) -> str | None:
    """Return the host of a URL, lower case and ASCII; None if two parsers may find two different hosts."""
    if not isinstance(url, str) or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        return None
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").encode("idna").decode()
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or "%" in host:
        return None
    return host.lower() or None


@lru_cache(maxsize=4096)
def _object(text: str) -> Mapping[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are equal in JSON: 1 equals 1.0, and does not equal true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
