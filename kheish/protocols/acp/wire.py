"""The messages between the agent and its editor, as lines of JSON. A question to the user can be withdrawn."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

_LOG = logging.getLogger(__name__)
_INVALID = -32600


class Wire:
    """The agent's end of stdin and stdout: a transport of the library's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        #: the tasks that wait for answers of the editor, by the ids of their requests
        self._asking: dict[int, asyncio.Task[Any] | None] = {}

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message. A request belongs to the task that sends it."""
        if "id" in message and "method" in message:
            self._asking[message["id"]] = asyncio.current_task()
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None at the end. Lines that are no message are skipped."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                _LOG.error("A message of the editor is too long, and was skipped.")
                continue
            if not line:
                return None
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                if line.strip():
                    _LOG.error("A line of the editor is not JSON, and was skipped.")
                continue
            if isinstance(message, dict):
                if "method" not in message:
                    self._forget(message.get("id"))
                return message
            error = {"code": _INVALID, "message": "A message is one object."}
            await self.send({"jsonrpc": "2.0", "id": None, "error": error})

    async def withdraw(self, task: asyncio.Task[Any]) -> None:
        """Withdraw the question whose answer a task waits for. An editor may leave it open all the same."""
        for id in [id for id, one in self._asking.items() if one is task]:
            self._forget(id)
            await self.send({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": id}})

    def _forget(self, id: Any) -> None:
        if isinstance(id, int):
            self._asking.pop(id, None)

    async def close(self) -> None:
        """Close the agent's end."""
        self._writer.close()
