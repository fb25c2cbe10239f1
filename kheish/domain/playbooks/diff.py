"""The differences between two contents of a Playbook: by field, and as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from kheish.store.edits.problems import pointer

_MISSING: Any = object()
_DIFFED = 1024 * 1024  # bytes: larger files are only reported as different


def fields(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return `[{path, change: added | removed | changed, before, after}]`.

    Items of a list that have an `id` are compared by it, so that a phase that moved is not a new phase.
    """
    return list(_fields(before, after, ()))


def _fields(before: Any, after: Any, keys: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _fields(before.get(key, _MISSING), after.get(key, _MISSING), (*keys, key))
        return
    old, new = _by_id(before), _by_id(after)
    if old is not None and new is not None:
        yield from _fields(old, new, keys)
        if [id for id in old if id in new] != [id for id in new if id in old]:
            yield _change(keys, "changed", list(old), list(new))
        return
    if before is _MISSING:
        yield _change(keys, "added", None, after)
    elif after is _MISSING:
        yield _change(keys, "removed", before, None)
    elif before != after or type(before) is not type(after):
        yield _change(keys, "changed", before, after)


def _change(keys: tuple[str | int, ...], change: str, before: Any, after: Any) -> dict[str, Any]:
    return {"path": pointer(keys), "change": change, "before": before, "after": after}


def _by_id(value: Any) -> dict[str, Any] | None:
    """Return the items of a list by id; None unless each has its own."""
    if not isinstance(value, list) or not value or not all(isinstance(one, Mapping) and "id" in one for one in value):
        return None
    items = {str(one["id"]): one for one in value}
    return items if len(items) == len(value) else None


def text(before: Mapping[str, bytes], after: Mapping[str, bytes], names: tuple[str, str]) -> str:
    """Return a unified diff of all files; `names` label the two sides."""
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        left, right = (
            f"{name}/{path}" if raw is not None else "/dev/null" for name, raw in zip(names, (old, new), strict=True)
        )
        one, other = _lines(old), _lines(new)
        if one is None or other is None:
            lines.append(f"Files {left} and {right} differ\n")
        else:
            lines += difflib.unified_diff(one, other, left, right)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(raw: bytes | None) -> list[str] | None:
    """Return the lines of a text; None for a file that is not text, or too large."""
    if raw is None:
        return []
    if len(raw) > _DIFFED:
        return None
    try:
        return raw.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
