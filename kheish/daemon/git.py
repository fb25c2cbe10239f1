"""Questions to the git worker, as sent by the API and by the adoption of Definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kheish.errors import NotFound
from kheish.store.pipes import Child, ChildGone, unpack

#: the daemon's last commit; a fresh clone has only the branch
LAST = ("refs/kheish/last", "HEAD")


class Git:
    """Reads the repository in the worker process."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def log(self, limit: int, *, path: str | None = None, rev: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the commits that changed `path`, newest first, from `rev` on. Raises NotFound."""
        found: list[dict[str, Any]] = await self._child.request(
            "log", limit=limit, paths=[path] if path else [], rev=rev
        )
        return found

    async def head(self) -> Mapping[str, Any]:
        """Return the commits of the branch and of the daemon."""
        found: dict[str, Any] = await self._child.request("head")
        return found

    async def held(self) -> str | None:
        """Return the reason for a hold (a user's git process is active); None without one."""
        try:
            found: str | None = (await self._child.request("hold"))["held"]
        except ChildGone as gone:
            return gone.detail
        return found

    async def committed(self, path: str) -> bytes | None:
        """Return a file of the daemon's last commit; None if it is missing."""
        for rev in LAST:
            try:
                found = await self._child.request("read", rev=rev, path=path)
            except NotFound:
                continue
            return found["text"].encode() if "text" in found else unpack(found["content"])
        return None

    async def left_out(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """Return the files that git leaves out of the work tree (a sparse checkout), as the last commit has them."""
        wanted = sorted(paths)
        names = await self._child.request("left_out", paths=wanted) if wanted else []
        return {path: raw for path in names if (raw := await self.committed(path)) is not None}

    async def brought(self, blobs: Mapping[str, str]) -> Sequence[str]:
        """Return the paths whose content a checkout, merge or pull wrote (`store.git.provenance`)."""
        found: list[str] = await self._child.request("brought", blobs=dict(blobs))
        return found

    async def blobs(self, folder: str) -> Mapping[str, str]:
        """Return the files below a folder of the branch, each with its blob id."""
        found: dict[str, str] = await self._child.request("blobs", folder=folder)
        return found

    async def listed(self, folder: str) -> Sequence[str]:
        """List the files in and below a folder of the daemon's last commit, by their paths from there.

        Of the top folder, files below it are left out. Returns none if the commit has no such folder.
        """
        for rev in LAST:
            try:
                if folder:
                    below: list[str] = await self._child.request("files", rev=rev, path=folder)
                    return [path.removeprefix(f"{folder}/") for path in below]
                found = await self._child.request("show_tree", rev=rev, path=folder)
            except NotFound:
                continue
            return [entry["name"] for entry in found if entry["kind"] == "blob"]
        return ()
