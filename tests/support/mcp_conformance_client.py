"""A client for the MCP conformance suite: the daemon that CONFORMANCE_DAEMON (JSON: url, token) names.

The suite starts it with the URL of a scenario's server, which becomes an MCP server of the daemon. A run calls each of
its tools, what it asks is answered by the first choice, and logins are completed as a user's browser does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import httpx

from kheish.client import Kheish

ARGUMENTS: dict[str, Any] = {"add_numbers": {"a": 5, "b": 3}, "valid_tool": {"region": "us"}}
#: logins of a scenario; a user would give up, too
LOGINS = 3


class Driver:
    """One scenario."""

    def __init__(self, url: str) -> None:
        place = json.loads(os.environ["CONFORMANCE_DAEMON"])
        self.url, self.headers = place["url"], {"authorization": f"Bearer {place['token']}"}
        self.client = Kheish(url=place["url"], token=place["token"])
        self.scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
        self.context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
        self.id = f"c{os.getpid()}"
        version = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "")
        self.file: dict[str, Any] = {"url": url, "start_timeout": "30s"}
        if version:
            self.file["protocol"] = "modern" if version >= "2026" else "legacy"
        if self.scenario.startswith("auth/"):
            self.file["auth"] = {"oauth": {}}
        self.logins = 0

    def put(self, path: str, body: Any) -> None:
        httpx.put(f"{self.url}{path}", json=body, headers=self.headers, trust_env=False).raise_for_status()

    def login(self) -> bool:
        """Log in as a user does, and return whether that went well."""
        self.logins += 1
        began = self.client.access.add_account(server=self.id)
        page = httpx.get(began["url"], trust_env=False, timeout=30)
        httpx.get(page.headers["location"], trust_env=False, timeout=30)
        while (found := self.client.access.login(self.id))["status"] == "waiting":
            time.sleep(0.05)
        print(found, file=sys.stderr)
        return bool(found["status"] == "done")

    def connect(self) -> list[str]:
        """Connect, with a login if need be; return the names of the usable tools."""
        self.put(f"/v1/mcp/{self.id}", self.file)
        while True:
            found = self.client.mcp.connect_server(self.id)
            print(found["state"], found["negotiated"], found["last_error"], file=sys.stderr)
            if found["state"] == "ready" or "auth" not in self.file or self.logins >= LOGINS or not self.login():
                break
        usable = [one["true_name"] for one in found["tools"] if one["problem"] is None]
        return [name.removeprefix(f"mcp__{self.id}__") for name in usable]

    def call(self, tool: str, arguments: Any) -> str:
        """Call a tool in a run, and return its output."""
        call = {"name": f"mcp__{self.id}__{tool}", "arguments": arguments}
        turns = [{"tool_calls": [call]}, {"text": "{{last_result}}"}]
        self.put(f"/v1/routes/{self.id}", {"driver": "scripted", "script": {"turns": turns}})
        session = self.client.sessions.create(route=self.id)["session_id"]
        run = self.client.runs.start(session, "go", wait="30s")
        while run.data["status"] == "waiting_for_question":
            question = self.client.questions.get(run.data["pending_questions"][0])
            chosen = {one["id"]: {"selected": [one["options"][0]["id"]]} for one in question["questions"]}
            self.client.questions.answer(question["question_id"], chosen)
            run = self.client.runs.get(run.run_id, wait="30s")
        print(tool, run.data["status"], run.output, file=sys.stderr)
        return str(run.output)

    def run(self) -> None:
        try:
            self._run()
        finally:  # the suite waits for the end of the connection
            self.client.mcp.delete(self.id)

    def _run(self) -> None:
        tools = self.connect()
        asked = {one["name"]: one.get("arguments", {}) for one in self.context.get("toolCalls", [])}
        for tool in asked or tools:
            output = self.call(tool, asked.get(tool, ARGUMENTS.get(tool, {})))
            if "kheish mcp login" in output and self.logins < LOGINS and self.login():
                self.call(tool, asked.get(tool, {}))


if __name__ == "__main__":
    Driver(sys.argv[-1]).run()
