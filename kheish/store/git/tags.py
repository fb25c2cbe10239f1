"""Queries of the git worker about annotated tags and about folders in a commit, used for versions of definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish.errors import NotFound
from kheish.store import bounded
from kheish.store.git import history
from kheish.store.git.repo import Repo, annotated, blame as blamed


def changed(repo: Repo, *, prefix: str, known: Mapping[str, str]) -> dict[str, Any]:
    """Return the tags below `prefix` that differ from `known` (name → object).

    The answer is `{new: {name: object}, gone: [name]}`; a moved tag is new. The cost depends on the number of names;
    known tags are not read.
    """
    tags = repo.refs.tags(prefix)
    return {
        "new": {name: id for name, id in tags.items() if known.get(name) != id},
        "gone": [name for name in known if name not in tags],
    }


def object_of(repo: Repo, *, name: str) -> str | None:
    """Return the object that a tag names, or None."""
    return repo.refs.tag_object(name)


def described(repo: Repo, *, name: str) -> dict[str, Any] | None:
    """Return `{tag_id, commit, message, trailers, by, email, time}` of a tag, or None if it does not exist. `commit` is
    None if the tag is not annotated, or leads to no existing commit."""
    id = object_of(repo, name=name)
    if id is None:
        return None
    tag = annotated(repo, id)
    if tag is None:
        return {"tag_id": id, "commit": None}
    commit, text, (by, email), time = tag
    message, trailers = history.split(text)
    return {
        "tag_id": id, "commit": commit, "message": message, "trailers": trailers, "by": by, "email": email, "time": time
    }  # fmt: skip


def make(repo: Repo, *, name: str, commit: str, message: str, by: str, email: str) -> str:
    """Make an annotated tag on a commit; return its object. Raises Conflict if the name exists."""
    return repo.refs.tag(name, commit, message, (by, email))


def files(repo: Repo, *, rev: str, path: str) -> list[str]:
    """Return the paths of all files in a folder of a commit. Raises NotFound, Invalid if there are too many."""
    return list(bounded.files(repo, rev, path))


def folder(repo: Repo, *, rev: str, path: str, file: str, missing: bool = False) -> dict[str, Any] | None:
    """Return a folder of a commit: `raw` is the text of `file` in it, `files` has the sha256 of all others by their
    relative path. Raises NotFound if `file` does not exist (with `missing` returns None instead), Invalid (too
    large)."""
    main = repo.find(rev, f"{path}/{file}")
    if main is None and missing:
        return None
    if main is None:
        raise NotFound(f"{path}/{file} is not a file in {rev}.")
    blobs = bounded.files(repo, rev, path)
    del blobs[f"{path}/{file}"]
    beside = {one.removeprefix(f"{path}/"): digest for one, digest in bounded.digests(repo, blobs).items()}
    return {"raw": repo.content(main.id), "files": beside}


def blame(repo: Repo, *, rev: str, path: str) -> list[dict[str, Any]]:
    """Return each line of a file with its commit: `{line, text, commit, author, time, message}`."""
    blob = repo.find(rev, path)
    if blob is None:
        raise NotFound(f"{path} is not a file in {rev}.")
    lines = repo.content(blob.id).decode(errors="replace").splitlines()
    parts = blamed(repo, rev, path)
    known = {one["commit"]: one for one in history.described(repo, commits=sorted({commit for _, _, commit in parts}))}
    return [
        {
            "line": number,
            "text": lines[number - 1],
            "commit": commit,
            "author": known[commit]["author"]["name"],
            "time": known[commit]["time"],
            "message": known[commit]["message"].partition("\n")[0],
        }
        for first, count, commit in parts
        for number in range(first, min(first + count, len(lines) + 1))
    ]
