"""The condition of what agents run with, by HTTP: routes, drivers, MCP servers, skills, packages, and slots by name.

No answer holds a value: slots appear by their names, and addresses without what could be a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from falcon.asgi import Request, Response

from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.api.skills import problems as skill_problems
from kheish.runtime.drivers import registry as drivers
from kheish.runtime.tools.installed import packages


class RuntimeRoute(Answer):
    """A route to a model."""

    id: str
    driver: str
    model: str | None
    server: str | None
    """Scheme, host and port of its server; null for the provider's own."""
    auth_ref: str | None
    status: Literal["ready", "not_ready", "paused"]
    reason: str | None
    """The reason why it is not ready."""


class RuntimeDriver(Answer):
    """A driver of model servers."""

    name: str
    loaded: bool
    """Whether it was used since the start; the others are imported when a route needs them."""


class RuntimeServer(Answer):
    """An MCP server."""

    id: str
    state: Literal["idle", "starting", "ready", "failing", "untrusted", "disabled"]
    version: str | None
    """The protocol version that both sides speak."""
    tools: int
    """The number of its tools that can be used."""
    last_error: str | None


class RuntimeSkill(Answer):
    """A skill in effect."""

    name: str
    source: Literal["state", "workspace", "folder"]


class RuntimePackage(Answer):
    """An installed package with tools."""

    entry_point: str
    tools: list[str]
    problem: str | None
    """The reason why it, or one of its tools, is left out."""


class RuntimeSlot(Answer):
    """A use of a slot."""

    slot: str
    audience: str
    status: Literal["ready", "not_ready"]
    reason: str | None


class RuntimeReport(Answer):
    """The condition of what agents run with."""

    routes: list[RuntimeRoute]
    drivers: list[RuntimeDriver]
    mcp: list[RuntimeServer]
    hooks: list[str]
    """The ids of hooks."""
    skills: list[RuntimeSkill]
    """The skills that do not depend on a workspace."""
    packages: list[RuntimePackage]
    slots: list[RuntimeSlot] | None
    """Slots by name, with their uses; null for a caller who is no admin."""


class RuntimeStatus:
    """The resource of `/v1/runtime`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def runtime(self, req: Request, resp: Response) -> None:
        """Answer with the condition of routes, drivers, servers, skills, packages and slots."""
        state, definitions = self._services.state, self._services.state.definitions
        grants = {one["audience"]: one for one in self._services.broker.grants()}
        listing = await skill_problems.listed(self._services, None)
        loaded = drivers.loaded()
        servers = [await self._server(one) for _, one in sorted(definitions.by_kind["mcp"].items())]
        doc = {
            "routes": [
                _route(id, route, grants.get(f"route:{id}"), is_paused=bool({None, id} & state.paused))
                for id, route in sorted(definitions.routes.items())
            ],
            "drivers": [{"name": name, "loaded": name in loaded} for name in sorted(drivers.DRIVERS)],
            "mcp": servers,
            "hooks": sorted(definitions.by_kind.get("hooks", {})),
            "skills": [{"name": one.name, "source": one.source} for _, one in sorted(listing.skills.items())],
            "packages": [one.view() for one in packages.loaded()],
            "slots": _slots(self._services) if req.context.caller.role == "admin" else None,
        }
        media.send(resp, doc)

    async def _server(self, definition: Any) -> dict[str, Any]:
        shown = await self._services.mcp.servers.view(definition)
        return {
            "id": definition.id,
            "state": shown["state"],
            "version": shown["negotiated"]["version"] if shown["negotiated"] else None,
            "tools": sum(one["problem"] is None for one in shown["tools"]),
            "last_error": shown["last_error"],
        }


def _route(id: str, route: Any, grant: Mapping[str, Any] | None, *, is_paused: bool) -> dict[str, Any]:
    is_ready = grant is None or grant["status"] == "ready"
    return {
        "id": id,
        "driver": route.driver,
        "model": route.model,
        "server": _server_of(route.api_base),
        "auth_ref": route.auth_ref,
        "status": "paused" if is_paused else "ready" if is_ready else "not_ready",
        "reason": grant["reason"] if grant is not None else None,
    }


def _server_of(address: str | None) -> str | None:
    """Return scheme, host and port of an address: what follows them may hold a key."""
    if address is None:
        return None
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _slots(services: Services) -> list[dict[str, Any]]:
    fields = ("slot", "audience", "status", "reason")
    return [{name: one[name] for name in fields} for one in services.broker.grants()]


OPERATIONS = bind(
    RuntimeStatus,
    get("/v1/runtime", RuntimeStatus.runtime, "Get the condition of what agents run with, redacted.", RuntimeReport),
)
