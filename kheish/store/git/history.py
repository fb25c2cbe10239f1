"""What the repository says about the past: commits in plain words, files and folders at a revision, what changed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from kheish.errors import NotFound
from kheish.store import names
from kheish.store.git.repo import Repo, decoded

#: commits that one question looks through
_FAR = 20_000
_TRAILER = re.compile(r"(Kheish-[A-Za-z-]+): (.*)\Z")
_EVENTS = re.compile(r"(\d+)-(\d+)\Z")
#: a million events in each second would have given numbers of so many digits after thirty years
_DIGITS = 16
#: of the year 9999
_LAST_SECOND = 253_402_300_799
_NEWEST = re.compile(r"^Kheish-Events: \d+-(\d+)$", re.MULTILINE)


def split(text: str) -> tuple[str, dict[str, list[str]]]:
    """A commit's message without its Kheish trailers, and the trailers."""
    lines, trailers = text.rstrip().split("\n"), dict[str, list[str]]()
    while lines and (found := _TRAILER.match(lines[-1])):
        trailers.setdefault(found[1], []).insert(0, found[2])
        lines.pop()
    return "\n".join(lines).rstrip(), trailers


def describe(commit: Any) -> dict[str, Any]:
    """`{commit, parents, message, trailers, author: {name, email}, time}`; time in seconds since the epoch."""
    message, trailers = split(_said(commit))
    author = commit.author
    return {
        "commit": str(commit.id),
        "parents": [str(parent) for parent in commit.parent_ids],
        "message": message,
        "trailers": trailers,
        "author": {"name": decoded(author.raw_name), "email": decoded(author.raw_email)},
        "time": _time(commit),
    }


def _said(commit: Any) -> str:
    return decoded(commit.raw_message, commit.message_encoding)


def _time(commit: Any) -> int:
    """When it was made, where that is a time that can be written."""
    return int(min(max(commit.commit_time, 0), _LAST_SECOND))


def log(repo: Repo, *, limit: int = 50, paths: Sequence[str] = (), rev: str | None = None) -> list[dict[str, Any]]:
    """Commits newest first, from `rev` (default: the branch); with `paths`, those that changed one of them."""
    start = rev or repo.refs.head()
    if start is None:
        return []
    commits: Iterator[Any] = islice(repo.walk(start), _FAR)
    if paths:
        commits = (commit for commit in commits if _touches(repo, commit, paths))
    return [describe(commit) for commit in islice(commits, limit)]


def _touches(repo: Repo, commit: Any, paths: Sequence[str]) -> bool:
    parent = str(commit.parent_ids[0]) if commit.parent_ids else None
    return any(_id_at(repo, str(commit.id), path) != _id_at(repo, parent, path) for path in paths)


def _id_at(repo: Repo, rev: str | None, path: str) -> str | None:
    if rev is None:
        return None
    try:
        return str(repo.entry(rev, path).id)
    except NotFound:
        return None


def read(repo: Repo, *, rev: str, path: str) -> dict[str, Any]:
    """`{blob, text}` or, where it is no UTF-8, `{blob, content}` with bytes. Raises NotFound."""
    found = repo.find(rev, path)
    if found is None:
        raise NotFound(f"{path} is no file in {rev}.")
    data = repo.content(found.id)
    try:
        return {"blob": found.id, "text": data.decode()}
    except UnicodeDecodeError:
        return {"blob": found.id, "content": data}


def show_tree(repo: Repo, *, rev: str, path: str = "") -> list[dict[str, Any]]:
    """`[{name, kind: blob | tree, id}]` of a folder. Raises NotFound."""
    folder = repo.entry(rev, path)
    if folder.type_str != "tree":
        raise NotFound(f"{path} is no folder in {rev}.")
    return [{"name": names.text(entry.name), "kind": entry.type_str, "id": str(entry.id)} for entry in folder]


def last(repo: Repo) -> dict[str, Any] | None:
    """The daemon's last commit, with `n`: the highest event that it holds (0 where none is named).

    A clone has no `refs/kheish/last`: there it is the branch, or numbers would begin again.
    """
    commit = repo.refs.last() or repo.refs.head()
    if commit is None:
        return None
    commits = repo.walk(commit)
    newest = describe(next(commits))
    return {**newest, "n": _n(newest) or next(filter(None, map(_n, map(describe, islice(commits, _FAR)))), 0)}


def _n(commit: dict[str, Any]) -> int:
    found = _EVENTS.match(commit["trailers"].get("Kheish-Events", [""])[-1])
    return _possible(found[2]) if found else 0


def _possible(number: str) -> int:
    """An event number that a commit names; 0 for one that nobody gave, and that no index could hold."""
    return int(number) if len(number) < _DIGITS else 0


def resolve(repo: Repo, *, rev: str) -> dict[str, Any]:
    """`{commit, n, time}` of what git names so; `n` is the highest event that it holds. Raises NotFound."""
    commits = repo.walk(rev)
    newest = next(commits)
    n = next((n for commit in (newest, *islice(commits, _FAR)) if (n := _held(commit))), 0)
    return {"commit": str(newest.id), "n": n, "time": _time(newest)}


def marks(repo: Repo, *, rev: str, until: str | None = None, limit: int = 1000) -> dict[str, Any]:
    """`{marks: [[n, commit, time], …], next}`: which events commits hold, newest first, from `rev` to before `until`.

    `next` is where to go on; None at the end.
    """
    found: list[list[Any]] = []
    for count, commit in enumerate(repo.walk(rev)):
        if str(commit.id) == until:
            break
        if count == limit:
            return {"marks": found, "next": str(commit.id)}
        if n := _held(commit):
            found.append([n, str(commit.id), _time(commit)])
    return {"marks": found, "next": None}


def covering(repo: Repo, *, n: int | None = None, time: int | None = None) -> list[Any] | None:
    """`[n, commit, time]` of the first commit that holds event `n`, or of the last that was there at `time`.

    Looks through the newest commits: what the index answers at once when it knows them all.
    """
    found: list[Any] | None = None
    for count, commit in enumerate(repo.walk(repo.refs.last() or "HEAD")):
        held = _held(commit)
        if count == _FAR:
            return None
        if not held:
            continue
        if n is not None and held < n:
            return found
        if time is not None and commit.commit_time <= time:
            return [held, str(commit.id), _time(commit)]
        if n is not None:
            found = [held, str(commit.id), _time(commit)]
    return found


def _held(commit: Any) -> int:
    """The highest event that a commit names."""
    found = _NEWEST.search(_said(commit))
    return _possible(found[1]) if found else 0


def described(repo: Repo, *, commits: Sequence[str]) -> list[dict[str, Any]]:
    """Commits by their ids, in this order; what is not there any more is left out."""
    found = []
    for commit in commits:
        with contextlib.suppress(NotFound):
            found.append(describe(next(repo.walk(commit))))
    return found


def find(repo: Repo, *, rev: str, under: str, name: str) -> str | None:
    """The path of `name` in a folder of the folder `under` (`sessions/2026-11-22/fix-it`), or None. Raises NotFound."""
    with contextlib.suppress(NotFound):
        for folder in reversed(list(repo.entry(rev, under))):
            if folder.type_str == "tree" and name in folder:
                return f"{under}/{folder.name}/{name}"
    repo.walk(rev)
    return None


def changed_since(repo: Repo, *, commit: str) -> list[str]:
    """Paths that differ between `commit` and the daemon's last commit. Raises NotFound."""
    return [one.path for one in repo.differences(repo.tree_of(commit), repo.tree_of(repo.refs.last()))]
