"""The worker's side of a copied workspace: its depot, its folder, and the runs that hold it.

A folder stands for one workspace of one daemon. While a run holds it, no other run's start replaces its files.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from kheish import ids
from kheish.errors import Conflict, Invalid, NotFound
from kheish.runtime.workers.depot import MOST_PACK, Depot

_PART = 4 * 1024 * 1024
_TIP = "tip"  # the commit that both sides have


class Copy:
    """The copy of one workspace. Every method blocks."""

    def __init__(self, root: Path, home: str, key: str) -> None:
        if not (ids.is_slug(key) and ids.is_slug(home)):
            raise Invalid(f"{key[:60]!r} is no name of a workspace.")
        self.depot = Depot(root / home / "depots" / f"{key}.git")
        self.folder = root.parent / "workspaces" / f"worker-{home}" / key
        self._holders = self.depot.path / "holders.json"

    def open(self) -> Mapping[str, Any]:
        """Return the tip, and the runs that hold the folder."""
        self.depot.ensure()
        return {"tip": self.depot.kept(_TIP), "holders": self._held(), "folder": str(self.folder)}

    def put(self, name: str, offset: int, data: bytes) -> Mapping[str, Any]:
        """Store a part of a pack that arrives."""
        path = self._file("incoming", name)
        if offset + len(data) > MOST_PACK:
            raise Invalid(f"The workspace is too large: more than {MOST_PACK} bytes are new in it.")
        with path.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.truncate()
            file.write(data)
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
    raise Invalid(f"There is no step {args['step']!r}.")


async def workspace(root: Path, home: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one step in a thread."""
    return await asyncio.to_thread(act, root, home, args)
