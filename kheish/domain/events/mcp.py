"""Events of calls of MCP servers: what a server asks before it answers, and the tasks that it runs."""

from __future__ import annotations

from kheish.state.event import Arguments, Event, Text, frozen


@frozen
class InputRequired(Event):
    """A call whose server asks the user before it answers. The answers repeat the call, together with the server's
    `state`; `requests` has what it asks, by its own keys. `task_id`: it is a task of the server that asks."""

    kind = "mcp.input_required"
    spillable = ("requests", "state")
    call_id: str
    question_id: str
    server: str
    requests: Arguments
    state: Text | None = None
    task_id: str | None = None


@frozen
class RemoteTaskStarted(Event):
    """A call that a server runs as a task of its own; it is found again by its id."""

    kind = "mcp.task_started"
    call_id: str
    server: str
    task_id: str
