"""The git worker: a process that commits cuts and answers questions about the past, until its pipe closes.

`python -m kheish.store.git.gitworker ROOT`, spoken to by `pipes`. It is a process of its own because pygit2 holds the
interpreter's lock while it makes a blob (0.7 s for 16 MB), and the daemon's event loop must not stand still.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from kheish.errors import NotFound
from kheish.store import files, lock, memory, pipes
from kheish.store.git import backup, cuts, history, hold, mending, rewind, staging, stuck, tags
from kheish.store.git.repo import Blob, Broken, Repo
from kheish.store.git.staging import Index, stamp
from kheish.store.log import outage, spills

#: After a commit the index is written at once where that takes at most this part of the time, else when it is quiet:
#: for so many times as long as writing takes (git wants the whole file: 0.25 s at 350,000 paths), within these seconds.
_SHARE = 0.1
_QUIET = (0.2, 1.0)
_QUIET_TIMES = 4
_BUSY = 0.5
#: the work tree is looked at as a whole this often at most (seconds), and for one part in so many of the time
_SCAN_EVERY = 60.0
_SCAN_SHARE = 100


class Worker:
    """The open repository, and the index entries that its commits changed and `.git/index` has not yet."""

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
        self._mended: tuple[list[str], list[str]] | None = None  # what nobody was told of yet

    def start(self) -> None:
        """Clean up after a killed worker: its locks, its half-moved refs, the index that it did not bring along."""
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
                pass  # its commit was pruned: the index is as a person's git left it
            except hold.Held:
                return
        self._write_note()

    def after_outage(self) -> None:
        """See `mending.names`. Asked for before there is a scribe that writes journals."""
        if hold.check(self.root) is None:
            mending.names(self.repo, self.index)

    def _repair(self) -> None:
        """Have objects that cannot be read written again, from the files, where the last commit has them."""
        self._mended = mending.repair(self.root) or self._mended
        self.repo.reopen()

    def _sweep(self) -> None:
        """Remove the locks that a killed worker left, once, at a moment when no other git writes here."""
        if not self._swept and hold.writer(self.root) is None:
            lock.sweep(self.root)
            self._swept = True

    def commit(self, **frame: Any) -> dict[str, Any]:
        """See `cuts.commit`."""
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
        """See `backup.join`."""
        self._asked = time.monotonic()
        self._sweep()
        answer, changes = backup.join(self.repo, **frame)
        self.behind.update(changes)
        return answer

    def idle(self) -> float | None:
        """Write the index where it is behind and its turn has come; say when to be called again."""
        if not self.behind:
            return None
        now = time.monotonic()
        quiet = min(max(self._cost * _QUIET_TIMES, _QUIET[0]), _QUIET[1])
        due = min(self._ended + self._cost / _SHARE, self._asked + quiet)
        if now < due:
            return due - now
        return None if self.sync_index() else _BUSY

    def sweep_spills(self, named: list[str]) -> list[str]:
        """See `spills.sweep`; called once, before the log is written again."""
        tips = [commit for commit in (self.repo.refs.head(), self.repo.refs.last()) if commit is not None]
        return spills.sweep(self.root, set(named), lambda path: any(self.repo.find(tip, path) for tip in tips))

    def sync_index(self) -> bool:
        """Bring `.git/index` to the last commit; False where git is at work."""
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
        """What the index lacks; not what a person has committed otherwise meanwhile: their git has told it to the
        index, and their next commit would take it back."""
        head = self.repo.refs.head()
        tip = {path: self.repo.find(head, path) for path in self.behind if head and not hold.owned(path)}
        return {path: blob for path, blob in self.behind.items() if path not in tip or _same(blob, tip[path])}

    def put_back(self, paths: list[str] | None = None) -> list[str]:
        """Restore the daemon's files in the work tree (None: all that are missing or changed); what was restored."""
        if paths is None:
            self.sync_index()
            paths = [path for path in self.index.changed_files() if hold.owned(path)]
        return cuts.put_back(self.repo, paths)

    def put_back_rewound(self) -> dict[str, Any]:
        """See `rewind.put_back`."""
        last = history.last(self.repo)
        answer, changes = rewind.put_back(self.repo, last["n"] if last else 0)
        self.behind.update(changes)
        return answer

    def look(self) -> dict[str, Any]:
        """Whether a person's git is at work (`held`), and if not, what it did: `moved` (the branch is not where the
        daemon left it; `theirs`: which files of people differ there), `put_back`, `aside`, and what a prune took away
        (`mended`, `lost`). `grown`: journals that go on with what no entry to come can be."""
        reason = self._gate.reason()
        if reason is not None:
            return {"held": reason}
        head, last = self.repo.refs.head(), self.repo.refs.last()
        found: dict[str, Any] = {"held": None, "moved": head != last, "theirs": []}
        if head != last and last is not None:
            differ = self.repo.differences(self.repo.tree_of(last), self.repo.tree_of(head))
            found["theirs"] = [one.path for one in differ if not hold.owned(one.path)]
        now, seen = time.monotonic(), self._signs()
        if self._mended is not None:
            (found["mended"], found["lost"]), self._mended = self._mended, None
        if seen[1] != self._seen[1]:
            self._seen = (self._seen[0], seen[1])
            found["mended"], found["lost"] = mending.mend(self.root, self.index)
            self.repo.reopen()
        if (seen[0] != self._seen[0] or now >= self._scan_at) and self.sync_index():
            self._seen = (self._signs()[0], self._seen[1])
            aside: list[str] = []
            found["put_back"], found["grown"] = self._scan(aside)
            found["aside"] = aside
            ended = time.monotonic()
            self._scan_at = ended + max(_SCAN_EVERY, (ended - now) * _SCAN_SHARE)
        return found

    def _scan(self, aside: list[str]) -> tuple[list[str], list[str]]:
        """Put back the daemon's files that somebody changed, removed or unstaged; say which journals the scribe is to
        look at, who alone knows how far they go."""
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
        """What changes when git writes the index, and when it packs or prunes."""
        return tuple(stamp(self.root / ".git" / name) for name in ("index", "objects/pack"))  # type: ignore[return-value]

    def blob_id(self, path: str) -> dict[str, str | None]:
        """The blob ids of a file in the work tree and in the branch."""
        there, head = files.there(self.root, path), self.repo.refs.head()
        found = self.repo.find(head, path) if head is not None else None
        return {
            "work": files.blob_id(there) if there is not None else None,
            "head": found.id if found is not None else None,
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
    """What the worker answers."""
    repo = worker.repo
    return {
        "commit": worker.commit,
        "hold": lambda: {"held": hold.check(worker.root)},
        "tip": lambda: backup.tip(repo),
        "plan": lambda **asked: backup.plan(repo, **asked).view(),
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
        "log": lambda **asked: history.log(repo, **asked),
        "read": lambda rev, path: history.read(repo, rev=rev, path=path),
        "show_tree": lambda **asked: history.show_tree(repo, **asked),
        "resolve": lambda rev: history.resolve(repo, rev=rev),
        "marks": lambda **asked: history.marks(repo, **asked),
        "covering": lambda **asked: history.covering(repo, **asked),
        "described": lambda commits: history.described(repo, commits=commits),
        "find": lambda **asked: history.find(repo, **asked),
        "tags": lambda **asked: tags.changed(repo, **asked),
        "tag_object": lambda name: tags.object_of(repo, name=name),
        "tag": lambda name: tags.described(repo, name=name),
        "make_tag": lambda **asked: tags.make(repo, **asked),
        "files": lambda rev, path: tags.files(repo, rev=rev, path=path),
        "left_out": lambda paths: staging.left_out(worker.root, paths),
        "folder": lambda **asked: tags.folder(repo, **asked),
        "blame": lambda **asked: tags.blame(repo, **asked),
        "changed_since": lambda commit: history.changed_since(repo, commit=commit),
    }


def main() -> None:
    """Serve the state root that is the one argument."""
    root = Path(sys.argv[1])
    parent = pipes.Parent()
    with lock.worker_lock(root):
        watch = stuck.Watch(root, "worker")
        if watch.said:
            sys.stderr.write(f"the git worker was stuck, and looks for damaged objects:\n{watch.said}\n")
            outage.expect(root)
        worker = Worker(root)
        worker.start()
        pipes.serve(handlers(worker), parent=parent, idle=worker.idle, wind=watch.wind)
        worker.sync_index()


if __name__ == "__main__":
    main()
