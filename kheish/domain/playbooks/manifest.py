"""The manifest of a Playbook, `playbooks/<id>/playbook.yaml`: a procedure, its phases and its results.

Faults beyond a single field (cycles, unknown roles) are found by `playbooks.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from kheish.domain.events.flows import EvidenceKind
from kheish.domain.routes import Generation, Slug
from kheish.domain.scopes import CapabilityScope, CredentialScope
from kheish.domain.scripts import Duration
from kheish.domain.workers.definition import Choice
from kheish.ids import MOST

EVIDENCE_KINDS: tuple[str, ...] = get_args(EvidenceKind)
_INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}\Z")


def _input_name(text: str) -> str:
    if not _INPUT_NAME.match(text):
        raise ValueError(f"{text!r} is not an input name: use letters, digits, '_' and '-', beginning with a letter")
    return text


def _relative(text: str) -> str:
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or "\0" in text:
        raise ValueError(f"{text!r} leaves the workspace; write a path inside it")
    return text


InputName = Annotated[str, AfterValidator(_input_name)]
WorkspacePath = Annotated[str, Field(min_length=1), AfterValidator(_relative)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Input(BaseModel):
    """An input: a JSON Schema (2020-12), with `required` and `default` beside its keywords."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    type: str | list[str] | None = None
    """The JSON type of the value."""
    description: str | None = None
    """The purpose of the input."""
    required: bool | list[str] = False
    """Whether a start must give the input. (A list is the JSON Schema keyword, for an object's members.)"""
    default: Any = None
    """The value if a start does not give the input."""

    @property
    def is_required(self) -> bool:
        """Return whether a start must give the input."""
        return self.required is True

    @property
    def has_default(self) -> bool:
        """Return whether the input has a default (which may be null)."""
        return "default" in self.model_fields_set

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the value."""
        return input_schema(self.model_dump(mode="json", exclude_unset=True))


def input_schema(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an input as written, without the boolean `required`, which is not part of JSON
    Schema."""
    return {key: value for key, value in data.items() if key != "required" or not isinstance(value, bool)}


class Role(_Part):
    """A role in the procedure."""

    purpose: str = Field(min_length=1)
    """The purpose of this role; it is part of the agent's prompt."""
    persona: Slug | None = None
    """The persona that provides the role's instructions."""
    route: str | None = Field(default=None, min_length=1)
    """The route of the role, as `route` or `route/model`."""


class CommandCheck(_Part):
    """A command and its required exit status."""

    run: str = Field(min_length=1)
    """The command line."""
    exit: int = Field(default=0, ge=0, le=255)
    """The required exit status."""


def _command_form(value: Any) -> str:
    return "text" if isinstance(value, str) else "check"


Command = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)] | Annotated[CommandCheck, Tag("check")],
    Discriminator(_command_form),
]


class FileRequired(_Part):
    """A requirement that is met if the workspace contains the file."""

    workspace_file: WorkspacePath
    """The path, from the workspace."""


class CommandRequired(_Part):
    """A requirement that is met if the command ends with the exit status."""

    command: Command
    """The command line, or `{run, exit}`."""


class OutputRequired(_Part):
    """A requirement that is met if the final output fits the JSON Schema."""

    output_matches: dict[str, Any] | bool
    """A JSON Schema (2020-12, or what its `$schema` names)."""


_BY_KEY = {"workspace_file": "file", "command": "command", "output_matches": "output"}


def _requirement_form(value: Any) -> str:
    """Return the form of a requirement: a text, or the single key of a mapping (a misspelled key is reported as
    unknown)."""
    if isinstance(value, Mapping):
        return next((form for key, form in _BY_KEY.items() if key in value), "file")
    match value:
        case FileRequired():
            return "file"
        case CommandRequired():
            return "command"
        case OutputRequired():
            return "output"
    return "text"


#: a condition at the end: text for the agent and the auditor, or a check by the daemon
Requirement = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)]
    | Annotated[FileRequired, Tag("file")]
    | Annotated[CommandRequired, Tag("command")]
    | Annotated[OutputRequired, Tag("output")],
    Discriminator(_requirement_form),
]


