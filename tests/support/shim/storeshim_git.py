"""The part of the shim that is under pygit2: objects, references, the index. In the git worker alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygit2
from pygit2.transaction import ReferenceTransaction

if TYPE_CHECKING:
    from storeshim import Shim


def install(shim: Shim) -> None:
    """Wrap what the store uses of pygit2."""
    _objects(shim)
    _references(shim)
    _index(shim)


def _content(shim: Shim, path: str) -> str | None:
    found = Path(shim.root, path)
    return base64.b64encode(found.read_bytes()).decode() if found.is_file() else None


def _made(shim: Shim, op: str, act: Any) -> Any:
    """An object is made: its place is known only afterwards."""
    made: list[str] = []

    def remembered() -> Any:
        id = act()
        made.append(f".git/objects/{str(id)[:2]}/{str(id)[2:]}")
        return id

    said = {"at": lambda: made[0], "data": lambda: _content(shim, made[0])}
    return shim.do(op, ".git/objects", remembered, facts=lambda: said)


class _Builder:
    """A TreeBuilder, which is a type that cannot be changed."""

    def __init__(self, shim: Shim, inner: Any) -> None:
        self._shim, self._inner = shim, inner

    def __len__(self) -> int:
        return len(self._inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self) -> Any:
        return _made(self._shim, "tree", self._inner.write)


def _objects(shim: Shim) -> None:
    blob, builder, commit = (
        pygit2.Repository.create_blob,
        pygit2.Repository.TreeBuilder,
        pygit2.Repository.create_commit,
    )
    kind: Any = pygit2.Repository
    kind.create_blob = lambda self, data: _made(shim, "blob", lambda: blob(self, data))
    kind.create_commit = lambda self, *words, **more: _made(shim, "commit", lambda: commit(self, *words, **more))
    kind.TreeBuilder = lambda self, *words: _Builder(shim, builder(self, *words))


def _references(shim: Shim) -> None:
    lock_ref, set_target = ReferenceTransaction.lock_ref, ReferenceTransaction.set_target
    commit = ReferenceTransaction.commit
    targets: dict[int, dict[str, str]] = {}

    def lock(self: Any, ref: str) -> None:
        shim.do("reflock", ref, lambda: lock_ref(self, ref))

    def setting(self: Any, ref: str, target: Any, *words: Any, **more: Any) -> None:
        targets.setdefault(id(self), {})[ref] = str(target)
        set_target(self, ref, target, *words, **more)

    def committing(self: Any) -> None:
        moved = targets.pop(id(self), {})

        def first(_: int) -> None:
            (ref, target), *rest = moved.items()
            repository = self._repository
            self.__del__()  # gives the locks back
            again = ReferenceTransaction(repository)
            lock_ref(again, ref)
            set_target(again, ref, target)
            commit(again)
            for name, _ in rest:
                Path(shim.root, ".git", f"{name}.lock").touch()

        def facts() -> dict[str, Any]:
            names = [f".git/{part}{ref}" for ref in moved for part in ("", "logs/")]
            return {"files": lambda: {name: _content(shim, name) for name in names}}

        shim.do("ref", " ".join(moved), lambda: commit(self), part=first, facts=facts)

    kind: Any = ReferenceTransaction
    kind.lock_ref, kind.set_target, kind.commit = lock, setting, committing


def _index(shim: Shim) -> None:
    write = pygit2.Index.write

    def writing(self: Any) -> None:
        said = {"data": lambda: _content(shim, ".git/index")}
        shim.do("index", ".git/index", lambda: write(self), facts=lambda: said)

    kind: Any = pygit2.Index
    kind.write = writing
