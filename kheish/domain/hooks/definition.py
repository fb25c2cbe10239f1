"""The file of a hook, `hooks/<id>.yaml`: the events at which it runs, and one executor."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from kheish.domain.hooks.moments import MOMENTS, NAMES
from kheish.domain.mcp.server import FromSlot, FromVariable, Value
from kheish.settings import Duration

#: the audience of leases and scopes: `hook:guard`
AUDIENCE = "hook:"
#: seconds, unless the file says otherwise
TIMEOUT, SHORT, AT_END = 600.0, 30.0, 1.5
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_OWN_HEADERS = re.compile(r"(?i)(host|content-(length|type|encoding)|transfer-encoding|connection|webhook-.*)")
_SCRIPT = re.compile(r"\$(?:CLAUDE_PROJECT_DIR|KHEISH_WORKSPACE)\b|\$\{(?:CLAUDE_PROJECT_DIR|KHEISH_WORKSPACE)\}")
Text = Annotated[str, Field(min_length=1, max_length=32_768, pattern=r"^[^\x00]*$")]
Ref = Annotated[str, Field(min_length=1, max_length=200)]


def _named(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"{name!r} is no event of hooks; the events are {', '.join(MOMENTS)}")
    return NAMES[name]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Moment = Annotated[
    str,
    AfterValidator(_named),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(sorted(NAMES))})$"}),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or password; name a slot in headers instead")
    return text


class HttpCall(_Part):
    """A request (POST) with the input as its body."""

    url: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_url)]
    """The address; the rules of `network` in kheish.yaml apply."""
    secret: Ref | None = None
    """The slot of the key that signs the request (Standard Webhooks)."""
    headers: dict[Annotated[str, Field(pattern=_HEADER, max_length=200)], Text | FromSlot] = Field(default_factory=dict)
    """More headers: a text, or `{slot: NAME}`."""

    @model_validator(mode="after")
    def _fits(self) -> HttpCall:
        if own := sorted(name for name in self.headers if _OWN_HEADERS.fullmatch(name)):
            raise ValueError(f"headers: {', '.join(own)} cannot be set here")
        return self


class PromptCall(_Part):
    """A question to a model, which answers `{"ok": true}`, or `{"ok": false, "reason": "…"}`."""

    text: Text
    """The question; `$ARGUMENTS` stands for the input, which otherwise follows it."""
    route: Ref | None = None
    """The route; without it, the run's own."""
    model: Ref | None = None
    """The model, if it is not that of the route."""


class ToolCall(_Part):
    """A call of a tool of an MCP server; its text is read as the output of a command."""

    server: Ref
    """The server."""
    tool: Ref
    """The tool, by the server's own name."""
    input: dict[str, Any] = Field(default_factory=dict, max_length=200)
    """Its arguments; `${tool_input.file_path}` stands for a field of the input."""


class Condition(_Part):
    """A permission rule without its decision."""

    tool: Annotated[str, Field(min_length=1, max_length=200)]
    """The tool, by its own name."""
    match: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """The calls, as in permissions.yaml."""


