"""The worker's side of a copied workspace: its depot, its folder, and the runs that hold it.

A folder stands for one workspace of one daemon. While a run holds it, no other run's start replaces its files, and it
is not removed.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from kheish import ids
from kheish.errors import Conflict, Invalid, NotFound
from kheish.runtime.workers.depot import MOST_PACK, Depot
from kheish.runtime.workers.far import parts
from kheish.store.files import remove_tree

_PART = 4 * 1024 * 1024
_TIP = "tip"  # the commit that both sides have
_REMOVING = ".removing"


def _depots(root: Path, home: str) -> Path:
    return root / home / "depots"


def _folders(root: Path, home: str) -> Path:
    return root.parent / "workspaces" / f"worker-{home}"


class Copy:
    """The copy of one workspace. Every method blocks."""

    def __init__(self, root: Path, home: str, key: str) -> None:
        if not (ids.is_slug(key) and ids.is_slug(home)):
            raise Invalid(f"{key[:60]!r} is no name of a workspace.")
        self.depot = Depot(_depots(root, home) / f"{key}.git")
        self.folder = _folders(root, home) / key
        self._holders = self.depot.path / "holders.json"

    def open(self) -> Mapping[str, Any]:
        """Return the tip, whether the folder exists, and the runs that hold it."""
        self.depot.ensure()
        return {"tip": self.depot.kept(_TIP), "holders": self._held(), "is_there": self.folder.is_dir()}

    def put(self, name: str, offset: int, data: bytes) -> Mapping[str, Any]:
        """Store a part of a pack that arrives."""
        too_large = f"The workspace is too large: more than {MOST_PACK} bytes are new in it."
        parts.put(self._file("incoming", name), offset, data, most=MOST_PACK, too_large=too_large)
        return {}

    def place(self, commit: str, pack: str | None, run: str, ended: list[str]) -> Mapping[str, Any]:
        """Take in a pack, write the files of a commit unless another run holds the folder, and hold it.

        Raises Conflict if the pack it needs did not come.
        """
        if pack is not None:
            self.depot.take(self._file("incoming", pack))
        holders = [one for one in self._held() if one not in ended]
        if [one for one in holders if one != run]:
            self._hold([*holders, run])
            return {"base": self.depot.kept(_TIP), "folder": str(self.folder)}
        if not self.depot.has(commit):
            raise Conflict("The worker lacks the commits that the workspace begins with.")
        self.depot.checkout(commit, self.folder)
        self.depot.keep(_TIP, commit)
        self._hold([run])
        return {"base": commit, "folder": str(self.folder)}

    def result(self) -> Mapping[str, Any]:
        """Return the folder's commit after the tip, and the pack of what is new in it."""
        tip = self.depot.kept(_TIP) if self.depot.path.is_dir() and self.folder.is_dir() else None
        if tip is None:
            raise NotFound(
                "The worker has no copy of this workspace any more: what runs changed there since their last return is "
                "lost. A new run brings the workspace there again."
            )
        commit = self.depot.snapshot(self.folder, tip)
        pack = self.depot.pack(commit, tip) if commit != tip else None
        found = {"pack": pack.name, "bytes": pack.stat().st_size} if pack is not None else {"pack": None, "bytes": 0}
        return {"tip": tip, "commit": commit, "tree": self.depot.tree_of(commit), **found}

    def get(self, name: str, offset: int) -> Mapping[str, Any]:
        """Return a part of a pack."""
        with self._file("outgoing", name).open("rb") as file:
            file.seek(offset)
            return {"bytes": b64encode(file.read(_PART)).decode()}

    def settle(self, commit: str, pack: str | None, run: str | None) -> Mapping[str, Any]:
        """Note that the daemon has a result; `run` holds the folder no longer."""
        if pack is not None:
            self._file("outgoing", pack).unlink(missing_ok=True)
        self.depot.keep(_TIP, commit)
        self._hold([one for one in self._held() if one != run])
        return {}

    def drop(self, ended: list[str]) -> Mapping[str, Any]:
        """Remove the copy. Raises Conflict while a run holds it that is not among the ended ones."""
        if held := [one for one in self._held() if one not in ended]:
            raise Conflict(f"The copy of the workspace is in use: {', '.join(held)}.")
        for path in (self.folder, self.depot.path):  # a depot without its folder is still right
            aside = path.with_name(f".{path.name}{_REMOVING}")
            if path.is_dir():
                remove_tree(aside)  # of a removal that was cut off
                path.rename(aside)
            remove_tree(aside)
        return {}

    def _describe(self) -> Mapping[str, Any]:
        used = next((path for path in (self._holders, self.depot.path) if path.exists()), None)
        idle = time.time() - used.stat().st_mtime if used is not None else 0.0
        return {"key": self.depot.path.stem, "holders": self._held(), "idle": max(0.0, idle)}

    @classmethod
    def listed(cls, root: Path, home: str) -> Mapping[str, Any]:
        """Return the copies of a daemon: the key of each, the runs that hold it, and the seconds since its last use."""
        if not ids.is_slug(home):
            raise Invalid(f"{home[:60]!r} is no name of a state root.")
        for aside in [*_depots(root, home).glob(f".*{_REMOVING}"), *_folders(root, home).glob(f".*{_REMOVING}")]:
            remove_tree(aside)
        return {"copies": [cls(root, home, path.stem)._describe() for path in _depots(root, home).glob("*.git")]}

    def _file(self, room: str, name: str) -> Path:
        if not ids.is_slug(name):
            raise Invalid(f"{name[:60]!r} is no name of a pack.")
        return self.depot.path / room / name

    def _held(self) -> list[str]:
        try:
            found = orjson.loads(self._holders.read_bytes())
        except (FileNotFoundError, ValueError):
            return []
        return [str(one) for one in found]

    def _hold(self, runs: list[str]) -> None:
        temporary = self._holders.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps(sorted(set(runs))))
        temporary.replace(self._holders)


def act(root: Path, home: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one step of the carrying of a workspace."""
    if args["step"] == "list":
        return Copy.listed(root, home)
    copy, pack = Copy(root, home, str(args["key"])), args.get("pack")
    match args["step"]:
        case "open":
            return copy.open()
        case "put":
            return copy.put(str(pack), int(args["offset"]), b64decode(str(args["bytes"]), validate=True))
        case "place":
            return copy.place(str(args["commit"]), pack, str(args["run"]), [str(one) for one in args["ended"]])
        case "result":
            return copy.result()
        case "get":
            return copy.get(str(pack), int(args["offset"]))
        case "settle":
            return copy.settle(str(args["commit"]), pack, args.get("run"))
        case "drop":
            return copy.drop([str(one) for one in args["ended"]])
    raise Invalid(f"There is no step {args['step']!r}.")


async def workspace(root: Path, home: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one step in a thread."""
    return await asyncio.to_thread(act, root, home, args)
