"""Names of models: a persona and a route. `kheish/reviewer@local` is the persona `reviewer` on the route `local`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kheish import ids
from kheish.client import requests
from kheish.errors import Forbidden, NotFound
from kheish.protocols.access import Access

NAME = "kheish"
#: personas and routes that a list combines
_MOST = 100


@dataclass(frozen=True, slots=True)
class Name:
    """A persona (None: the standard instructions) on a route (None: the daemon's default), `route/model` included."""

    persona: str | None = None
    route: str | None = None

    def __str__(self) -> str:
        return f"{NAME}{f'/{self.persona}' if self.persona else ''}{f'@{self.route}' if self.route else ''}"


def parse(text: str) -> Name:
    """Return the persona and route of a model's name. Raises NotFound."""
    who, _, route = text.partition("@")
    noun, _, persona = who.partition("/")
    parts = [part for part in (persona, route.partition("/")[0]) if part]
    if noun != NAME or not all(map(ids.is_slug, parts)) or text.endswith(("@", "/")):
        raise NotFound(
            f"There is no model {text[:100]!r}. A model is kheish, kheish@ROUTE, kheish/PERSONA or "
            "kheish/PERSONA@ROUTE; GET /openai/v1/models lists them."
        )
    return Name(persona or None, route or None)


async def listed(access: Access) -> list[str]:
    """Return the names of all models: each persona on each route that is ready. A token for some sessions may not list
    these, and gets the default one. Raises KheishError."""
    try:
        report: Any = await access.send(requests.runtime())
    except Forbidden:
        return [NAME]
    page: Any = await access.send(requests.list_definitions("personas", limit=_MOST))
    routes = [one["id"] for one in report["routes"] if one["status"] == "ready"][:_MOST]
    personas = [None, *(one["id"] for one in page["items"])]
    return [str(Name(persona, route)) for persona in personas for route in routes]
