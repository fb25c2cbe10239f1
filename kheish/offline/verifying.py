"""`kheish state verify`, `gc` and `reindex` on the files of a state root; read-only but for the latter two."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kheish.auth import audit as auditing
from kheish.errors import Damaged, KheishError
from kheish.store import lock, names
from kheish.store.git import maintenance, mending, remote, root_format
from kheish.store.git.repo import Repo
from kheish.store.log import journal, outage, segments, wal

Finding = dict[str, str]
_DAMAGED = "git cannot read it; `kheish state gc` rewrites it if the last commit has it"


def verify(root: Path) -> dict[str, Any]:
    """Return `{journals, entries, commit, findings: [{code, path, message}]}`. Raises NotAStateRoot.

    While a daemon serves, what it writes at this moment may be behind the log; that is no finding.
    """
    root_format.open_root(root)
    log = wal.recover(root / ".git" / "kheish" / "wal", cut=False)
    logged = {where for group in log.groups for where, _ in group}
    findings = [_finding("damaged_log", ".git/kheish/wal", line) for line in log.damaged]
    ends: dict[str, tuple[int, int]] = {}
    seen: dict[int, str] = {}
    entries = 0
    for where in sorted(_journals(root)):
        lines = list(_read(root, where, findings))
        entries += len(lines)
        findings += _numbers(where, lines, seen)
        if lines:
            ends[where] = lines[-1]["seq"], lines[-1]["n"]
    damaged = [path.relative_to(root).as_posix() for path in outage.damaged(root)]
    findings += [_finding("object_damaged", path, _DAMAGED) for path in damaged]
    repo = Repo(root)
    commit = repo.refs.last() or repo.refs.head()
    findings += [] if damaged else _git(repo, commit)  # libgit2 may read a cut object for ever
    findings += _index(root, ends, logged)
    return {"journals": len(ends), "entries": entries, "commit": commit, "findings": findings}


def audit(root: Path, *, key: str | None = None, witness: Path | None = None) -> dict[str, Any]:
    """Verify the audit log as `auth.audit.verify` does; works on a clone as well.

    `witness`: the repository that the root was pushed to, or a clone of it. Raises NotAStateRoot, and Invalid if the
    witness is neither.
    """
    root_format.open_root(root)
    head = remote.content(witness, auditing.HEAD) if witness is not None else None
    return auditing.verify(root, key=key, witness=head).view()


def pack(root: Path) -> dict[str, Any]:
    """Pack git's objects (`maintenance.run`). Raise LockHeld if a daemon serves."""
    root_format.open_root(root)
    with lock.RootLock(root):
        return maintenance.run(root, whole=True)


def drop_index(root: Path) -> dict[str, Any]:
    """Remove the index; the next start rebuilds it. Raise LockHeld if a daemon serves."""
    root_format.open_root(root)
    with lock.RootLock(root):
        for path in (root / ".kheish").glob("index.sqlite*"):
            path.unlink(missing_ok=True)
    return {"reindexed": False}


def _finding(code: str, path: str, message: str) -> Finding:
    return {"code": code, "path": path, "message": message}


def _journals(root: Path) -> Iterator[str]:
    yield from {names.relative(path, root) for path in root.glob("sessions/*/*/journal")}
    yield from segments.journals(root, "journals")


def _read(root: Path, where: str, findings: list[Finding]) -> Iterator[dict[str, Any]]:
    try:
        yield from journal.read(root, where)
    except Damaged as error:
        findings.append(_finding("damaged_journal", where, error.detail))


def _numbers(where: str, lines: list[dict[str, Any]], seen: dict[int, str]) -> Iterator[Finding]:
    """Yield a finding for each event number that does not grow, or is in two journals."""
    last = 0
    for line in lines:
        n = line.get("n", 0)
        if n <= last:
            yield _finding("number_not_growing", where, f"event {n} after {last}")
        if n in seen:
            yield _finding("number_twice", where, f"event {n} is in {seen[n]} too")
        last = max(last, n)
        seen[n] = where


def _git(repo: Repo, commit: str | None) -> Iterator[Finding]:
    if commit is None:
        yield _finding("no_commit", ".git", "there is no commit")
        return
    try:
        for kind, path, id in mending.missing(repo, commit):
            yield _finding("object_missing", path or ".", f"git has lost the {kind} {id}")
    except (KheishError, KeyError, ValueError) as error:
        yield _finding("commit_unreadable", ".git", f"the commit {commit} cannot be read: {error}")


def _index(root: Path, ends: Mapping[str, tuple[int, int]], logged: set[str]) -> Iterator[Finding]:
    """Yield a finding for each journal that the index does not cover, unless the log still has its entries."""
    path = root / ".kheish" / "index.sqlite"
    if not path.exists():
        return  # the next start makes it
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            known = dict(db.execute("SELECT journal, max(seq) FROM entries GROUP BY journal").fetchall())
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        yield _finding("index_damaged", ".kheish/index.sqlite", f"{error}: kheish state reindex")
        return
    for where, (seq, _) in ends.items():
        if where not in logged and known.get(where, 0) != seq:
            message = f"the index ends at {known.get(where, 0)}, the journal at {seq}: kheish state reindex"
            yield _finding("index_differs", where, message)
