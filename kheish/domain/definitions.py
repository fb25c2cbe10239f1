"""Definitions in force: what people wrote, as last found valid. Which kinds there are, and where they live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from kheish.config import Config
from kheish.domain.permissions import PermissionsFile
from kheish.domain.personas import Persona
from kheish.domain.routes import Route
from kheish.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of Definition: its folder, the file's ending, and its model. `text` marks Markdown with front matter."""

    name: str
    singular: str
    suffix: str
    model: type[BaseModel]
    text: bool = False

    def path(self, id: str) -> str:
        """Where a definition's file is, from the state root."""
        return f"{self.name}/{id}{self.suffix}"


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="routes", singular="route", suffix=".yaml", model=Route),
        Kind(name="personas", singular="persona", suffix=".md", model=Persona, text=True),
    )
}
#: the two files at the top of the tree
CONFIG = Kind(name="config", singular="config", suffix="", model=Config)
PERMISSIONS = Kind(name="permissions", singular="permissions", suffix="", model=PermissionsFile)
TOP: Mapping[str, Kind] = {"kheish.yaml": CONFIG, "permissions.yaml": PERMISSIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One valid definition: the parsed value, its plain data, and the bytes of the file."""

    kind: str
    id: str
    path: str
    value: Any
    data: Mapping[str, Any]
    raw: bytes
    digest: str


@dataclass(slots=True)
class InForce:
    """The last valid version of everything. Replaced item by item by `daemon/taking`; read by everyone."""

    by_kind: dict[str, dict[str, Definition]] = field(default_factory=lambda: {name: {} for name in KINDS})
    config: Config = field(default_factory=Config)
    permissions: PermissionsFile = field(default_factory=PermissionsFile)

    def get(self, kind: str, id: str) -> Definition:
        """Raises NotFound."""
        found = self.by_kind[kind].get(id)
        if found is None:
            raise NotFound(f"There is no {KINDS[kind].singular} {id!r}.")
        return found

    @property
    def routes(self) -> Mapping[str, Route]:
        """Routes by id."""
        return {id: definition.value for id, definition in self.by_kind["routes"].items()}
