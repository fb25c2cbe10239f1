"""The git worker: a process that commits cuts and answers queries about history until its pipe closes.

`python -m kheish.store.git.gitworker ROOT`, driven through `pipes`. It is a separate process because pygit2 holds the
interpreter's lock while it makes a blob (0.7 s for 16 MB), and the daemon's event loop must not block.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from kheish.errors import NotFound
from kheish.store import files, lock, memory, pipes
from kheish.store.git import backup, cuts, history, hold, mending, provenance, rewind, staging, stuck, tags
from kheish.store.git.repo import Blob, Broken, Repo
from kheish.store.git.staging import Index, stamp
from kheish.store.log import outage, spills

#: After a commit the index is written at once if that takes at most this share of the time, otherwise in a quiet phase:
#: after this multiple of the time that writing takes (git writes the whole file: 0.25 s at 350,000 paths), within these
#: bounds in seconds.
_SHARE = 0.1
_QUIET = (0.2, 1.0)
_QUIET_TIMES = 4
_BUSY = 0.5
#: the work tree is scanned as a whole this often at most (seconds), and for one part in so many of the time
_SCAN_EVERY = 60.0
_SCAN_SHARE = 100


class Worker:
    """The open repository, and the index entries that its commits changed and `.git/index` lacks so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repo = Repo(root)
        self.index = Index(root)
        self.behind: dict[str, Blob | None] = {}
        self._cost = 0.0
        self._ended = 0.0
        self._asked = 0.0
        self._note = lock.private(root) / "indexed"
        self._swept = False
        self._gate = hold.Gate(root)
        self._seen = self._signs()
        self._scan_at = 0.0
        self._mended: tuple[list[str], list[str]] | None = None  # repairs not yet reported

    def start(self) -> None:
        """Clean up after a killed worker: its locks, its half-moved refs, and its outdated index."""
        self._sweep()
        if outage.suspected(self.root):
            self._repair()
        self.repo.refs.recover()
        head = self.repo.refs.head()
        spills.forget(self.root, [path for path in spills.kept(self.root) if head and self.repo.find(head, path)])
        known = self._note.read_text().strip() if self._note.exists() else None
        if known is not None and known != self.repo.refs.head():
            try:
                trees = self.repo.tree_of(known), self.repo.tree_of(self.repo.refs.head())
                self.index.catch_up(self.repo.differences(*trees))
            except NotFound:
                pass  # its commit was pruned: the index is as a user's git left it
            except hold.Held:
                return
        self._write_note()

    def after_outage(self) -> None:
        """Run `mending.names`, before any scribe writes journals."""
        if hold.check(self.root) is None:
            mending.names(self.repo, self.index)

    def _repair(self) -> None:
        """Rewrite unreadable objects of the last commit from the files."""
        self._mended = mending.repair(self.root) or self._mended
        self.repo.reopen()

    def _sweep(self) -> None:
        """Remove the locks of a killed worker, once, at a moment when no other git writes here."""
        if not self._swept and hold.writer(self.root) is None:
            lock.sweep(self.root)
            self._swept = True

    def commit(self, **frame: Any) -> dict[str, Any]:
        """Run `cuts.commit`."""
        self._asked = time.monotonic()
        self._sweep()
        try:
            answer, changes = cuts.commit(self.repo, frame)
        except (OSError, Broken):
            # Another git packed at this moment, and removed the folder of an object that was being written; or an
            # object is damaged.
            self._repair()
            answer, changes = cuts.commit(self.repo, frame)
        self.behind.update(changes)
        if "commit" in answer:
            spills.forget(self.root, frame.get("spills", ()))
        return answer

    def join(self, **frame: Any) -> dict[str, Any]:
        """Run `backup.join`."""
        self._asked = time.monotonic()
        self._sweep()
        answer, changes = backup.join(self.repo, **frame)
        self.behind.update(changes)
        return answer

    def idle(self) -> float | None:
        """Write the index if it is behind and due; return the seconds until the next call."""
        if not self.behind:
            return None
        now = time.monotonic()
        quiet = min(max(self._cost * _QUIET_TIMES, _QUIET[0]), _QUIET[1])
        due = min(self._ended + self._cost / _SHARE, self._asked + quiet)
        if now < due:
            return due - now
        return None if self.sync_index() else _BUSY

    def sweep_spills(self, named: list[str]) -> list[str]:
        """Run `spills.sweep`, once, before the log is written again."""
        tips = [commit for commit in (self.repo.refs.head(), self.repo.refs.last()) if commit is not None]
        return spills.sweep(self.root, set(named), lambda path: any(self.repo.find(tip, path) for tip in tips))

    def sync_index(self) -> bool:
        """Update `.git/index` to the last commit; return False if git is active."""
        began = time.monotonic()
        if self.behind and self._gate.reason() is not None:
            return False
        try:
            if self.behind:
                is_ours = self._seen[0] == self._signs()[0]
                self.index.update(self._not_outdated())
                if is_ours:
                    self._seen = (self._signs()[0], self._seen[1])
        except hold.Held:
            return False
        self.behind = {}
        self._write_note()
        memory.trim()
        self._ended = time.monotonic()
        self._cost = self._ended - began
        return True

    def _not_outdated(self) -> dict[str, Blob | None]:
        """Return the entries that the index lacks, except paths that a user has committed differently meanwhile. Their
        git has updated the index, and their next commit would revert it."""
        head = self.repo.refs.head()
        tip = {path: self.repo.find(head, path) for path in self.behind if head and not hold.owned(path)}
        return {path: blob for path, blob in self.behind.items() if path not in tip or _same(blob, tip[path])}

    def put_back(self, paths: list[str] | None = None) -> list[str]:
        """Restore the daemon's files in the work tree (None: all that are missing or changed); return their paths."""
        if paths is None:
            self.sync_index()
            paths = [path for path in self.index.changed_files() if hold.owned(path)]
        return cuts.put_back(self.repo, paths)

    def put_back_rewound(self) -> dict[str, Any]:
        """Run `rewind.put_back`."""
        last = history.last(self.repo)
        answer, changes = rewind.put_back(self.repo, last["n"] if last else 0)
        self.behind.update(changes)
        return answer

    def look(self) -> dict[str, Any]:
        """Return whether a user's git is active (`held`), and if not, its effects. `moved`: the branch is not where
        the daemon left it; `theirs`: the users' files that differ there. `put_back` and `aside`: restored and saved
        files. `mended` and `lost`: objects that a prune removed. `grown`: journals whose continuation cannot be a
        newer entry."""
        reason = self._gate.reason()
        if reason is not None:
            return {"held": reason}
        head, last = self.repo.refs.head(), self.repo.refs.last()
        answer: dict[str, Any] = {"held": None, "moved": head != last, "theirs": []}
        if head != last and last is not None:
            differ = self.repo.differences(self.repo.tree_of(last), self.repo.tree_of(head))
            answer["theirs"] = [one.path for one in differ if not hold.owned(one.path)]
        now, seen = time.monotonic(), self._signs()
        if self._mended is not None:
            (answer["mended"], answer["lost"]), self._mended = self._mended, None
        if seen[1] != self._seen[1]:
            self._seen = (self._seen[0], seen[1])
            answer["mended"], answer["lost"] = mending.mend(self.root, self.index)
            self.repo.reopen()
        if (seen[0] != self._seen[0] or now >= self._scan_at) and self.sync_index():
            self._seen = (self._signs()[0], self._seen[1])
            aside: list[str] = []
            try:
                answer["put_back"], answer["grown"] = self._scan(aside)
            except hold.Held as held:
                return {"held": str(held)}
            finally:
                ended = time.monotonic()
                self._scan_at = ended + max(_SCAN_EVERY, (ended - now) * _SCAN_SHARE)
            answer["aside"] = aside
        return answer

    def _scan(self, aside: list[str]) -> tuple[list[str], list[str]]:
        """Restore the daemon's files that were changed, removed or unstaged. Return their paths, and the journals for
        the scribe to check, since only the scribe has their true length."""
        last = self.repo.refs.last()
        if last is None:
            return [], []
        staged = [path for path in self.index.staged(last) if hold.owned(path)]
        changed = [path for path in self.index.changed_files() if hold.owned(path)]
        if staged:
            self.behind |= {path: self.repo.find(last, path) for path in staged}
            self.sync_index()
        put_back = cuts.put_back(self.repo, sorted({*staged, *changed}), aside)
        return put_back, cuts.grown(self.repo, [path for path in changed if path not in put_back])

    def _signs(self) -> tuple[Any, Any]:
        """Return values that change when git writes the index, and when it packs or prunes."""
        return tuple(stamp(self.root / ".git" / name) for name in ("index", "objects/pack"))  # type: ignore[return-value]

    def blob_id(self, path: str) -> dict[str, str | None]:
        """Return the blob ids of a file in the work tree and in the branch."""
        there, head = files.there(self.root, path), self.repo.refs.head()
        blob = self.repo.find(head, path) if head is not None else None
        return {
            "work": files.blob_id(there) if there is not None else None,
            "head": blob.id if blob is not None else None,
        }

    def _write_note(self) -> None:
        head = self.repo.refs.head()
        if head is not None:
            scratch = lock.private(self.root) / "tmp"
            scratch.mkdir(exist_ok=True)
            files.atomic_write(self._note, head.encode(), fsync=False, scratch=scratch)


