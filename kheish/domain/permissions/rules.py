"""The values of permissions: a rule, the file of rules, a call to judge, and the verdict."""

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
#: tools whose argument `path` is a file or folder of the workspace (a patch names several files in its text)
FILE_TOOLS = frozenset(
    {"read_file", "write_file", "edit_file", "apply_patch", "list_files", "glob_search", "grep_search", "store_asset"}
)


#: tools that give the content of a file away as another does, whose asking and denying rules concern them, too
_ALSO: Mapping[str, str] = {"store_asset": "read_file"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Rule(_Part):
    """A rule; it applies to a call if both `tool` and `match` fit."""

    tool: str = Field(min_length=1, pattern=r"^(?:[\w.:-]*|mcp__[^*\x00-\x1f\x7f]*)\*?$")
    """The tool's name; a `*` at its end matches anything. A tool of an MCP server is `mcp__<server>__<tool>`, with its
    own name as the server has it."""
    match: str | None = Field(default=None, min_length=1, max_length=10_000)
    """The calls of the tool that the rule applies to; without it, all of them. For bash: a command with `*` for any
    text (each simple command of a command line must match). For file tools: a glob from the workspace (a backslash
    makes the next character literal; a rule that asks or denies also matches brackets and braces literally). For
    web_fetch: a host with `*`. For other tools: the arguments as a JSON object."""
    exact: bool = False
    """Whether `match` is the call itself: a JSON object with all of its arguments (without a command's description and
    timeout), which must be equal. Remembered answers create such rules."""
    decision: Decision
    """The decision. deny beats ask, and ask beats allow, regardless of the rules' order and place."""
    workdir: str = Field(default=".", min_length=1, max_length=1000)
    """For bash: the folders that the rule applies to, as a glob from the workspace; `.` is the workspace itself, `**`
    all of it. Programs that use nothing of the folder they run in (`ls`, `grep`) may run in any."""
    network: bool = False
    """Whether a confined command has network access; every command of a command line needs a rule that grants it."""
    confined: bool = False
    """For bash: whether the rule allows only commands that run in the sandbox. It has no effect with `sandbox.mode:
    off`."""
    reason: str | None = None
    """The reason, for users and for the model."""

    @model_validator(mode="after")
    def _match_fits_the_tool(self) -> Rule:
        if self.confined and (self.decision != "allow" or self.tool not in SHELL_TOOLS):
            raise ValueError("confined: only for rules that allow bash or shell_task_start")
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
            raise ValueError("match: a glob starts from the workspace and cannot contain `..`")
        if self.tool in FILE_TOOLS:
            _check_glob(self.match)
        if self.tool.startswith("mcp__") and not self.tool.endswith("*"):
            _arguments(self.match)
        return self


def _arguments(match: str) -> None:
    """Raise ValueError for a text that is not a JSON object."""
    try:
        data = json.loads(match)
    except ValueError as error:
        raise ValueError(f"match: not a JSON object of arguments: {error}") from error
    if not isinstance(data, dict):
        raise ValueError("match: must be a JSON object of arguments")


def _check_glob(match: str) -> None:
    """Raise ValueError for a glob with more alternatives than are supported."""
    try:
        globs.expanded(match)
    except globs.TooMany as error:
        raise ValueError(f"match: {error}; write several rules") from None


class ApprovalPolicy(_Part):
    """The rules for answering approvals."""

    expires: Duration | None = Field(default=None, gt=0)
    """The time after which an unanswered approval is denied; null: never."""
    required: int = Field(default=1, ge=1, le=2)
    """The number of different persons who must allow a call. For 2, each needs a token that carries a person; an answer
    by file proves none."""


class PermissionsFile(_Part):
    """`permissions.yaml`: the calls that agents may make without asking."""

    mode: Mode = "default"
    """The decision if no rule matches: default (reading and coordination are allowed, the rest asks), accept_edits
    (file edits are allowed, too), plan (only reading and coordination), dont_ask (a call that would ask is denied),
    bypass (a call that would ask is allowed; needs `kheish serve --allow-bypass`)."""
    rules: list[Rule] = Field(default_factory=list)
    """The rules; their order does not matter."""
    taint: Literal["off", "ask"] = "off"
    """ask: after untrusted network content in a run, tools with effects ask even if a rule allows them."""
    approvals: ApprovalPolicy = Field(default_factory=ApprovalPolicy)
    """The expiry of approvals, and the number of persons that they require."""


@frozen
class Place:
    """A folder that a command runs in. `repository`: the reason why git would use a repository other than the
    workspace's own there; `elsewhere`: the reason why its path leads to another folder."""

    repository: str | None = None
    elsewhere: str | None = None


@frozen
class ToolCall:
    """A call as it would run. `effect`: read | write | effect | coordination.

    `resolved`: the targets of its paths after following links, from the workspace, in the same order (empty if
    unknown); rules check both. The paths of a command line are the targets of its redirections. `places`: for the
    folders that a command changes to, the reason why each is not what it seems (a link, another repository).
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
    """The verdict on a call. `why` is for users; `rule` and `origin` name the deciding rule; `network` applies to
    commands.

    `as_read`: patterns allowed a command line, so its re-emission runs instead of its text.
    """

    decision: Decision
    why: str
    rule: dict[str, Any] | None = None
    origin: str | None = None
    network: bool = False
    as_read: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule and its place: `permissions.yaml rule 3`."""

    rule: Rule
    origin: str

    def concerns(self, tool: str) -> bool:
        """Return whether the rule applies to this tool."""
        name = self.rule.tool
        if name == "bash" and tool in SHELL_TOOLS and self.rule.decision != "allow":
            return True  # a denied tool must not run in the background
        if name in ("write_file", "edit_file") and tool == "apply_patch" and self.rule.decision != "allow":
            return True  # nor through a patch
        if self.rule.decision != "allow" and tool in _ALSO and self.concerns(_ALSO[tool]):
            return True
        return tool.startswith(name[:-1]) if name.endswith("*") else tool == name


#: rules with the name of their source; None holds the place of a rule that does not apply
Scopes = Sequence[tuple[str, Sequence[Rule | None]]]
#: modes, ordered by what they allow without asking
_FREEDOM: Mapping[Mode, int] = {"plan": 0, "dont_ask": 0, "default": 0, "accept_edits": 1, "bypass": 2}


def placed(scopes: Scopes) -> Iterator[Placed]:
    """Yield all rules with their places, counted from 1."""
    for scope, rules in scopes:
        for number, rule in enumerate(rules, 1):
            if rule is not None:
                yield Placed(rule, f"{scope} rule {number}")


def scopes(file: PermissionsFile, session_rules: Sequence[Mapping[str, Any]]) -> Scopes:
    """Return the rules that apply to a session's calls, with the names of their sources.

    Where two persons must allow a call, a single person's remembered rule must not bypass that: the session's allow
    rules and the network that they give do not apply.
    """
    rules = [Rule.model_validate(rule) for rule in session_rules]
    kept = [_without_allow(rule) if needs_two(file) else rule for rule in rules]
    return ("permissions.yaml", file.rules), ("session", tuple(kept))


def effective_mode(file: PermissionsFile, mode: Mode) -> Mode:
    """Return the effective mode. If two persons must allow a call, a session's mode is at most as permissive as the
    file's."""
    if not needs_two(file) or _FREEDOM[mode] <= _FREEDOM[file.mode]:
        return mode
    return file.mode if _FREEDOM[file.mode] else "default"


def needs_two(file: PermissionsFile) -> bool:
    """Return whether two persons must allow a call."""
    return file.approvals.required > 1


def _without_allow(rule: Rule) -> Rule | None:
    return None if rule.decision == "allow" else rule.model_copy(update={"network": False})
