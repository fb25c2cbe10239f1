"""A small MCP server over stdio that keeps notes in a file of its working folder. It needs nothing but Python.

A server of your own is shorter with the SDK of the protocol (`pip install mcp`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NOTES = Path("notes.txt")
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    {"name": "add_note", "description": "Add a note.", "inputSchema": TEXT},
    {
        "name": "list_notes",
        "description": "List the notes.",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    },
]


def call(name: str, arguments: dict[str, Any]) -> str:
    notes = NOTES.read_text().splitlines() if NOTES.exists() else []
    if name == "add_note":
        notes.append(" ".join(arguments["text"].split()))
        NOTES.write_text("\n".join(notes) + "\n")
        return f"That was note {len(notes)}."
    return "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)) or "There are no notes."


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        info = {"name": "notes", "version": "1.0"}
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info,
                "instructions": "Notes are single lines."}  # fmt: skip
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        text = call(params["name"], params.get("arguments") or {})
        return {"content": [{"type": "text", "text": text}]}
    raise LookupError(method)


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue  # a notification
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        reply["result"] = answer(message["method"], message.get("params") or {})
    except LookupError:
        reply["error"] = {"code": -32601, "message": f"There is no method {message['method']}."}
    print(json.dumps(reply), flush=True)
