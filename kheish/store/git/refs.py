"""The refs of a state root, through pygit2: the daemon's branch and its last commit, which move together, and tags."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType, Option, ReferenceFilter

from kheish.errors import Conflict
from kheish.store import files, lock, names
from kheish.store.git.hold import BRANCH, Held

#: the daemon's last commit, even if the branch was moved
LAST = "refs/kheish/last"
DAEMON = ("Kheish daemon", "daemon@kheish.invalid")

_TAGS = "refs/tags/"


def signature(who: tuple[str, str]) -> pygit2.Signature:
    now = time.time()
    return pygit2.Signature(*who, int(now), time.localtime(now).tm_gmtoff // 60)


class Refs:
    """The daemon's branch and LAST, which move together."""

    def __init__(self, root: Path, git: pygit2.Repository) -> None:
        self._root = root
        self._git = git
        git.set_ident(*DAEMON)

    def head(self) -> str | None:
        """Return the commit of the daemon's branch."""
        return self._target(BRANCH)

    def last(self) -> str | None:
        """Return the daemon's last commit."""
        return self._target(LAST)

    def move(self, old: str | None, new: str, why: str) -> None:
        """Set branch and LAST to `new` if the branch is still at `old`. Raises Held if it is not.

        The commit must be durable (`Repo.sync`). A note records the move, so that `recover` can finish it.
        """
        note = lock.private(self._root) / f"moving.{old}.{new}"
        note.touch()
        files.fsync_folder(note.parent)
        try:
            self._set({BRANCH: new, LAST: new}, expect=old, why=why)
        finally:
            self.recover()

    def take(self, commit: str) -> None:
        """Make `commit` the last commit: a user's commit that left all of the daemon's files unchanged."""
        self._set({LAST: commit}, expect=self.head(), why="taken")

    def descends(self, commit: str, other: str) -> bool:
        """Return whether `other` is `commit` or among its ancestors."""
        return commit == other or bool(self._git.descendant_of(commit, other))

    def keep(self, ref: str, commit: str) -> None:
        """Point `ref` at a commit, so that none of it is ever pruned."""
        self._git.references.create(ref, pygit2.Oid(hex=commit))

    def tags(self, prefix: str) -> dict[str, str]:
        """Return the tags whose name begins with `prefix`, packed or loose, each with the object that it names."""
        tags = self._git.references.iterator(ReferenceFilter.TAGS)
        named = ((names.text(one.name).removeprefix(_TAGS), one) for one in tags)
        return {name: str(one.raw_target) for name, one in named if name.startswith(prefix)}

    def tag_object(self, name: str) -> str | None:
        """Return the object that a tag names, or None."""
        return self._target(f"{_TAGS}{name}")

    def tag(self, name: str, commit: str, message: str, who: tuple[str, str]) -> str:
        """Make an annotated tag, durably, and return its object's id. Raises Conflict if the name exists."""
        pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
        try:
            with lock.noted(self._root, f"{_TAGS}{name}.lock"):
                kind = ObjectType.COMMIT
                return str(self._git.create_tag(name, pygit2.Oid(hex=commit), kind, signature(who), message))
        except pygit2.AlreadyExistsError as error:
            raise Conflict(f"The tag {name} already exists.") from error
        finally:
            pygit2.option(Option.ENABLE_FSYNC_GITDIR, False)

    def recover(self) -> None:
        """Finish or discard the move during which a worker was killed."""
        for note in lock.private(self._root).glob("moving.*"):
            _, old, new = note.name.split(".")
            if new in (self.head(), self.last()) and str(self.head()) in (old, new):
                self._set({BRANCH: new, LAST: new}, expect=self.head(), why="recovered")
            note.unlink(missing_ok=True)

    def _target(self, ref: str) -> str | None:
        reference = self._git.references.get(names.disk(ref))
        return str(reference.target) if reference is not None else None

    def _set(self, targets: Mapping[str, str], *, expect: str | None, why: str) -> None:
        pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)  # of refs only: sync() syncs the objects together
        try:
            with lock.noted(self._root, *(f"{ref}.lock" for ref in targets)), self._git.transaction() as transaction:
                for ref in targets:
                    transaction.lock_ref(ref)
                if self.head() != expect:
                    raise Held("The branch was moved meanwhile.")
                for ref, target in targets.items():
                    transaction.set_target(ref, target, message=why.partition("\n")[0])
        except (pygit2.GitError, OSError) as error:
            raise Held(f"git refuses to move the branch: {error}") from error
        finally:
            pygit2.option(Option.ENABLE_FSYNC_GITDIR, False)
