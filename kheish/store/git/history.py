"""Queries about the repository's history: commits in plain words, files and folders at a revision, changes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from kheish.errors import NotFound
from kheish.store import names
from kheish.store.git.repo import Repo, decoded

#: commits that a single query scans
_FAR = 20_000
_TRAILER = re.compile(r"(Kheish-[A-Za-z-]+): (.*)\Z")
_EVENTS = re.compile(r"([0-9]+)-([0-9]+)\Z")
#: an event number has at most as many digits as thirty years of a million events per second need
_DIGITS = 16
#: the end of the year 9999
_LAST_SECOND = 253_402_300_799
_NEWEST = re.compile(r"^Kheish-Events: [0-9]+-([0-9]+)$", re.MULTILINE)


def split(text: str) -> tuple[str, dict[str, list[str]]]:
    """Return a commit's message without its Kheish trailers, and the trailers."""
    lines, trailers = text.rstrip().split("\n"), dict[str, list[str]]()
    while lines and (match := _TRAILER.match(lines[-1])):
        trailers.setdefault(match[1], []).insert(0, match[2])
        lines.pop()
    return "\n".join(lines).rstrip(), trailers


def describe(commit: Any) -> dict[str, Any]:
    """Return `{commit, parents, message, trailers, author: {name, email}, time}`; time is in seconds since the
    epoch."""
    message, trailers = split(_message(commit))
    author = commit.author
    return {
        "commit": str(commit.id),
        "parents": [str(parent) for parent in commit.parent_ids],
        "message": message,
        "trailers": trailers,
        "author": {"name": decoded(author.raw_name), "email": decoded(author.raw_email)},
        "time": _time(commit),
    }


def time_of(repo: Repo, commit: str) -> int:
    """Return a commit's time, in seconds since the epoch."""
    return _time(next(iter(repo.walk(commit))))


def _message(commit: Any) -> str:
    return decoded(commit.raw_message, commit.message_encoding)


def _time(commit: Any) -> int:
    """Return the commit's time if it can be formatted."""
    return int(min(max(commit.commit_time, 0), _LAST_SECOND))


def log(repo: Repo, *, limit: int = 50, paths: Sequence[str] = (), rev: str | None = None) -> list[dict[str, Any]]:
    """Return commits newest first, from `rev` (default: the branch); with `paths`, those that changed one of them."""
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
    """Return `{blob, text}`, or `{blob, content}` with bytes if it is not UTF-8. Raises NotFound."""
    blob = repo.find(rev, path)
    if blob is None:
        raise NotFound(f"{path} is not a file in {rev}.")
    data = repo.content(blob.id)
    try:
        return {"blob": blob.id, "text": data.decode()}
    except UnicodeDecodeError:
        return {"blob": blob.id, "content": data}


def show_tree(repo: Repo, *, rev: str, path: str = "") -> list[dict[str, Any]]:
    """Return `[{name, kind: blob | tree, id}]` of a folder. Raises NotFound."""
    folder = repo.entry(rev, path)
    if folder.type_str != "tree":
        raise NotFound(f"{path} is not a folder in {rev}.")
    return [{"name": names.text(entry.name), "kind": entry.type_str, "id": str(entry.id)} for entry in folder]


def last(repo: Repo) -> dict[str, Any] | None:
    """Return the daemon's last commit with `n`, the highest event that it holds (0 if it names none).

    A clone has no `refs/kheish/last`. There it is the branch, since event numbers would restart otherwise.
    """
    commit = repo.refs.last() or repo.refs.head()
    if commit is None:
        return None
    commits = repo.walk(commit)
    newest = describe(next(commits))
    return {**newest, "n": _n(newest) or next(filter(None, map(_n, map(describe, islice(commits, _FAR)))), 0)}


def _n(commit: dict[str, Any]) -> int:
    match = _EVENTS.match(commit["trailers"].get("Kheish-Events", [""])[-1])
    return _possible(match[2]) if match else 0


def _possible(number: str) -> int:
    """Return the event number that a commit names; 0 for an impossible number, which no index could hold."""
    return int(number) if len(number) < _DIGITS else 0


def resolve(repo: Repo, *, rev: str) -> dict[str, Any]:
    """Return `{commit, n, time}` of a git revision; `n` is the highest event that it holds. Raises NotFound."""
    commits = repo.walk(rev)
    newest = next(commits)
    n = next((n for commit in (newest, *islice(commits, _FAR)) if (n := _newest_event(commit))), 0)
    return {"commit": str(newest.id), "n": n, "time": _time(newest)}


def marks(repo: Repo, *, rev: str, until: str | None = None, limit: int = 1000) -> dict[str, Any]:
    """Return `{marks: [[n, commit, time], …], next}`: the events that commits hold, newest first, from `rev` to before
    `until`.

    `next` is where to continue; None at the end.
    """
    rows: list[list[Any]] = []
    for count, commit in enumerate(repo.walk(rev)):
        if str(commit.id) == until:
            break
        if count == limit:
            return {"marks": rows, "next": str(commit.id)}
        if n := _newest_event(commit):
            rows.append([n, str(commit.id), _time(commit)])
    return {"marks": rows, "next": None}


def covering(repo: Repo, *, n: int | None = None, time: int | None = None) -> list[Any] | None:
    """Return `[n, commit, time]` of the first commit that holds event `n`, or of the last that existed at `time`.

    Scans the newest commits. The index answers this at once when it has them all.
    """
    mark: list[Any] | None = None
    for count, commit in enumerate(repo.walk(repo.refs.last() or "HEAD")):
        newest = _newest_event(commit)
        if count == _FAR:
            return None
        if not newest:
            continue
        if n is not None and newest < n:
            return mark
        if time is not None and commit.commit_time <= time:
            return [newest, str(commit.id), _time(commit)]
        if n is not None:
            mark = [newest, str(commit.id), _time(commit)]
    return mark


def _newest_event(commit: Any) -> int:
    """Return the highest event that a commit names."""
    match = _NEWEST.search(_message(commit))
    return _possible(match[1]) if match else 0


def described(repo: Repo, *, commits: Sequence[str]) -> list[dict[str, Any]]:
    """Return commits by their ids, in this order; missing commits are left out."""
    entries = []
    for commit in commits:
        with contextlib.suppress(NotFound):
            entries.append(describe(next(repo.walk(commit))))
    return entries


def find(repo: Repo, *, rev: str, under: str, name: str) -> str | None:
    """Return the path of `name` in a folder of the folder `under` (`sessions/2026-11-22/fix-it`), or None. Raises
    NotFound."""
    with contextlib.suppress(NotFound):
        for folder in reversed(list(repo.entry(rev, under))):
            if folder.type_str == "tree" and name in folder:
                return f"{under}/{folder.name}/{name}"
    repo.walk(rev)
    return None


def changed_since(repo: Repo, *, commit: str) -> list[str]:
    """Return the paths that differ between `commit` and the daemon's last commit. Raises NotFound."""
    return [difference.path for difference in repo.differences(repo.tree_of(commit), repo.tree_of(repo.refs.last()))]
