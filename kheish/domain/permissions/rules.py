"""The values of permissions: a rule, the file of rules, a call to be judged, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kheish.beneath import globs
from kheish.config import Duration
from kheish.domain.events import frozen

Mode = Literal["default", "accept_edits", "plan", "dont_ask", "bypass"]
Decision = Literal["allow", "ask", "deny"]
Risk = Literal["low", "medium", "high"]
#: tools whose argument `command` is a bash command line
SHELL_TOOLS = frozenset({"bash", "shell_task_start"})
#: tools whose argument `path` is a file or folder of the workspace (a patch names several, in its text)
FILE_TOOLS = frozenset(
    {"read_file", "write_file", "edit_file", "apply_patch", "list_files", "glob_search", "grep_search"}
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Rule(_Part):
    """One rule; it concerns a call if `tool` and `match` both fit."""

    tool: str = Field(min_length=1, pattern=r"^[\w.:-]*\*?$")
    """The tool's name; it may end in `*`, which stands for anything."""
    match: str | None = Field(default=None, min_length=1, max_length=10_000)
    """Which calls of the tool; left out: all of them. For bash a command with `*` for any text (each simple command of
    a command line must match), for file tools a glob from the workspace (a backslash stands before what is
    meant as it is; a rule that asks or denies is also about brackets and braces as they are), for web_fetch a host
    with `*`, for other tools the arguments as a JSON object."""
    exact: bool = False
    """Whether `match` is the call itself: a JSON object of its arguments (without a command's description and timeout),
    which must all be the same. Answers that are remembered leave such rules."""
    decision: Decision
    """deny beats ask, and ask beats allow, wherever the rules stand."""
    workdir: str = Field(default=".", min_length=1, max_length=1000)
    """For bash: the folders that the rule holds in, as a glob from the workspace; `.` is the workspace itself, `**` all
    of it. Programs that take nothing from the folder they run in (`ls`, `grep`) may run in any."""
    network: bool = False
    """Whether a confined command has the network; every command of a command line needs a rule that says so."""
    reason: str | None = None
    """Why, for people and for the model."""

    @model_validator(mode="after")
    def _match_fits_the_tool(self) -> Rule:
        if ".." in self.workdir.split("/") or self.workdir.startswith("~"):
            raise ValueError("workdir: a folder of the workspace, without `..`")
        if self.exact and (self.match is None or self.tool.endswith("*")):
            raise ValueError("exact: needs one tool, and a match with all of its arguments")
        if self.match is None:
            return self
        if self.exact:
            _arguments(self.match)
            return self
        if self.tool in FILE_TOOLS and ".." in self.match.split("/"):
            raise ValueError("match: a glob starts from the workspace and cannot hold `..`")
        if self.tool in FILE_TOOLS:
            _check_glob(self.match)
        if self.tool.startswith("mcp__") and not self.tool.endswith("*"):
            _arguments(self.match)
        return self


def _arguments(match: str) -> None:
    """Raises ValueError where the text is no JSON object."""
    try:
        data = json.loads(match)
    except ValueError as error:
        raise ValueError(f"match: not a JSON object of arguments: {error}") from error
    if not isinstance(data, dict):
        raise ValueError("match: must be a JSON object of arguments")


def _check_glob(match: str) -> None:
    """Raises ValueError where a glob has more alternatives than are read."""
    try:
        globs.expanded(match)
    except globs.TooMany as error:
        raise ValueError(f"match: {error}; write several rules") from None


class ApprovalPolicy(_Part):
    """How approvals are answered."""

    expires: Duration | None = Field(default=None, gt=0)
    """After how long an approval that nobody answers is denied; null: never."""
    required: int = Field(default=1, ge=1, le=2)
    """How many different persons must allow a call. For 2, each needs a token that carries a person; an answer by file
    proves none."""


