"""Shared by the drivers' tests: one request to a stand-in, and what came of it."""

from __future__ import annotations

from typing import Any

from kheish.runtime.drivers.base import Driver, Message, ModelError, Reply, Request

HELLO = (Message(role="system", text="be brief"), Message(role="user", text="hello"))


def request(url: str, **fields: Any) -> Request:
    """A request to the server at `url`; `settings` are added to its address."""
    settings = {"api_base": url, "timeout": 10.0, "inactivity_timeout": 5.0, **fields.pop("settings", {})}
    return Request(**{"route_id": "local", "model": "m-1", "messages": HELLO, "settings": settings, **fields})


async def ask(driver: Driver, asked: Request) -> tuple[Reply, list[str]]:
    """The reply, and the deltas as they came."""
    deltas: list[str] = []
    return await driver.complete(asked, deltas.append), deltas


async def fail(driver: Driver, asked: Request) -> ModelError:
    """The error that the call raises."""
    try:
        reply = await driver.complete(asked, lambda text: None)
    except ModelError as error:
        return error
    raise AssertionError(f"no error, but {reply}")
