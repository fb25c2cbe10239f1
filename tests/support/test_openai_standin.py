"""The stand-in as its own process, as benchmarks and demonstrations start it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx

TURNS = [
    {"calls": [{"name": "read_file", "arguments": {"path": "a.py"}}]},
    {"status": 503, "retry_after": "1"},
    {"text": "All is well."},
]
ROOT = Path(__file__).parents[2]


async def test_a_script_is_gone_through_by_what_the_conversation_shows(tmp_path: Path) -> None:
    script = tmp_path / "turns.json"
    script.write_text(json.dumps(TURNS))
    command = [sys.executable, "-m", "tests.support.openai_standin", "--port", "0", "--script", str(script)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        asked = [{"role": "user", "content": "go"}]
        answered = [*asked, {"role": "assistant", "content": None}, {"role": "tool", "content": "x"}]
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:

            async def post(messages: list[Any]) -> httpx.Response:
                return await client.post(f"{url}/chat/completions", json={"messages": messages})

            first, failed, last, other = [await post(m) for m in (asked, answered, answered, asked)]
    finally:
        process.kill()
        await process.wait()
    assert first.json() == other.json()
    assert first.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "read_file"
    assert (failed.status_code, failed.headers["retry-after"]) == (503, "1")
    assert last.json()["choices"][0]["message"]["content"] == "All is well."
