"""What the git worker says of annotated tags, and of a folder as a commit has it, for whoever calls that a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish.errors import NotFound
from kheish.store import bounded
from kheish.store.git import history
from kheish.store.git.repo import Repo, annotated
from kheish.store.git.repo import blame as blamed


def changed(repo: Repo, *, prefix: str, known: Mapping[str, str]) -> dict[str, Any]:
    """Tags below `prefix` that are not as `known` (name → object) has them.

    `{new: {name: object}, gone: [name]}`: one that was moved is new. Costs what there are in names, and reads nothing
    of those that are known.
    """
    found = repo.refs.tags(prefix)
    return {
        "new": {name: id for name, id in found.items() if known.get(name) != id},
        "gone": [name for name in known if name not in found],
    }


def object_of(repo: Repo, *, name: str) -> str | None:
    """The object that a tag names; None: there is no such tag."""
    return repo.refs.tag_object(name)


def described(repo: Repo, *, name: str) -> dict[str, Any] | None:
    """`{tag_id, commit, message, trailers, by, email, time}` of a tag; `commit` is None where it is not annotated, or
    leads to no commit that is there. None: there is no such tag."""
    id = object_of(repo, name=name)
    if id is None:
        return None
    found = annotated(repo, id)
    if found is None:
        return {"tag_id": id, "commit": None}
    commit, text, (by, email), time = found
    message, trailers = history.split(text)
    return {
        "tag_id": id, "commit": commit, "message": message, "trailers": trailers, "by": by, "email": email, "time": time
    }  # fmt: skip


def make(repo: Repo, *, name: str, commit: str, message: str, by: str, email: str) -> str:
    """Make an annotated tag on a commit; its object. Raises Conflict where there is one of this name."""
    return repo.refs.tag(name, commit, message, (by, email))


def files(repo: Repo, *, rev: str, path: str) -> list[str]:
    """Return the paths of all files in a folder of a commit. Raises NotFound, Invalid where there are too many."""
    return list(bounded.files(repo, rev, path))


def folder(repo: Repo, *, rev: str, path: str, file: str, missing: bool = False) -> dict[str, Any] | None:
    """A folder as a commit has it: `raw` is the text of `file` in it, `files` the sha256 of all others by their path
    from there. Raises NotFound where `file` is not there (with `missing` that is None), Invalid (too large)."""
    main = repo.find(rev, f"{path}/{file}")
    if main is None and missing:
        return None
    if main is None:
        raise NotFound(f"{path}/{file} is no file in {rev}.")
    blobs = bounded.files(repo, rev, path)
    del blobs[f"{path}/{file}"]
    beside = {one.removeprefix(f"{path}/"): digest for one, digest in bounded.digests(repo, blobs).items()}
    return {"raw": repo.content(main.id), "files": beside}


def blame(repo: Repo, *, rev: str, path: str) -> list[dict[str, Any]]:
    """Each line of a file with the commit that it is from: `{line, text, commit, author, time, message}`."""
    blob = repo.find(rev, path)
    if blob is None:
        raise NotFound(f"{path} is no file in {rev}.")
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
