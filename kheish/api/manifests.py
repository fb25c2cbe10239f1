"""Manifests of Playbooks by HTTP: diffs between two versions, and the origin of each line."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, get
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.domain.playbooks import diff as playbook_diff, versions as playbooks
from kheish.errors import NotFound

DIFF = (
    Param(name="from", about="The version to compare; without it, the newest version."),
    Param(name="to", about="The version to compare it with; without it, the draft."),
)
BLAME = (Param(name="version", about="The version; without it, the draft as committed."),)


class Side(Answer):
    """A side of a diff: a version, or the draft (null)."""

    version: str | None
    digest: str


class FieldChange(Answer):
    """A field that differs; items that have an `id` are compared by it."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class PlaybookDiff(Answer):
    """The changes from one version to another."""

    playbook_id: str
    before: Side
    after: Side
    fields: list[FieldChange]
    text: str
    """The same as a unified diff of the files."""


class ManifestLine(Answer):
    """A line of a manifest, and the commit that wrote it."""

    line: int
    text: str
    commit: str
    author: str
    time: int
    """Seconds since 1970."""
    message: str


class Manifests:
    """The resource of `/v1/playbooks/{id}/diff` and `/blame`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def diff_playbook(self, req: Request, resp: Response, id: str) -> None:
        """Answer with the changes, by field and as text; without versions, from the newest version to the draft."""
        ids.check_slug(id, "id")
        before, after = req.context.query.get("from"), req.context.query.get("to")
        if before is None:
            before = await self._newest(id)
        old, new = await self._side(id, before), await self._side(id, after)
        names = (f"{id}@{before}", f"{id}@{after}" if after else f"{id} (draft)")
        media.send(
            resp,
            {
                "playbook_id": id,
                "before": {"version": before, "digest": old[0]},
                "after": {"version": after, "digest": new[0]},
                "fields": playbook_diff.fields(old[1], new[1]),
                "text": await asyncio.to_thread(playbook_diff.text, old[2], new[2], names),
            },
        )

    async def blame_playbook(self, req: Request, resp: Response, id: str) -> None:
        """Answer with each line of the manifest and the commit that wrote it."""
        ids.check_slug(id, "id")
        lines = await self._services.playbooks.blame(id, req.context.query.get("version"))
        media.send(resp, media.page([dict(one) for one in lines], None))

    async def _newest(self, id: str) -> str:
        await self._state.caught_up()
        session = f"{playbooks.RELEASES}/{id}"
        page = await asyncio.to_thread(self._state.index.things, "version", limit=1, session=session)
        if not page.items:
            self._state.definitions.get("playbooks", id)
            raise NotFound(f"The playbook {id!r} has no published version to compare with.")
        return str(page.items[0]["version"])

    async def _side(self, id: str, version: str | None) -> tuple[str, Any, dict[str, bytes]]:
        """Return digest, data and files of a version, or of the draft in force."""
        if version is None:
            draft, beside = await self._services.playbooks.draft(id)
            return draft.digest, draft.data, {"playbook.yaml": draft.raw, **beside}
        one = await self._services.playbooks.read(id, version)
        files = {"playbook.yaml": one.raw}
        for path in one.files:
            files[path] = await self._services.playbooks.file(one.version, path)
        return one.version.digest, one.data, files


OPERATIONS = bind(
    Manifests,
    get(
        "/v1/playbooks/{id}/diff",
        Manifests.diff_playbook,
        "Get the changes, by field and as text; without versions, from the newest version to the draft.",
        PlaybookDiff,
        *DIFF,
        problems=(404, 409),
    ),
    get(
        "/v1/playbooks/{id}/blame",
        Manifests.blame_playbook,
        "Get each line of the manifest with the commit that wrote it.",
        ManifestLine,
        *BLAME,
        page=True,
        problems=(404,),
    ),
)
