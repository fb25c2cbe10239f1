"""A state root that was moved back while no daemon ran: what is missing, and the two ways on (put back, accept).

Run by the git worker. Nothing is thrown away: what is accepted as gone stays under a ref, and files of the work tree
that git does not have are moved to `.git/kheish/rewound/`.
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
    """`{files, last, head}` where the branch was moved to a commit that lacks files of the daemon's last, else None.

    A commit on top of the last one is no move: what it dropped is put back, as while serving.
    """
    last, head = repo.refs.last(), repo.refs.head()
    if last is None or head is None or repo.refs.descends(head, last):
        return None
    lost = [path for path, blob in cuts.lost(repo, last, head).items() if blob is not None]
    return {"files": len(lost), "last": last, "head": head} if lost else None


def put_back(repo: Repo, n: int) -> tuple[dict[str, Any], dict[str, Blob | None]]:
    """Commit on top of the branch all that the daemon had; the answer is that of a commit."""
    return cuts.commit(repo, {"cut": {"n_from": n + 1, "n_to": n}})


def accept(repo: Repo) -> dict[str, Any]:
    """Make the branch as it is the daemon's last commit, and bring its files in the work tree to it.

    Returns `{kept, moved}`: the ref that keeps what was, and how many files were moved away. `{held}` where another
    git is at work.
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
    """Bring the daemon's files in the work tree to what a commit has; what was there instead is moved to `away`."""
    wanted = {path for name in hold.DAEMON for path in repo.files(head, name)}
    moved = 0
    for path in sorted(wanted | set(_there(repo.root))):
        found = repo.find(head, path) if path in wanted else None
        content = repo.content(found.id) if found is not None else b""
        target = names.within(repo.root, path)
        moved += _move_link(repo.root, path, away)  # as late as can be: somebody may put one there meanwhile
        there = files.there(repo.root, path)
        if there is not None and (found is None or files.blob_id(there) != found.id):
            files.atomic_write(names.within(away, path), there, fsync=True)
            files.remove(repo.root, path)
            moved, there = moved + 1, None
        if found is not None and there is None:
            mode = 0o755 if found.mode & 0o100 else 0o644
            files.atomic_write(target, content, fsync=True, mode=mode, scratch=_scratch(repo.root))
    return moved


def _move_link(root: Path, path: str, away: Path) -> int:
    """Move the link away that stands in the place of a file or of a folder above it: what it leads to is not ours."""
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
    """Where files are written first: a folder that is a link by then gets no half of one."""
    scratch = lock.private(root) / "tmp"
    scratch.mkdir(exist_ok=True)
    return scratch


def _there(root: Path) -> Iterator[str]:
    for name in hold.DAEMON:
        yield from (path for path, found in door.walk(root, name) if stat.S_ISREG(found.st_mode))


def _move_log(root: Path, away: Path) -> None:
    """The log goes on from what is gone now: a new one begins, far above its numbers."""
    log, index = lock.private(root) / "wal", root / ".kheish" / "index.sqlite"
    if log.exists():
        away.mkdir(parents=True, exist_ok=True)
        log.rename(away / "wal")
    for suffix in ("", "-wal", "-shm"):
        index.with_name(index.name + suffix).unlink(missing_ok=True)
