"""Two tools for agents: one that only reads, and one with an effect, which asks."""

from __future__ import annotations

import asyncio
import sys
from datetime import date
from typing import Any

from pydantic import Field

from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError


class Weekday(Arguments):
    day: str = Field(pattern=r"^\d{4}-\d\d-\d\d$", description="A date, such as 2026-11-29.")


async def weekday(arguments: Weekday, context: Context) -> Result:
    """Return the weekday. What cannot be done is a ToolError, whose text the model reads."""
    try:
        return Result(content=f"{date.fromisoformat(arguments.day):%A}")
    except ValueError as error:
        raise ToolError(f"{arguments.day} is no date: {error}.") from error


async def ring(arguments: dict[str, Any], context: Context) -> Result:
    """Ring the daemon's terminal. What blocks belongs into a thread: `run` is awaited on the daemon's event loop."""
    await asyncio.to_thread(sys.stderr.write, "\a" * arguments["times"])
    return Result(content=f"Rang {arguments['times']} times.")


TOOLS = [
    Tool(
        name="weekday",
        description="Return the weekday of a date.",
        arguments=Weekday,  # a pydantic model; `run` gets an instance
        effect=Effect.READ,  # it runs without asking
        replay=Replay.SAFE,  # a restart runs it again
        run=weekday,
    ),
    Tool(
        name="ring_bell",
        description="Ring the bell of the terminal that the daemon runs on.",
        arguments={  # or a JSON Schema; `run` gets a dict
            "type": "object",
            "properties": {"times": {"type": "integer", "minimum": 1, "maximum": 5}},
            "required": ["times"],
            "additionalProperties": False,
        },
        effect=Effect.EFFECT,  # it asks, unless a rule allows it
        replay=Replay.UNSAFE,  # after a restart in the middle, a user says what happened
        run=ring,
    ),
]
