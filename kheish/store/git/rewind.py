"""A state root whose branch was moved back while no daemon ran: the missing files, and the two ways out (restore,
accept).

The git worker runs this. Nothing is deleted: accepted losses stay under a ref, and files of the work tree that git
lacks are moved to `.git/kheish/rewound/`.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kheish.store import door, files, lock, names
from kheish.store.git import cuts, hold
from kheish.store.git.repo import Blob, Repo


def find(repo: Repo) -> dict[str, Any] | None:
    """Return `{files, last, head}` if the branch was moved to a commit that lacks files of the daemon's last commit,
    else None.

    A commit on top of the last one is not a move: its losses are restored, as while serving.
    """
    last, head = repo.refs.last(), repo.refs.head()
    if last is None or head is None or repo.refs.descends(head, last):
        return None
    lost = [path for path, blob in cuts.lost(repo, last, head).items() if blob is not None]
    return {"files": len(lost), "last": last, "head": head} if lost else None


def put_back(repo: Repo, n: int) -> tuple[dict[str, Any], dict[str, Blob | None]]:
    """Commit the daemon's lost files on top of the branch; the answer is that of a commit."""
    return cuts.commit(repo, {"cut": {"n_from": n + 1, "n_to": n}})


def accept(repo: Repo) -> dict[str, Any]:
    """Make the branch as it is the daemon's last commit, and update the daemon's files in the work tree to it.

    Return `{kept, moved}`: the ref that keeps the old commit, and the number of files moved away; `{held}` if another
    git is active.
    """
    if (reason := hold.check(repo.root)) is not None:
        return {"held": reason}
    last, head = repo.refs.last(), repo.refs.head()
    assert last is not None and head is not None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = f"refs/kheish/rewound/{stamp}"
    repo.refs.keep(kept, last)
    away = lock.private(repo.root) / "rewound" / stamp
    moved = _move_away(repo, head, away)
    _move_log(repo.root, away)
    repo.refs.take(head)
    return {"kept": kept, "moved": moved}


def _move_away(repo: Repo, head: str, away: Path) -> int:
    """Update the daemon's files in the work tree to a commit; the previous contents are moved to `away`."""
    expected = {path for name in hold.DAEMON for path in repo.files(head, name)}
    moved = 0
    for path in sorted(expected | set(_list_paths(repo.root))):
        blob = repo.find(head, path) if path in expected else None
        content = repo.content(blob.id) if blob is not None else b""
        target = names.within(repo.root, path)
        moved += _move_link(repo.root, path, away)  # as late as possible: a link may appear meanwhile
        there = files.there(repo.root, path)
        if there is not None and (blob is None or files.blob_id(there) != blob.id):
            files.atomic_write(names.within(away, path), there, fsync=True)
            files.remove(repo.root, path)
            moved, there = moved + 1, None
        if blob is not None and there is None:
            mode = 0o755 if blob.mode & 0o100 else 0o644
            files.atomic_write(target, content, fsync=True, mode=mode, scratch=_scratch(repo.root))
    return moved


def _move_link(root: Path, path: str, away: Path) -> int:
    """Move a link away that stands in place of a file or of a folder above it: its target is not ours."""
    place = root
    for part in names.disk(path).split("/"):
        place = place / part
        if place.is_symlink():
            target = away / f"{place.relative_to(root)}.link"
            target.parent.mkdir(parents=True, exist_ok=True)
            place.rename(target)
            return 1
    return 0


def _scratch(root: Path) -> Path:
    """Return the folder where files are written first, so that a folder replaced by a link gets no partial file."""
    scratch = lock.private(root) / "tmp"
    scratch.mkdir(exist_ok=True)
    return scratch


def _list_paths(root: Path) -> Iterator[str]:
    for name in hold.DAEMON:
        yield from (path for path, found in door.walk(root, name) if stat.S_ISREG(found.st_mode))


def _move_log(root: Path, away: Path) -> None:
    """Move the log away, since it continues entries that are gone: a new log begins, far above its numbers."""
    log, index = lock.private(root) / "wal", root / ".kheish" / "index.sqlite"
    if log.exists():
        away.mkdir(parents=True, exist_ok=True)
        log.rename(away / "wal")
    for suffix in ("", "-wal", "-shm"):
        index.with_name(index.name + suffix).unlink(missing_ok=True)
