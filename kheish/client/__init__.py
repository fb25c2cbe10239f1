"""The Python client: `from kheish.client import Kheish, AsyncKheish`. May import errors and ids, nothing else.

`calls.py` has every request as data, `sse.py` reads streams, `finding.py` finds the daemon: all without I/O of their
own kind. `sync.py` and `aio.py` send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kheish.client.aio import AsyncKheish, AsyncRun
    from kheish.client.sse import Event
    from kheish.client.sync import Kheish, Run

__all__ = ["AsyncKheish", "AsyncRun", "Event", "Kheish", "Run"]

_WHERE = {"Kheish": "sync", "Run": "sync", "AsyncKheish": "aio", "AsyncRun": "aio", "Event": "sse"}


def __getattr__(name: str) -> Any:
    # The blocking client needs no httpx, and `kheish --help` needs neither.
    if name not in _WHERE:
        raise AttributeError(f"module 'kheish.client' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"kheish.client.{_WHERE[name]}"), name)