def _wrapped(key: str) -> Any:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class HookFile(_Part):
    """A hook: exactly one of `command`, `http`, `prompt` and `mcp_tool`."""

    title: Annotated[str, Field(max_length=500)] = ""
    """Its purpose, for readers."""
    events: Annotated[tuple[Moment, ...], BeforeValidator(_listed), Field(min_length=1, max_length=len(MOMENTS))]
    """The events at which it runs, as `pre_tool_use` or `PreToolUse`."""
    matcher: Annotated[str, Field(max_length=1000)] = "*"
    """The tools, or another subject of the event: `*`, names separated by `|`, or a regular expression."""
    condition: Annotated[Annotated[str, Field(min_length=1, max_length=2000)] | Condition | None, Field(alias="if")] = (
        None
    )
    """A further condition for events of tools: `Bash(git *)`, or a permission rule."""
    command: Text | Annotated[tuple[Text, ...], Field(min_length=1, max_length=200)] | None = None
    """A command line for `sh -c`, or a list of words. It runs in the workspace, unconfined, after `kheish trust`."""
    http: Annotated[HttpCall | None, _wrapped("url")] = None
    """A request, or only its URL."""
    prompt: Annotated[PromptCall | None, _wrapped("text")] = None
    """A question to a model, or only its text."""
    mcp_tool: ToolCall | None = None
    """A call of a tool of an MCP server."""
    env: dict[Annotated[str, Field(pattern=_VARIABLE)], Value] = Field(default_factory=dict)
    """Variables of a command: a text, `{slot: NAME}` for a secret, or `{variable: NAME}` for one of the daemon's."""
    plugin_root: Annotated[str, Field(min_length=1, max_length=4096, pattern="^/")] | None = None
    """The folder that CLAUDE_PLUGIN_ROOT names."""
    timeout: Annotated[Duration, Field(gt=0, le=86400)] | None = None
    """The time for each attempt; without it, 600s, 30s for prompts and `user_prompt_submit`, 1500ms for
    `session_end`."""
    failure: Literal["open", "closed"] = "open"
    """The consequence of a missing answer: open continues, closed refuses."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """Further attempts after a failure."""
    observe: bool = False
    """Whether it only observes: its answer decides nothing, and it also runs after another hook has refused."""
    may_allow: bool = False
    """Whether its `allow` may answer a call that would ask because of the permission mode; after `kheish trust`."""
    disabled: bool = False
    """Whether it is switched off."""

    @model_validator(mode="after")
    def _fits(self) -> HookFile:
        kinds = [name for name in ("command", "http", "prompt", "mcp_tool") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError("needs exactly one of command, http, prompt and mcp_tool")
        if kinds != ["command"] and (self.env or self.plugin_root):
            raise ValueError("env, plugin_root: only for a hook with command")
        if kinds == ["prompt"] and (late := [name for name in self.events if not MOMENTS[name].in_run]):
            raise ValueError(f"prompt: a model is asked during a run only, not at {', '.join(late)}")
        if self.condition is not None and (other := [n for n in self.events if MOMENTS[n].subject != "tool_name"]):
            raise ValueError(f"if: is about calls of tools, which {', '.join(other)} has not")
        if not _is_pattern(self.matcher):
            raise ValueError(f"matcher: {self.matcher!r} is no regular expression")
        return self

    @property
    def executor(self) -> str:
        """The kind of its executor."""
        kinds = ("command", "http", "prompt", "mcp_tool")
        return next(name for name in kinds if getattr(self, name) is not None)

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that it uses."""
        return tuple(dict.fromkeys(self._slots()))

    def _slots(self) -> Iterator[str]:
        yield from (value.slot for value in self.env.values() if isinstance(value, FromSlot))
        if self.http is not None:
            yield from (value.slot for value in self.http.headers.values() if isinstance(value, FromSlot))
            yield from [self.http.secret] if self.http.secret else []

    @property
    def variables(self) -> dict[str, str]:
        """The variables of the daemon that it gets, by the name that it gives them."""
        return {name: value.variable for name, value in self.env.items() if isinstance(value, FromVariable)}

    @property
    def commands(self) -> tuple[str, ...]:
        """The things that need trust, for a user who reviews them."""
        lines = []
        if self.command is not None:
            line = self.command if isinstance(self.command, str) else shlex.join(self.command)
            inside = "; runs files of the workspace, which agents can change" if _SCRIPT.search(line) else ""
            lines.append(f"{line}  (unconfined{inside})")
        if self.http is not None:
            lines.append(f"POST {self.http.url}  (gets the input of its events)")
        if self.mcp_tool is not None:
            lines.append(f"{self.mcp_tool.tool} of the MCP server {self.mcp_tool.server}  (without asking)")
        if self.may_allow:
            lines.append("may allow calls that would ask because of the permission mode")
        return tuple(lines)

    def limit(self, moment: str) -> float:
        """Return the seconds for one attempt at an event."""
        if self.timeout is not None:
            return self.timeout
        if moment == "session_end":
            return AT_END
        return SHORT if self.prompt is not None or moment == "user_prompt_submit" else TIMEOUT


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text if text != "*" else "")
    except (re.error, RecursionError, OverflowError):
        return False
    return True
