"""Versions of Playbooks by HTTP: list, show, publish, release."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import at_revision
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Reason
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.domain.events.playbooks import EvidenceRef
from kheish.domain.flows.status import LIVE
from kheish.domain.playbooks import trust, versions as playbooks
from kheish.domain.playbooks.versions import Released
from kheish.errors import NotFound, VersionTampered
from kheish.state.state import State
from kheish.store.log.pages import Page

LIST = (*paging.PAGE, Param(name="state", about="Only versions in this state."), at_revision.AT)
_HIDDEN = ("made", "tag_id", "released_state", "cancel_flows")
Shown = Literal["published", "verified", "canary", "active", "revoked", "tampered"]


class ReleaseEvidence(Answer):
    """Evidence that a version is fit for use."""

    kind: str
    id: str
    description: str | None
    by: str
    """The author of the evidence."""
    at: str | None
    facts: dict[str, Any]
    """The referenced object's state at that time."""


class Version(Answer):
    """A version of a Playbook: an annotated tag, and its release state."""

    playbook_id: str
    version: str
    state: Shown
    digest: str
    """sha256 over the canonical manifest and the files beside it."""
    tag: str
    commit: str
    """The commit that the tag is on; it holds the manifest."""
    published_by: str
    published_at: str
    percent: float | None
    """For a canary: the percentage of the starts without a version that it gets."""
    manifest: dict[str, Any] | None
    """The manifest from the tag's tree; null in lists, and if the tag is tampered with."""
    title: str
    notes: str | None
    evidence: list[ReleaseEvidence]
    reason: str | None
    """The reason for its state, if given."""
    tampered: str | None
    """The problem with its tag."""
    via: Literal["api", "git"]
    """The way of its publication: through the daemon, or by a tag made with git."""
    files: dict[str, str] | None = None
    """The files beside the manifest, with their sha256; only for a single version."""
    commands: list[str] | None = None
    """The calls that its Flows run without approval after its release; only for a single version."""
    live_flows: int | None = None
    """After a revocation: its Flows that had not ended."""
    n: int


class PublishPlaybook(Body):
    """A request to publish the draft as a version."""

    version: Annotated[str, Field(min_length=1, max_length=100)]
    """A semantic version, such as 1.2.0."""
    notes: Annotated[str, Field(max_length=20_000)] | None = None
    """The changes and their reason, for the tag's message."""


class GivenEvidence(Body):
    """A reference to evidence that a version is fit for use."""

    kind: Annotated[str, Field(min_length=1, max_length=64)]
    """run, tool_call, task, approval, question, output, asset, commit, file, agent; or attestation."""
    id: Annotated[str, Field(min_length=1, max_length=500)]
    """Its id; for an attestation, the person who attests."""
    description: Annotated[str, Field(max_length=4000)] | None = None
    """The claim that it supports."""


class ReleasePlaybook(Body):
    """A request to move a version to another state."""

    state: Literal["published", "verified", "canary", "active", "revoked"]
    """published → verified → canary → active → revoked; back to verified from canary and active."""
    evidence: list[GivenEvidence] = Field(default_factory=list, max_length=100)
    """Evidence of fitness; needed once, to become verified."""
    percent: float | None = None
    """For a canary: the percentage of the starts without a version that it gets."""
    reason: Reason | None = None
    """The reason; it is kept."""
    cancel_flows: bool = False
    """With revoked: also cancel its running Flows."""