class PermissionsFile(_Part):
    """`permissions.yaml`: what agents may do without asking."""

    mode: Mode = "default"
    """What happens where no rule matches: default (reading and coordination are allowed, the rest asks), accept_edits
    (file edits too), plan (only reading and coordination), dont_ask (what would ask is denied), bypass (what would ask
    is allowed; needs `kheish serve --allow-bypass`)."""
    rules: list[Rule] = Field(default_factory=list)
    """The rules; their order does not matter."""
    taint: Literal["off", "ask"] = "off"
    """ask: after untrusted network content in a run, tools with effects ask even where a rule allows them."""
    approvals: ApprovalPolicy = Field(default_factory=ApprovalPolicy)
    """When an approval expires, and how many persons it takes."""


@frozen
class Place:
    """A folder that a command runs in. `repository`: why git would take another repository there than the workspace's
    own; `elsewhere`: why it is not the folder that it is called."""

    repository: str | None = None
    elsewhere: str | None = None


@frozen
class ToolCall:
    """A call as it would run. `effect`: read | write | effect | coordination. `resolved`: where its paths lead once
    links are followed, from the workspace, in their order (empty where that is unknown); rules look at both. The paths
    of a command line are the targets of its redirections. `places`: of the folders that a command goes to, why each is
    not what it seems (a link, another repository).
    """

    tool: str
    effect: str
    arguments: Mapping[str, Any]
    resolved: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)


@frozen
class SandboxFacts:
    """`sandbox.mode` of kheish.yaml, and whether bubblewrap works on this machine."""

    mode: Literal["required", "ask", "off"]
    available: bool


@frozen
class Verdict:
    """What a call meets. `why` is for people; `rule` and `origin` say what decided; `network` holds for commands.

    `as_read`: patterns allowed a command line, so its re-emission runs, not its text.
    """

    decision: Decision
    why: str
    rule: dict[str, Any] | None = None
    origin: str | None = None
    network: bool = False
    as_read: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule and where it stands: `permissions.yaml rule 3`."""

    rule: Rule
    origin: str

    def concerns(self, tool: str) -> bool:
        """Whether the rule is about this tool at all."""
        name = self.rule.tool
        if name == "bash" and tool in SHELL_TOOLS and self.rule.decision != "allow":
            return True  # what is denied must not be had in the background
        if name in ("write_file", "edit_file") and tool == "apply_patch" and self.rule.decision != "allow":
            return True  # nor by a patch
        return tool.startswith(name[:-1]) if name.endswith("*") else tool == name


#: rules with the name of where they stand; None holds the place of a rule that does not count
Scopes = Sequence[tuple[str, Sequence[Rule | None]]]
#: modes by what they allow without asking
_FREEDOM: Mapping[Mode, int] = {"plan": 0, "dont_ask": 0, "default": 0, "accept_edits": 1, "bypass": 2}


def placed(scopes: Scopes) -> Iterator[Placed]:
    """All rules with their places, counted from 1."""
    for scope, rules in scopes:
        for number, rule in enumerate(rules, 1):
            if rule is not None:
                yield Placed(rule, f"{scope} rule {number}")


def scopes(file: PermissionsFile, session_rules: Sequence[Mapping[str, Any]]) -> Scopes:
    """Return the rules that concern a session's calls, with the names of where they stand.

    Where two persons have to allow a call, what one of them left in the session lifts no ask: its allow rules and the
    network that they give do not count.
    """
    rules = [Rule.model_validate(rule) for rule in session_rules]
    kept = [_without_allow(rule) if needs_two(file) else rule for rule in rules]
    return ("permissions.yaml", file.rules), ("session", tuple(kept))


def effective_mode(file: PermissionsFile, mode: Mode) -> Mode:
    """Return the mode that counts. Where two persons have to allow a call, a session is no freer than the file."""
    if not needs_two(file) or _FREEDOM[mode] <= _FREEDOM[file.mode]:
        return mode
    return file.mode if _FREEDOM[file.mode] else "default"


def needs_two(file: PermissionsFile) -> bool:
    """Return whether two persons have to allow a call."""
    return file.approvals.required > 1


def _without_allow(rule: Rule) -> Rule | None:
    return None if rule.decision == "allow" else rule.model_copy(update={"network": False})
