"""Versions of Playbooks by HTTP: list, show, publish, release, diff, blame."""

from __future__ import annotations

import asyncio
from typing import Any

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import at_revision, models
from kheish.api.http import media, paging
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.domain import playbook_diff, playbooks, trust
from kheish.domain.event_playbooks import EvidenceRef
from kheish.domain.flow_status import LIVE
from kheish.domain.playbooks import Released, Version
from kheish.domain.state import State
from kheish.errors import NotFound, VersionTampered
from kheish.store.index import Page

LIST = (*paging.PAGE, Param(name="state", about="Only versions in this state."), at_revision.AT)
DIFF = (
    Param(name="from", about="The version to compare; without it, the newest one."),
    Param(name="to", about="The version to compare it with; without it, the draft."),
)
BLAME = (Param(name="version", about="Of this version; without it, of the draft as it is committed."),)
_HIDDEN = ("made", "tag_id", "released_state", "cancel_flows")


class Playbooks:
    """`/v1/playbooks/{id}/versions`, `…/diff` and `…/blame`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._state = parts.state

    async def on_get(self, req: Request, resp: Response, id: str) -> None:
        """A page of versions, newest first."""
        ids.check_slug(id, "id")
        given = req.context.query
        if rev := given.get("at"):
            moment = await self._parts.past.resolve(rev)
            found = await self._parts.playbooks.at(id, moment.n)
            resp.set_header(at_revision.COMMIT, moment.commit)
            items = [_view(one) for one in reversed(found) if given.get("state") in (None, one.shown_state)]
            return media.send(resp, media.page(items, None))
        page = await listed(self._state, given, id)
        if not page.items and given.get("cursor") is None and "state" not in given:
            self._state.definitions.get("playbooks", id)  # raises: there never was one
        return media.send(resp, media.page([_shown(doc) for doc in page.items], page.next_cursor))

    async def on_get_one(self, req: Request, resp: Response, id: str, version: str) -> None:
        """One version with its manifest; with `Accept: application/yaml` the manifest byte for byte."""
        ids.check_slug(id, "id")
        if rev := req.context.query.get("at"):
            moment = await self._parts.past.resolve(rev)
            then = [one for one in await self._parts.playbooks.at(id, moment.n) if one.version == version]
            if not then:
                raise NotFound(f"There was no version {id}@{version} at {rev} (commit {moment.commit[:12]}).")
            resp.set_header(at_revision.COMMIT, moment.commit)
            released = await self._read(id, version)
            return media.send(resp, _whole(then[0], released))
        released = await self._read(id, version)
        if media.wants_text(req):
            if released is None:
                await self._parts.playbooks.read(id, version)  # raises
                return None
            resp.content_type = f"{media.YAML}; charset=utf-8"
            resp.data = released.raw
            return None
        one = released.version if released else await self._parts.playbooks.version(id, version)
        return media.send(resp, _whole(one, released))

    async def on_post(self, req: Request, resp: Response, id: str) -> None:
        """Publish the draft (201); the same content under the same version changes nothing (200)."""
        ids.check_slug(id, "id")
        body = await media.read(req, models.PublishPlaybook)
        _, made = await self._parts.playbooks.publish(id, body.version, notes=body.notes, by=req.context.principal)
        n = self._state.n
        released = await self._parts.playbooks.read(id, body.version)
        media.send(resp, _whole(released.version, released), n=n)
        resp.status = 201 if made else 200
        resp.set_header("Location", f"/v1/playbooks/{id}/versions/{body.version}")

    async def on_post_release(self, req: Request, resp: Response, id: str, version: str) -> None:
        """Move a version to another state."""
        ids.check_slug(id, "id")
        body = await media.read(req, models.ReleasePlaybook)
        live = await self._live(id, version) if body.state == "revoked" else None  # before they are cancelled
        one = await self._parts.playbooks.release(
            id,
            version,
            body.state,
            by=req.context.principal,
            percent=body.percent,
            evidence=[EvidenceRef(kind=ref.kind, id=ref.id, description=ref.description) for ref in body.evidence],
            reason=body.reason,
            cancel_flows=body.cancel_flows,
        )
        n = self._state.n
        shown = _whole(one, await self._read(id, version))
        if body.state == "revoked":
            shown["live_flows"] = live
        media.send(resp, shown, n=n)

    async def _live(self, id: str, version: str) -> int:
        """How many Flows of a version have not ended."""
        await self._state.caught_up()
        fields = {"playbook": id, "version": version}
        return await asyncio.to_thread(self._state.index.count, "flow", sorted(LIVE), fields=fields)

    async def on_get_diff(self, req: Request, resp: Response, id: str) -> None:
        """What changed, by field and as text; without versions, from the newest one to the draft."""
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

    async def on_get_blame(self, req: Request, resp: Response, id: str) -> None:
        """Each line of the manifest with the commit that it is from."""
        ids.check_slug(id, "id")
        found = await self._parts.playbooks.blame(id, req.context.query.get("version"))
        media.send(resp, media.page([dict(one) for one in found], None))

    async def _newest(self, id: str) -> str:
        await self._state.caught_up()
        session = f"{playbooks.RELEASES}/{id}"
        page = await asyncio.to_thread(self._state.index.things, "version", limit=1, session=session)
        if not page.items:
            self._state.definitions.get("playbooks", id)
            raise NotFound(f"Nothing of the playbook {id!r} is published yet, so there is nothing to compare with.")
        return str(page.items[0]["version"])

    async def _side(self, id: str, version: str | None) -> tuple[str, Any, dict[str, bytes]]:
        """Digest, data and files of a version, or of the draft in force."""
        if version is None:
            draft, beside = await self._parts.playbooks.draft(id)
            return draft.digest, draft.data, {"playbook.yaml": draft.raw, **beside}
        one = await self._parts.playbooks.read(id, version)
        files = {"playbook.yaml": one.raw}
        for path in one.files:
            files[path] = await self._parts.playbooks.file(one.version, path)
        return one.version.digest, one.data, files

    async def _read(self, id: str, version: str) -> Released | None:
        """What a version says; None where its tag is not what was published. Raises NotFound."""
        if not playbooks.is_version(version):
            raise NotFound(f"There is no version {version[:100]!r}: versions are three numbers, such as 1.2.0.")
        try:
            return await self._parts.playbooks.read(id, version)
        except VersionTampered:
            return None


async def listed(state: State, given: Given, playbook_id: str | None) -> Page:
    """A page of versions as the index has them, of one playbook or (None) of all, newest first."""
    await state.caught_up()
    return await asyncio.to_thread(
        state.index.things,
        "version",
        limit=given.get("limit", paging.LIMIT),
        cursor=given.get("cursor"),
        session=f"{playbooks.RELEASES}/{playbook_id}" if playbook_id else None,
        statuses=(given["state"],) if "state" in given else (),
    )


def _view(one: Version) -> dict[str, Any]:
    return _shown(playbooks.view(one))


def _shown(doc: dict[str, Any]) -> dict[str, Any]:
    of_one = dict.fromkeys(("files", "commands", "live_flows"))
    return {**{key: value for key, value in doc.items() if key not in _HIDDEN}, **of_one}


def _whole(one: Version, released: Released | None) -> dict[str, Any]:
    found = _view(one)
    if released is not None:
        found |= {
            "manifest": dict(released.data),
            "files": dict(released.files),
            "commands": trust.commands(released.data),
        }
    return found
