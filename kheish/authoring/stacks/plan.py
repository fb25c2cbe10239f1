"""The plan of a stack: what applying a folder of Definitions changes. A pure comparison of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from kheish.authoring import skills as skill_files, sources
from kheish.domain.definitions import TOP
from kheish.store.edits.problems import Problem

Action = Literal["create", "change", "label", "keep", "delete"]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a stack."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one file: `label` only notes that it belongs to the stack, `keep` does nothing."""

    path: str
    action: Action
    managed_by: str | None
    """The stack that it belongs to now."""
    before: str | None
    """The sha256 of its content now; None: it is missing."""
    after: str | None
    """The sha256 of its content afterwards; None: it is deleted."""

    def view(self) -> dict[str, Any]:
        """Return the change as a response has it."""
        return {
            "path": self.path,
            "action": self.action,
            "managed_by": self.managed_by,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes by path, the files of the folder that are no Definitions, and the problems of those that are."""

    stack: str
    changes: tuple[Change, ...]
    ignored: tuple[str, ...] = ()
    problems: Sequence[Problem] = field(default_factory=tuple)

    @property
    def effective(self) -> list[Change]:
        """The changes that do something."""
        return [one for one in self.changes if one.action != "keep"]

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep it from being applied."""
        return [one for one in self.problems if one.severity == "error"]

    @property
    def digest(self) -> str:
        """The digest of the changes: two plans with the same one do the same."""
        rows = [self.stack, *([one.path, one.action, one.before, one.after] for one in self.effective)]
        return hashlib.sha256(orjson.dumps(rows)).hexdigest()


def is_member(path: str) -> bool:
    """Return whether a file with this path may belong to a stack: a Definition, or a file beside one."""
    return sources.is_source(path) or skill_files.lies_beside(path)


def changes(
    stack: str, files: Mapping[str, File], current: Mapping[str, File], managed: Mapping[str, str], *, prune: bool
) -> Iterator[Change]:
    """Yield the changes, by path. `current`: the files as they are; `managed`: the stacks that files belong to.

    Files at the top of the state root are not deleted: without permissions.yaml, other rules would hold.
    """
    gone = _gone(stack, files, current, managed) if prune else ()
    for path in sorted({*files, *gone}):
        old, new, owner = current.get(path), files.get(path), managed.get(path)
        before, after = (_sha256(one.content) if one is not None else None for one in (old, new))
        if new is None:
            action: Action = "delete"
        elif old is None:
            action = "create"
        elif old != new:
            action = "change"
        else:
            action = "keep" if owner == stack else "label"
        yield Change(path, action, owner, before, after)


def _gone(
    stack: str, files: Mapping[str, File], current: Mapping[str, File], managed: Mapping[str, str]
) -> Iterable[str]:
    mine = (path for path, owner in managed.items() if owner == stack)
    return [path for path in mine if path not in files and path in current and path not in TOP]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
