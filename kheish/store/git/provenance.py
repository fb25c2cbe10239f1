"""The way by which a content came into the work tree: typed by a user, committed here by a user, or brought by git."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kheish.errors import NotFound
from kheish.store.git.refs import DAEMON
from kheish.store.git.repo import Repo

#: bytes and lines of the reflog that are read from its end
_TAIL, _LINES = 256 * 1024, 200
#: `old new Name <email> time zone TAB message`
_LINE = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) (.*) \d+ [+-]\d{4}\t(.*)\Z")
#: movements of the branch by which a user commits what is in the work tree
_COMMITS = (b"commit:", b"commit (amend):", b"commit (initial):")
_NONE = b"0" * 40


def brought(repo: Repo, blobs: Mapping[str, str]) -> list[str]:
    """Return the paths whose content git had, although no user committed it here: a checkout, merge or pull wrote it.

    `blobs` maps each path to the blob id of its content.
    """
    known = {path: id for path, id in blobs.items() if repo.has(id)}
    if not known:
        return []
    moves = list(_moves(repo))
    return [path for path, id in known.items() if not _is_committed_here(repo, moves, path, id)]


def committed(repo: Repo, folder: str) -> dict[str, str]:
    """Return the files below a folder of the branch, each with its blob id."""
    head = repo.refs.head()
    found: dict[str, str] = {}
    try:
        waiting = [(folder, str(repo.entry(head, folder).id))] if head is not None else []
    except NotFound:
        return found
    while waiting:
        place, tree = waiting.pop()
        for name, kind, id in repo.listing(tree):
            if kind == "tree":
                waiting.append((f"{place}/{name}", id))
            elif kind == "blob":
                found[f"{place}/{name}"] = id
    return found


def _is_committed_here(repo: Repo, moves: list[tuple[str | None, str, bytes]], path: str, id: str) -> bool:
    """Return whether the newest movement of the branch that brought this content was a commit of a user."""
    for old, new, message in moves:
        if _at(repo, new, path) == id and _at(repo, old, path) != id:
            return message.startswith(_COMMITS)
    return False


def _at(repo: Repo, commit: str | None, path: str) -> str | None:
    if commit is None or not repo.has(commit):
        return None
    blob = repo.find(commit, path)
    return blob.id if blob is not None else None


def _moves(repo: Repo) -> Iterator[tuple[str | None, str, bytes]]:
    """Yield the movements of HEAD by users, newest first: the commits before and after, and the message."""
    try:
        with (repo.root / ".git" / "logs" / "HEAD").open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return
    daemon: Any = f"{DAEMON[0]} <{DAEMON[1]}>".encode()
    for line in reversed(lines[-_LINES:]):
        match = _LINE.match(line)
        if match is not None and match[3] != daemon:
            yield (None if match[1] == _NONE else match[1].decode()), match[2].decode(), match[4]