class Playbooks:
    """The resource of `/v1/playbooks/{id}/versions`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_versions(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of versions, newest first."""
        ids.check_slug(id, "id")
        given = req.context.query
        if rev := given.get("at"):
            moment = await self._services.past.resolve(rev)
            versions = await self._services.playbooks.at(id, moment.n)
            resp.set_header(at_revision.COMMIT, moment.commit)
            items = [_view(one) for one in reversed(versions) if given.get("state") in (None, one.shown_state)]
            return media.send(resp, media.page(items, None))
        page = await listed(self._state, given, id)
        if not page.items and given.get("cursor") is None and "state" not in given:
            self._state.definitions.get("playbooks", id)  # raises NotFound if it never existed
        return media.send(resp, media.page([_shown(doc) for doc in page.items], page.next_cursor))

    async def get_version(self, req: Request, resp: Response, id: str, version: str) -> None:
        """Answer with one version and its manifest; with `Accept: application/yaml` the manifest byte for byte."""
        ids.check_slug(id, "id")
        if rev := req.context.query.get("at"):
            moment = await self._services.past.resolve(rev)
            then = [one for one in await self._services.playbooks.at(id, moment.n) if one.version == version]
            if not then:
                raise NotFound(f"There was no version {id}@{version} at {rev} (commit {moment.commit[:12]}).")
            resp.set_header(at_revision.COMMIT, moment.commit)
            released = await self._read(id, version)
            return media.send(resp, _full_view(then[0], released))
        released = await self._read(id, version)
        if media.wants_text(req):
            if released is None:
                await self._services.playbooks.read(id, version)  # raises
                return None
            resp.content_type = f"{media.YAML}; charset=utf-8"
            resp.data = released.raw
            return None
        one = released.version if released else await self._services.playbooks.version(id, version)
        return media.send(resp, _full_view(one, released))

    async def publish_playbook(self, req: Request, resp: Response, id: str) -> None:
        """Publish the draft (201); the same content under the same version changes nothing (200)."""
        ids.check_slug(id, "id")
        body = await media.read(req, PublishPlaybook)
        _, made = await self._services.playbooks.publish(id, body.version, notes=body.notes, by=req.context.principal)
        n = self._state.n
        released = await self._services.playbooks.read(id, body.version)
        media.send(resp, _full_view(released.version, released), n=n)
        resp.status = 201 if made else 200
        resp.set_header("Location", f"/v1/playbooks/{id}/versions/{body.version}")

    async def release_version(self, req: Request, resp: Response, id: str, version: str) -> None:
        """Move a version to another state."""
        ids.check_slug(id, "id")
        body = await media.read(req, ReleasePlaybook)
        live = await self._live(id, version) if body.state == "revoked" else None  # before they are cancelled
        one = await self._services.playbooks.release(
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
        shown = _full_view(one, await self._read(id, version))
        if body.state == "revoked":
            shown["live_flows"] = live
        media.send(resp, shown, n=n)

    async def _live(self, id: str, version: str) -> int:
        """Return the number of Flows of a version that have not ended."""
        await self._state.caught_up()
        fields = {"playbook": id, "version": version}
        return await asyncio.to_thread(self._state.index.count, "flow", sorted(LIVE), fields=fields)

    async def _read(self, id: str, version: str) -> Released | None:
        """Return the content of a version; None if its tag is not the published one. Raises NotFound."""
        if not playbooks.is_version(version):
            raise NotFound(f"There is no version {version[:100]!r}: versions are three numbers, such as 1.2.0.")
        try:
            return await self._services.playbooks.read(id, version)
        except VersionTampered:
            return None


async def listed(state: State, given: Given, playbook_id: str | None) -> Page:
    """Return a page of versions from the index, of one playbook or (None) of all, newest first."""
    await state.caught_up()
    return await asyncio.to_thread(
        state.index.things,
        "version",
        limit=given.get("limit", paging.LIMIT),
        cursor=given.get("cursor"),
        session=f"{playbooks.RELEASES}/{playbook_id}" if playbook_id else None,
        statuses=(given["state"],) if "state" in given else (),
    )


def _view(one: playbooks.Version) -> dict[str, Any]:
    return _shown(playbooks.view(one))


def _shown(doc: dict[str, Any]) -> dict[str, Any]:
    of_one = dict.fromkeys(("files", "commands", "live_flows"))
    return {**{key: value for key, value in doc.items() if key not in _HIDDEN}, **of_one}


def _full_view(one: playbooks.Version, released: Released | None) -> dict[str, Any]:
    view = _view(one)
    if released is not None:
        view |= {
            "manifest": dict(released.data),
            "files": dict(released.files),
            "commands": trust.commands(released.data),
        }
    return view


MANY = "/v1/playbooks/{id}/versions"
ONE = f"{MANY}/{{version}}"
OPERATIONS = bind(
    Playbooks,
    get(
        MANY,
        Playbooks.list_versions,
        "List versions of a playbook, newest first.",
        Version,
        *LIST,
        page=True,
        problems=(404,),
    ),
    post(
        MANY,
        Playbooks.publish_playbook,
        "Publish the draft as an annotated tag (201); the same content under the same version changes nothing (200).",
        PublishPlaybook,
        Version,
        good=(201, 200),
        problems=(404, 409),
    ),
    get(
        ONE,
        Playbooks.get_version,
        "Get a version with its manifest, read from its tag's tree.",
        Version,
        at_revision.AT,
        problems=(404, 409),
        text=True,
    ),
    post(
        f"{ONE}/release",
        Playbooks.release_version,
        "Move a version to another state.",
        ReleasePlaybook,
        Version,
        problems=(404, 409),
    ),
)
