"""A model behind a server, whose calls driver processes run; the server breaks answers off now and then."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any

from tests.support.openai_standin import Answer, Behaviour, Failure, ToolCall, standin

ROUTE = "served"
#: the variable that holds the key of the server
KEY = "KHEISH_TEST_MODEL_PASS"
SETTINGS = {KEY: "sk-of-the-campaign-0123456789"}
_INPUT = re.compile(r"\b[\w-]+\.\d+\b")


class Served:
    """The server; it outlives the daemons."""

    def __init__(self) -> None:
        self.answers = 0
        self._url = ""
        self._is_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._is_up.wait(30), "the model server does not start"

    async def _serve(self) -> None:
        async with standin() as server:
            server.default = self._choose
            self._url = server.url
            self._is_up.set()
            await self._end.wait()

    @property
    def route(self) -> dict[str, Any]:
        """The route as a file."""
        return {"driver": "openai", "model": "m", "api_base": self._url, "auth_ref": f"env:{KEY}"}

    def close(self) -> None:
        """End the server."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        self._loop.close()

    def _choose(self, body: Any) -> Behaviour:
        """First a command, then an answer; one request in seven is broken off, and one in eleven refused."""
        self.answers += 1
        if self.answers % 11 == 0:
            return Failure(status=503, retry_after="0.05")
        break_after = 2 if self.answers % 7 == 0 else None
        asked = max(at for at, one in enumerate(body["messages"]) if one["role"] == "user")
        names = _INPUT.findall(json.dumps(body["messages"][asked]["content"]))
        if not names or any(one["role"] == "assistant" for one in body["messages"][asked:]):
            return Answer(text="done by a server", delay=0.02, break_after=break_after)
        command = json.dumps({"command": f"echo {names[-1]}/1 >> ledger.txt"})
        return Answer(text="", calls=(ToolCall(name="bash", arguments=command),), delay=0.02, break_after=break_after)
