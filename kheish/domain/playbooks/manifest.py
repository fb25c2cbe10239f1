"""The manifest of a Playbook, as `playbooks/<id>/playbook.yaml` has it: a procedure, its phases and what must come out.

What no single field can tell (cycles, unknown roles) is found by `playbook_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from kheish.domain.routes import Generation, Slug
from kheish.domain.scopes import CapabilityScope, CredentialScope
from kheish.domain.scripts import Duration

#: what an evidence reference may point at; `attestation` is a named person's word
EVIDENCE_KINDS = (
    "run", "tool_call", "task", "approval", "question", "output", "asset", "commit", "file", "agent", "attestation",
)  # fmt: skip
EvidenceKind = Literal[
    "run", "tool_call", "task", "approval", "question", "output", "asset", "commit", "file", "agent", "attestation"
]
_INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}\Z")


def _input_name(text: str) -> str:
    if not _INPUT_NAME.match(text):
        raise ValueError(f"{text!r} is no name for an input: use letters, digits, '_' and '-', beginning with a letter")
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
    """One input: a JSON Schema (2020-12), with `required` and `default` beside its keywords."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    type: str | list[str] | None = None
    """The JSON type of the value."""
    description: str | None = None
    """What it is for."""
    required: bool | list[str] = False
    """Whether a start must give it. (A list is the JSON Schema keyword, for an object's members.)"""
    default: Any = None
    """What it is where a start does not give it."""

    @property
    def is_required(self) -> bool:
        """Whether a start must give it."""
        return self.required is True

    @property
    def has_default(self) -> bool:
        """Whether it has a default (which may be null)."""
        return "default" in self.model_fields_set

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the value."""
        return input_schema(self.model_dump(mode="json", exclude_unset=True))


def input_schema(data: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an input as it is written: all but `required` as we mean it."""
    return {key: value for key, value in data.items() if key != "required" or not isinstance(value, bool)}


class Role(_Part):
    """Who works in a phase."""

    purpose: str = Field(min_length=1)
    """What this role is for; the agent is told it."""
    persona: Slug | None = None
    """The persona whose instructions it has."""
    route: str | None = Field(default=None, min_length=1)
    """The route that it uses, as `route` or `route/model`."""


class CommandCheck(_Part):
    """A command and the exit status that it must have."""

    run: str = Field(min_length=1)
    """The command line."""
    exit: int = Field(default=0, ge=0, le=255)
    """The exit status."""


def _command_form(value: Any) -> str:
    return "text" if isinstance(value, str) else "check"


Command = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)] | Annotated[CommandCheck, Tag("check")],
    Discriminator(_command_form),
]


class FileRequired(_Part):
    """Met where the file is in the workspace."""

    workspace_file: WorkspacePath
    """The path, from the workspace."""


class CommandRequired(_Part):
    """Met where the command ends as it should."""

    command: Command
    """The command line, or `{run, exit}`."""


class OutputRequired(_Part):
    """Met where the final output fits the JSON Schema."""

    output_matches: dict[str, Any] | bool
    """A JSON Schema (2020-12)."""


_BY_KEY = {"workspace_file": "file", "command": "command", "output_matches": "output"}


def _requirement_form(value: Any) -> str:
    """By what is written: a text, or the one key that it has (a misspelled one is told as unknown by the first)."""
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


#: one thing that must be so at the end: words for the agent and the auditor, or something that the daemon checks
Requirement = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)]
    | Annotated[FileRequired, Tag("file")]
    | Annotated[CommandRequired, Tag("command")]
    | Annotated[OutputRequired, Tag("output")],
    Discriminator(_requirement_form),
]


class EvidenceItem(_Part):
    """Something that must (or may) be shown."""

    kind: EvidenceKind
    """What a reference must point at."""
    id: Slug
    """Its name in this Playbook."""
    description: str | None = None
    """What it shows."""
    required: bool = True
    """Whether the phase (or the Flow) is blocked without it."""


class ToolPolicy(_Part):
    """Which tools may be called: names, which may end in `*`. It can only narrow what permissions allow."""

    allow: tuple[str, ...] | None = None
    """Only these; without it, all."""
    deny: tuple[str, ...] = ()
    """Never these."""


class Phase(_Part):
    """One step of the procedure."""

    id: Slug
    """Its name."""
    objective: str | None = None
    """What it is to reach."""
    instructions: str = ""
    """Text given to the agent; `{{inputs.name}}` is filled in."""
    role: str | None = None
    """The role that works in it, one of `roles`."""
    needs: tuple[str, ...] = ()
    """Phases that come first."""
    acceptance: tuple[Requirement, ...] = ()
    """What must be so at its end."""
    evidence: tuple[EvidenceItem, ...] = ()
    """What it must show."""
    tools: ToolPolicy = ToolPolicy()
    """Tools of this phase; the Playbook's own policy holds as well."""
    approval: Literal["none", "before", "after"] = "none"
    """When a person must agree."""
    retries: int = Field(default=0, ge=0, le=100)
    """How often it is tried again after a failure."""
    on_failure: Literal["fail", "continue"] = "fail"
    """Whether the Flow fails with it."""
    timeout: Duration | None = None
    """How long one try may take, such as `30m`."""


class Runtime(_Part):
    """How runs are made."""

    route: str | None = Field(default=None, min_length=1)
    """The route, as `route` or `route/model`; roles may have their own."""
    generation: Generation | None = None
    """The model's settings, such as temperature."""


class Scopes(_Part):
    """What the Flow's session may see and use; it can only narrow."""

    capability: CapabilityScope | None = None
    """Tools, skills and MCP servers that are visible."""
    credential: CredentialScope | None = None
    """Routes, connectors and accounts that may be used."""


class FlowBudget(_Part):
    """What one Flow may spend; the narrowest of all budgets holds."""

    cost_usd: float | None = Field(default=None, ge=0)
    """US dollars."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens, input and output together."""
    model_calls: int | None = Field(default=None, ge=0)
    """Model calls."""


class Playbook(_Part):
    """A procedure that agents follow and people can check."""

    title: str = Field(min_length=1)
    """Its name for people."""
    objective: str = Field(min_length=1)
    """What it is to reach."""
    inputs: dict[InputName, Input] = Field(default_factory=dict)
    """What a start must or may give, each a JSON Schema."""
    preconditions: tuple[str, ...] = ()
    """What must be so before it begins; the agent is told it."""
    roles: dict[Slug, Role] = Field(default_factory=dict)
    """Who works in the phases."""
    phases: tuple[Phase, ...] = ()
    """The steps."""
    acceptance: tuple[Requirement, ...] = ()
    """What must be so at the end of the whole."""
    evidence: tuple[EvidenceItem, ...] = ()
    """What the whole must show."""
    tools: ToolPolicy = ToolPolicy()
    """Tools of all phases."""
    runtime: Runtime = Runtime()
    """How runs are made."""
    scopes: Scopes = Scopes()
    """What its Flows may see and use."""
    budget: FlowBudget = FlowBudget()
    """What one Flow may spend."""
    drive: Literal["phases", "agent"] = "phases"
    """`phases`: the daemon starts a run for each phase; `agent`: one run has the whole Playbook in its prompt."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Anything; it is kept and not read."""