def _same(one: Blob | None, other: Blob | None) -> bool:
    return (one and one.id) == (other and other.id)


def handlers(worker: Worker) -> dict[str, pipes.Handler]:
    """Return the handlers of the worker's requests."""
    repo = worker.repo
    return {
        "commit": worker.commit,
        "hold": lambda: {"held": hold.check(worker.root)},
        "tip": lambda: backup.tip(repo),
        "plan": lambda **query: backup.plan(repo, **query).view(),
        "join": worker.join,
        "look": worker.look,
        "after_outage": worker.after_outage,
        "rewound": lambda: rewind.find(repo),
        "put_back_rewound": worker.put_back_rewound,
        "accept_rewind": lambda: rewind.accept(repo),
        "sweep_spills": worker.sweep_spills,
        "sync_index": worker.sync_index,
        "put_back": worker.put_back,
        "foreign_journals": lambda: cuts.foreign_journals(repo),
        "blob_id": worker.blob_id,
        "head": lambda: {"commit": repo.refs.head(), "last": repo.refs.last()},
        "last": lambda: history.last(repo),
        "log": lambda **query: history.log(repo, **query),
        "read": lambda rev, path: history.read(repo, rev=rev, path=path),
        "show_tree": lambda **query: history.show_tree(repo, **query),
        "resolve": lambda rev: history.resolve(repo, rev=rev),
        "marks": lambda **query: history.marks(repo, **query),
        "covering": lambda **query: history.covering(repo, **query),
        "described": lambda commits: history.described(repo, commits=commits),
        "find": lambda **query: history.find(repo, **query),
        "tags": lambda **query: tags.changed(repo, **query),
        "tag_object": lambda name: tags.object_of(repo, name=name),
        "tag": lambda name: tags.described(repo, name=name),
        "make_tag": lambda **query: tags.make(repo, **query),
        "files": lambda rev, path: tags.files(repo, rev=rev, path=path),
        "left_out": lambda paths: staging.left_out(worker.root, paths),
        "folder": lambda **query: tags.folder(repo, **query),
        "brought": lambda blobs: provenance.brought(repo, blobs),
        "blobs": lambda folder: provenance.committed(repo, folder),
        "blame": lambda **query: tags.blame(repo, **query),
        "changed_since": lambda commit: history.changed_since(repo, commit=commit),
    }


def main() -> None:
    """Serve the state root named by the only argument."""
    root = Path(sys.argv[1])
    parent = pipes.Parent()
    with lock.worker_lock(root):
        watch = stuck.Watch(root, "worker")
        if watch.said:
            sys.stderr.write(f"the git worker was stuck; checking for damaged objects:\n{watch.said}\n")
            outage.expect(root)
        worker = Worker(root)
        worker.start()
        pipes.serve(handlers(worker), parent=parent, idle=worker.idle, wind=watch.wind)
        worker.sync_index()


if __name__ == "__main__":
    main()
