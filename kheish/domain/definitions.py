"""Definitions in force: users' files in their last valid version. Lists the kinds and their folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from pydantic import BaseModel

from kheish.config import Config
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.connectors import definition as connectors
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.hooks.definition import HookFile, PromptCall, ToolCall
from kheish.domain.instructions import BasePrompt
from kheish.domain.mcp import server as mcp
from kheish.domain.mcp.server import McpServer
from kheish.domain.observations.definition import SourceFile
from kheish.domain.outputs.definition import OutputFile
from kheish.domain.permissions.decide import PermissionsFile
from kheish.domain.personas import Persona
from kheish.domain.playbooks.manifest import Playbook
from kheish.domain.projects.definition import ProjectFile
from kheish.domain.routes import Route, lacking, readiness
from kheish.domain.schedules.definition import ScheduleFile
from kheish.domain.skills.reading import parse as read_skill
from kheish.domain.skills.skill import FILE, Skill
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import NotFound
from kheish.store.edits import definitions as reading
from kheish.store.edits.definitions import Parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of Definition: its folder, file ending, and model. `text` marks Markdown with front matter.

    A kind whose ending begins with a slash has one folder per definition, and every file in it belongs to the
    definition.
    """

    name: str
    singular: str
    suffix: str
    model: type[BaseModel]
    text: bool = False
    noun: str = ""  # for texts, where it differs from `singular`
    nouns: str = ""  # the same, where it differs from `name`
    has_files: bool = False  # in a folder: whether the daemon reads the other files of the folder as well
    parse: Callable[[bytes, str], Parsed[Any]] | None = None  # a reader other than that of strict files

    def path(self, id: str) -> str:
        """Return the path of a definition's file, relative to the state root."""
        return f"{self.name}/{id}{self.suffix}"

    def read(self, raw: bytes, path: str) -> Parsed[Any]:
        """Parse a file of this kind. It may take long: call it in a thread."""
        if self.parse is not None:
            return self.parse(raw, path)
        return (reading.parse_markdown if self.text else reading.parse)(self.model, raw, path)

    @property
    def one(self) -> str:
        """Return its name in texts."""
        return self.noun or self.singular

    @property
    def many(self) -> str:
        """Return the name of several in texts."""
        return self.nouns or self.name

    @property
    def article(self) -> str:
        """Return the article of its name in texts."""
        return "an" if self.one.startswith(("M", "o")) else "a"

    @property
    def in_folder(self) -> bool:
        """Return whether each definition has its own folder."""
        return self.suffix.startswith("/")


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="routes", singular="route", suffix=".yaml", model=Route),
        Kind(name="personas", singular="persona", suffix=".md", model=Persona, text=True),
        Kind(name="skills", singular="skill", suffix=f"/{FILE}", model=Skill, text=True, parse=read_skill),
        Kind(name="playbooks", singular="playbook", suffix="/playbook.yaml", model=Playbook, has_files=True),
        Kind(name="hooks", singular="hook", suffix=".yaml", model=HookFile),
        Kind(name="schedules", singular="schedule", suffix=".yaml", model=ScheduleFile),
        Kind(name="outputs", singular="output", suffix=".yaml", model=OutputFile),
        Kind(name="connectors", singular="connector", suffix=".yaml", model=ConnectorFile),
        Kind(name="sources", singular="source", suffix=".yaml", model=SourceFile),
        Kind(name="projects", singular="project", suffix=".yaml", model=ProjectFile),
        Kind(name="channels", singular="channel", suffix=".yaml", model=ChannelFile),
        Kind(name="workers", singular="worker", suffix=".yaml", model=WorkerFile),
        Kind(
            name="mcp", singular="mcp_server", suffix=".yaml", model=McpServer, noun="MCP server", nouns="MCP servers"
        ),
    )
}
#: the files at the top of the tree
CONFIG = Kind(name="config", singular="config", suffix="", model=Config)
PERMISSIONS = Kind(name="permissions", singular="permissions", suffix="", model=PermissionsFile)
INSTRUCTIONS = Kind(name="instructions", singular="instructions", suffix="", model=BasePrompt, text=True)
TOP: Mapping[str, Kind] = {"kheish.yaml": CONFIG, "permissions.yaml": PERMISSIONS, "instructions.md": INSTRUCTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A valid definition: the parsed value, its plain data, and the bytes of the file.

    `used` is the value with the files that it names by path read in (a route's script), where that differs; `digest`
    (sha256 in hex) then covers both files.
    """

    kind: str
    id: str
    path: str
    value: Any
    data: Mapping[str, Any]
    raw: bytes
    digest: str
    used: Any = None

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots, and variables (`env:NAME`), that it uses."""
        match self.value:
            case Route(auth_ref=str() as ref):
                return (ref,)
            case McpServer() | HookFile() | ConnectorFile() as user:
                return user.slots
            case OutputFile() as sink:
                return sink.secrets
        return ()

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield the references to other definitions: the place in the document, and the other's path."""
        if self.kind == "playbooks":
            yield from playbook_references(self.data)
        match self.value:
            case Config(default_route=str() as route):
                yield ("default_route",), KINDS["routes"].path(route)
            case Persona() as persona:
                yield from _persona_references(persona)
            case HookFile(prompt=PromptCall(route=str() as route)):
                yield ("prompt", "route"), _route(route)
            case HookFile(mcp_tool=ToolCall(server=server)):
                yield ("mcp_tool", "server"), KINDS["mcp"].path(server)
            case Route(fallbacks=fallbacks):
                for at, route in enumerate(fallbacks):
                    yield ("fallbacks", at), KINDS["routes"].path(route)
            case ScheduleFile() | ProjectFile() | ConnectorFile() as named:
                for keys, kind, id in named.references():
                    yield keys, KINDS[kind].path(id)


def _persona_references(persona: Persona) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if persona.route is not None:
        yield ("route",), _route(persona.route)
    if persona.worker is not None and persona.worker.id is not None:
        yield ("worker",), KINDS["workers"].path(persona.worker.id)


def playbook_references(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the routes and personas that a manifest names; from its plain data, since an invalid manifest has no
    value."""
    roles = data.get("roles")
    places: list[tuple[tuple[str, ...], Any]] = [(("runtime", "route"), data.get("runtime"))]
    for name, role in roles.items() if isinstance(roles, Mapping) else ():
        places += [(("roles", str(name), key), role) for key in ("persona", "route")]
    for keys, holder in places:
        named = holder.get(keys[-1]) if isinstance(holder, Mapping) else None
        if isinstance(named, str) and named:
            yield keys, KINDS["personas"].path(named) if keys[-1] == "persona" else _route(named)


def _route(selector: str) -> str:
    """Return the path of the route in `route` or `route/model`."""
    return KINDS["routes"].path(selector.partition("/")[0])


@dataclass(frozen=True, slots=True)
class Observed:
    """A file as last observed: its digest (None: deleted), and its first fault."""

    digest: str | None
    error: str | None = None


@dataclass(slots=True)
class InForce:
    """The last valid version of every Definition. `replace` puts versions in force (for `authoring/adopting`)."""

    by_kind: dict[str, dict[str, Definition]] = field(default_factory=lambda: {name: {} for name in KINDS})
    config: Config = field(default_factory=Config)
    permissions: PermissionsFile = field(default_factory=PermissionsFile)
    top: dict[str, Definition] = field(default_factory=dict)  # the files of TOP, if they exist
    observed: dict[str, Observed] = field(default_factory=dict)  # by path
    managed: dict[str, str] = field(default_factory=dict)  # by path, the stack that the file belongs to
    _users: dict[str, set[str]] = field(default_factory=dict)  # by path, the files of definitions that refer to it
    _memberships: dict[str, set[tuple[str, str]]] = field(default_factory=dict)  # by session: kind and id

    def get(self, kind: str, id: str) -> Definition:
        """Return a definition. Raises NotFound."""
        definition = self.by_kind[kind].get(id)
        if definition is None:
            raise NotFound(f"There is no {KINDS[kind].one} {id!r}.")
        return definition

    @property
    def routes(self) -> Mapping[str, Route]:
        """The routes by id, with their scripts read in."""
        return {id: definition.used or definition.value for id, definition in self.by_kind["routes"].items()}

    @property
    def instructions(self) -> BasePrompt | None:
        """The operator's base prompt, if there is one."""
        found = self.top.get("instructions.md")
        return found.value if found is not None else None

    def at(self, path: str) -> Definition | None:
        """Return the definition in force whose file is at the path."""
        if path in TOP:
            return self.top.get(path)
        folder, _, name = path.partition("/")
        kind = KINDS.get(folder)
        return self.by_kind[folder].get(name.removesuffix(kind.suffix)) if kind and name.endswith(kind.suffix) else None

    def replace(self, changes: Mapping[str, Definition | None]) -> None:
        """Put definitions in force by path, and remove those that are None, in a single step."""
        unsorted = set[str]()
        for path, one in changes.items():
            old = self.at(path)
            for _, target in old.references() if old is not None else ():
                self._users.get(target, set()).discard(path)
            for _, target in one.references() if one is not None else ():
                self._users.setdefault(target, set()).add(path)
            self._note_members(old, one)
            if (either := one or old) is None:
                continue
            known, key = (self.top, path) if path in TOP else (self.by_kind[either.kind], either.id)
            if one is None:
                del known[key]
            else:
                if path not in TOP and key not in known:
                    unsorted.add(one.kind)
                known[key] = one
        for kind in unsorted:
            self.by_kind[kind] = dict(sorted(self.by_kind[kind].items()))

    def _note_members(self, old: Definition | None, new: Definition | None) -> None:
        for one in (old, new):
            if one is None or not isinstance(one.value, ProjectFile | ChannelFile):
                continue
            for session_id in one.value.sessions:
                of_session = self._memberships.setdefault(session_id, set())
                (of_session.add if one is new else of_session.discard)((one.kind, one.id))

    def projects_of(self, session_id: str) -> tuple[str, ...]:
        """Return the projects that a session is a member of, by id."""
        return tuple(sorted(id for kind, id in self._memberships.get(session_id, ()) if kind == "projects"))

    def channels_of(self, session_id: str) -> tuple[str, ...]:
        """Return the channels whose files name a session as a member, by id."""
        return tuple(sorted(id for kind, id in self._memberships.get(session_id, ()) if kind == "channels"))

    def all(self) -> Iterator[Definition]:
        """Yield every definition in force."""
        return chain(self.top.values(), *(known.values() for known in self.by_kind.values()))

    def bindings(self, path: str) -> list[str]:
        """Return the files of definitions that refer to this path. Sessions do not count: that would need reading them
        all."""
        return sorted(self._users.get(path, ()))

    def status(
        self,
        definition: Definition,
        environ: Mapping[str, str],
        slots: Mapping[str, str | None],
    ) -> dict[str, Any]:
        """Return `{state, last_error, observed_digest, bindings}`; state is ready | not_ready | invalid | deleted.

        invalid: the file has errors. deleted: the file is gone, but others refer to it. In both states the last valid
        version is in force. not_ready: the file is valid, but a credential is missing.
        """
        seen = self.observed.get(definition.path, Observed(definition.digest))
        missing = _missing(definition, environ, slots)
        state = "not_ready" if missing else "ready"
        if seen.error is not None:
            state = "deleted" if seen.digest is None else "invalid"
        return {
            "state": state,
            "last_error": seen.error or missing,
            "observed_digest": seen.digest,
            "bindings": self.bindings(definition.path),
        }


def _missing(definition: Definition, environ: Mapping[str, str], slots: Mapping[str, str | None]) -> str | None:
    """Return the reason why a Definition lacks a credential; None if it lacks none."""
    match definition.value:
        case Route() as route:
            return readiness(definition.id, route, environ, slots)
        case McpServer() as server:
            return mcp.readiness(definition.id, server, environ, slots)
        case HookFile() | OutputFile():
            return next(filter(None, (lacking(ref, environ, slots) for ref in definition.slots)), None)
        case ConnectorFile() as connector:
            return connectors.readiness(definition.id, connector, environ, slots)
    return None