class EvidenceItem(_Part):
    """A piece of evidence that is required or optional."""

    kind: EvidenceKind
    """The kind of the reference's target."""
    id: Slug
    """The name of the evidence in this Playbook."""
    description: str | None = None
    """The facts that the evidence shows."""
    required: bool = True
    """Whether the phase (or the Flow) is blocked without it."""


class ToolPolicy(_Part):
    """The tools that may be called: names, which may end in `*`. A policy can only narrow the permissions."""

    allow: tuple[str, ...] | None = None
    """Only these tools; without it, all."""
    deny: tuple[str, ...] = ()
    """Tools that may never be called."""


class Phase(_Part):
    """A step of the procedure."""

    id: Slug
    """The name of the phase."""
    objective: str | None = None
    """The objective of the phase."""
    instructions: str = ""
    """Instructions for the agent; `{{inputs.name}}` is filled in."""
    role: str | None = None
    """The role that works in the phase, one of `roles`."""
    needs: tuple[str, ...] = ()
    """Phases that must be done first."""
    acceptance: tuple[Requirement, ...] = ()
    """The conditions at the end of the phase."""
    evidence: tuple[EvidenceItem, ...] = ()
    """The evidence that the phase must show."""
    tools: ToolPolicy = ToolPolicy()
    """Tools of this phase; the Playbook's own policy applies as well."""
    approval: Literal["none", "before", "after"] = "none"
    """The points at which a user must approve."""
    retries: int = Field(default=0, ge=0, le=100)
    """The number of retries after a failure."""
    on_failure: Literal["fail", "continue"] = "fail"
    """Whether the Flow fails with the phase."""
    timeout: Duration | None = None
    """The time limit of one attempt, such as `30m`."""
    worker: Choice | None = None
    """The worker that the tools of the phase run on: `big`, or `{labels: [gpu]}`; without it, the session's."""


class Runtime(_Part):
    """The settings of runs."""

    route: str | None = Field(default=None, min_length=1)
    """The route, as `route` or `route/model`; roles may have their own."""
    generation: Generation | None = None
    """The model's settings, such as temperature."""


class Scopes(_Part):
    """The scopes of the Flow's session; they can only narrow."""

    capability: CapabilityScope | None = None
    """The tools, skills and MCP servers that are visible."""
    credential: CredentialScope | None = None
    """The routes, connectors and accounts that may be used."""


class FlowBudget(_Part):
    """The budget of one Flow; the narrowest of all budgets applies."""

    cost_usd: float | None = Field(default=None, ge=0, le=MOST)
    """US dollars."""
    tokens: int | None = Field(default=None, ge=0, le=MOST)
    """Tokens, input and output together."""
    model_calls: int | None = Field(default=None, ge=0, le=MOST)
    """Model calls."""


class Playbook(_Part):
    """A procedure that agents follow and people can check."""

    title: str = Field(min_length=1)
    """The name shown to users."""
    objective: str = Field(min_length=1)
    """The objective of the procedure."""
    inputs: dict[InputName, Input] = Field(default_factory=dict)
    """The inputs that a start must or may give, each a JSON Schema."""
    preconditions: tuple[str, ...] = ()
    """The conditions for a start; they are part of the agent's prompt."""
    roles: dict[Slug, Role] = Field(default_factory=dict)
    """The roles of the phases."""
    phases: tuple[Phase, ...] = ()
    """The steps."""
    acceptance: tuple[Requirement, ...] = ()
    """The conditions at the end of the whole procedure."""
    evidence: tuple[EvidenceItem, ...] = ()
    """The evidence that the whole procedure must show."""
    tools: ToolPolicy = ToolPolicy()
    """Tools of all phases."""
    runtime: Runtime = Runtime()
    """The settings of runs."""
    scopes: Scopes = Scopes()
    """The scopes of its Flows."""
    budget: FlowBudget = FlowBudget()
    """The budget of one Flow."""
    drive: Literal["phases", "agent"] = "phases"
    """`phases`: the daemon starts a run for each phase; `agent`: a single run has the whole Playbook in its prompt."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Free-form data; stored, not interpreted."""
