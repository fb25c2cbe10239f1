"""Events of tool calls: what was decided about them, their start and end, and what they put out."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.state.event import Arguments, Event, Text, frozen


@frozen
class PermissionDecided(Event):
    kind = "permission.decided"
    call_id: str
    tool: str
    decision: Literal["allow", "ask", "deny"]
    why: str
    rule: dict[str, Any] | None = None
    origin: str | None = None  # permissions.yaml:12 | session | mode default | …
    network: bool = False
    resolved: dict[str, str] = field(default_factory=dict)  # real paths of those that resolve elsewhere
    as_read: bool = False  # for a command line: runs the re-emission that the rules judged


@frozen
class ToolStarted(Event):
    kind = "tool.started"
    spillable = ("arguments",)
    call_id: str
    tool: str
    arguments: Arguments
    digest: str
    key: str
    effect: str
    replay: str
    note: dict[str, Any] = field(default_factory=dict)
    network: bool = False  # whether it may use the network


@frozen
class ToolFinished(Event):
    kind = "tool.finished"
    spillable = ("content", "detail")
    call_id: str
    tool: str
    is_error: bool
    content: Text
    detail: dict[str, Any] = field(default_factory=dict)
    code: str | None = None  # permission_denied | approval_expired | unknown_tool | invalid_arguments | …
    network: bool = False  # as in `tool.started`


@frozen
class Artifact:
    """A file that is sent with an output."""

    asset_id: str
    name: str
    media_type: str
    bytes: int


@frozen
class OutputEmitted(Event):
    kind = "output.emitted"
    spillable = ("content",)
    output_id: str
    output_kind: str
    content: Text
    call_id: str | None = None
    artifacts: tuple[Artifact, ...] = ()


@frozen
class Todo:
    """An item of the session's to-do list."""

    content: str
    status: Literal["pending", "in_progress", "completed"] = "pending"


@frozen
class TodoWritten(Event):
    kind = "todo.written"
    items: tuple[Todo, ...]
