"""The Python client: `from kheish.client import Kheish, AsyncKheish`. May import errors and ids, nothing else.

`requests.py` (each operation as data), `shapes.py` (types of their JSON), `sync.py` and `aio.py` (the two clients) are
generated from the API by `python -m kheish.generate.client`. Written by hand are the transports, the parser of streams
(`sse.py`), discovery, and the functions that follow and wait (`connection.py`, `aio_connection.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kheish.client.aio import AsyncKheish
    from kheish.client.aio_connection import AsyncRun
    from kheish.client.connection import Run
    from kheish.client.sse import Event
    from kheish.client.sync import Kheish

__all__ = ["AsyncKheish", "AsyncRun", "Event", "Kheish", "Run"]

_WHERE = {"Kheish": "sync", "Run": "connection", "AsyncKheish": "aio", "AsyncRun": "aio_connection", "Event": "sse"}


def __getattr__(name: str) -> Any:
    # The blocking client does not need httpx, and `kheish --help` needs neither.
    if name not in _WHERE:
        raise AttributeError(f"module 'kheish.client' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"kheish.client.{_WHERE[name]}"), name)
