"""What the application adds to Falcon's."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import orjson
import pytest

from kheish.api.http.app import App


class Slow:
    """A resource that never answers, or breaks off its answer."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def on_get(self, req: Any, resp: Any) -> None:
        self.reached.set()
        await asyncio.Event().wait()

    async def on_post(self, req: Any, resp: Any) -> None:
        async def parts() -> Any:
            yield b"a part"
            self.reached.set()
            await asyncio.Event().wait()

        resp.stream = parts()


async def cancelled(method: str) -> tuple[list[dict[str, Any]], asyncio.Task[None]]:
    """What a request sends whose task is cancelled, as uvicorn does at the end, and its task."""
    app, slow, sent = App(), Slow(), list[dict[str, Any]]()
    app.add_route("/slow", slow)
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": "/slow",
             "query_string": b"", "headers": [], "scheme": "http", "server": ("127.0.0.1", 1)}  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    task = asyncio.create_task(app(scope, receive, send))
    await asyncio.wait_for(slow.reached.wait(), 10)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    return sent, task


async def test_a_request_that_the_end_cancels_is_told_to_come_again() -> None:
    (start, body), task = await cancelled("GET")
    assert start["status"] == 503 and (b"retry-after", b"1") in start["headers"]
    assert orjson.loads(body["body"])["code"] == "unavailable"
    assert not task.cancelled()


class Named:
    """A resource that answers with the id in the path."""

    async def on_get(self, req: Any, resp: Any, id: str) -> None:
        resp.media = {"id": id}

    async def on_get_below(self, req: Any, resp: Any, id: str) -> None:
        resp.media = {"below": id}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/x/a", {"id": "a"}),
        ("/x/a/below", {"below": "a"}),
        ("/x/a%2Fbelow", {"id": "a%2Fbelow"}),
        ("/x/a%2fbelow", {"id": "a%2Fbelow"}),
        ("/x/%C3%A9%2F%2e%2e", {"id": "é%2F.."}),
        ("/x/%2F/below", {"below": "%2F"}),
    ],
)
async def test_an_encoded_slash_is_part_of_an_id(path: str, answer: dict[str, str]) -> None:
    app, named, sent = App(), Named(), list[dict[str, Any]]()
    app.add_route("/x/{id}", named)
    app.add_route("/x/{id}/below", named, suffix="below")
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": unquote(path),
             "raw_path": path.encode(), "query_string": b"", "headers": [], "scheme": "http",
             "server": ("127.0.0.1", 1)}  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert orjson.loads(sent[1]["body"]) == answer


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    sent, task = await cancelled("POST")
    assert sent[0]["status"] == 200 and len([one for one in sent if one["type"] == "http.response.start"]) == 1
    with pytest.raises(asyncio.CancelledError):
        task.result()
