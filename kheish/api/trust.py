"""Trust by HTTP: the Playbook versions that may start commands by themselves, and the release of such a version."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.playbooks import listed
from kheish.api.services import Services
from kheish.domain.events.playbooks import EvidenceRef
from kheish.domain.playbooks import trust
from kheish.domain.playbooks import versions as playbooks
from kheish.errors import DigestConflict, Invalid, VersionTampered

LIST = (*paging.PAGE, Param(name="playbook", about="Only versions of this playbook."))


class Trusted(Answer):
    """A version of a Playbook whose Flows start commands without asking."""

    name: str
    """`id@version`."""
    kind: Literal["playbook"]
    state: trust.Trust
    """`waiting`: none of its commands start until an admin trusts it."""
    digest: str
    commands: list[str] | None
    """The command lines; null if its tag is tampered with."""
    published_by: str
    via: Literal["api", "git"]
    trusted_by: str | None
    trusted_at: str | None
    reason: str | None
    n: int


class Trust(Body):
    """A request to trust the commands of a version."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """`id@version`."""
    digest: Annotated[str, Field(min_length=8, max_length=64)]
    """The digest of the reviewed content (a prefix is enough); another digest is refused."""


class Trusting:
    """The resource of `/v1/trust`."""

    def __init__(self, services: Services) -> None:
        self._playbooks = services.playbooks
        self._state = services.state

    async def list_trust(self, req: Request, resp: Response) -> None:
        """Answer with a page of versions, newest first.

        Versions without commands are skipped, so that a page may be short.
        """
        given = req.context.query
        page = await listed(self._state, given, given.get("playbook"))
        shown = [await self._shown(doc["playbook_id"], doc["version"]) for doc in page.items]
        media.send(resp, media.page([one for one in shown if one["commands"] != []], page.next_cursor))

    async def get_trust(self, req: Request, resp: Response, name: str) -> None:
        """Answer with one version, with or without commands."""
        media.send(resp, await self._shown(*_split(name)))

    async def trust(self, req: Request, resp: Response) -> None:
        """Release a published version on the caller's authority; a trusted version remains unchanged."""
        body = await media.read(req, Trust)
        id, version = _split(body.name)
        one = await self._playbooks.version(id, version)
        if not one.digest.startswith(body.digest):
            raise DigestConflict(
                f"{body.name} has the digest {one.digest[:12]}, and not {body.digest[:12]}: review it again, then "
                "trust its current content (kheish trust)."
            )
        if trust.of(one) != "trusted":
            by = req.context.principal
            attestation = EvidenceRef(
                kind="attestation", id=by, description=f"trusts the commands of {one.digest[:12]}"
            )
            await self._playbooks.release(id, version, "verified", by=by, evidence=[attestation])
        media.send(resp, await self._shown(id, version), n=self._state.n)

    async def _shown(self, id: str, version: str) -> dict[str, Any]:
        try:
            released = await self._playbooks.read(id, version)
        except VersionTampered:
            return trust.view(await self._playbooks.version(id, version), None)
        return trust.view(released.version, released.data)


def _split(name: str) -> tuple[str, str]:
    id, _, version = name.partition("@")
    if not playbooks.is_version(version):
        raise Invalid(f"{name!r} names no version; write ID@VERSION, such as triage@1.0.0.")
    return id, version


OPERATIONS = bind(
    Trusting,
    get(
        "/v1/trust",
        Trusting.list_trust,
        "List versions of playbooks that start commands by themselves, newest first, with their trust.",
        Trusted,
        *LIST,
        page=True,
    ),
    get(
        "/v1/trust/{name}",
        Trusting.get_trust,
        "Get one version with its trust.",
        Trusted,
        problems=(404,),
    ),
    post(
        "/v1/trust",
        Trusting.trust,
        "Let a version start its commands after their review: it becomes verified on the caller's authority.",
        Trust,
        Trusted,
        problems=(404, 409),
    ),
)
