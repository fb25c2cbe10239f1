"""Places and names of memory files: a place is a scope with its owner, and its files lie right in its folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from kheish import ids
from kheish.errors import Fault, Invalid

FOLDER = "memory"
Scope = Literal["shared", "persona", "project", "session"]
#: scope → its folder under memory/
FOLDERS: dict[Scope, str] = {"shared": "shared", "persona": "personas", "project": "projects", "session": "sessions"}
_BY_WORD: dict[str, Scope] = {word: scope for scope, folder in FOLDERS.items() for word in (scope, folder)}
#: the owner of shared memory in addresses that require an owner
NO_OWNER = ("-", "shared")
SUFFIX = ".md"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\.md\Z", re.ASCII)

MOST_BYTES = 64 * 1024  # of a file
MOST_FILES = 200  # in a place
MOST_TOTAL = 1024 * 1024  # bytes of a place
MOST_PENDING = 50  # proposals for a place


@dataclass(frozen=True, slots=True)
class Place:
    """A scope with its owner; shared memory has none."""

    scope: Scope
    owner: str | None

    @property
    def folder(self) -> str:
        """The folder, relative to the state root."""
        top = f"{FOLDER}/{FOLDERS[self.scope]}"
        return top if self.owner is None else f"{top}/{self.owner}"

    def path(self, name: str) -> str:
        """Return the path of a file, relative to the state root."""
        return f"{self.folder}/{name}"


SHARED = Place("shared", None)


def place(scope: str, owner: str | None) -> Place:
    """Return the place that a caller names; plural scopes are accepted. Raises Invalid."""
    known = _BY_WORD.get(scope)
    if known is None:
        raise Invalid(
            f"{scope!r} is no scope of memory; there are {', '.join(FOLDERS)}.", errors=[Fault("/scope", "unknown")]
        )
    if known == "shared":
        if owner not in (None, *NO_OWNER):
            raise Invalid(f"Shared memory has no owner; write {NO_OWNER[0]!r} instead of {owner!r}.")
        return SHARED
    return Place(known, ids.check_slug(owner or "", "owner"))


def parse(path: str) -> tuple[Place, str] | None:
    """Return the place and the name of a file, by its path from the state root; None if it is no memory file's."""
    words = path.split("/")
    scope = _BY_WORD.get(words[1]) if len(words) > 1 else None
    if words[0] != FOLDER or scope is None or words[1] != FOLDERS[scope]:
        return None
    if scope == "shared":
        return (SHARED, words[2]) if len(words) == 3 and is_name(words[2]) else None
    if len(words) != 4 or not ids.is_slug(words[2]) or not is_name(words[3]):
        return None
    return Place(scope, words[2]), words[3]


def is_name(name: str) -> bool:
    """Return whether a file may have this name."""
    return _NAME.match(name) is not None and ".." not in name


def check_name(name: str) -> str:
    """Return the name of a file. Raises Invalid."""
    if is_name(name):
        return name
    if not name.endswith(SUFFIX):
        raise Invalid(
            f"{name!r} does not end in {SUFFIX}: memory files are Markdown.", errors=[Fault("/path", "ending")]
        )
    raise Invalid(
        f"{name!r} is no name of a memory file: letters, digits, '.', '_' and '-', beginning with a letter or digit, "
        "and no folders.",
        errors=[Fault("/path", "name")],
    )


def file(path: str) -> tuple[Place, str]:
    """Return the place and the name of a file by its path from the state root. Raises Invalid."""
    known = parse(path)
    if known is None:
        raise Invalid(
            f"{path!r} is no path of a memory file, such as memory/shared/notes.md or memory/sessions/ID/notes.md."
        )
    return known
