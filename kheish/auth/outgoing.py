"""The dependencies of requests to other machines, loaded in a thread: httpx, its backend for asyncio, and the
certificate authorities.

An import at first use, on the event loop, would block all responses for 300 ms, and for a second on a busy machine. The
authorities are read once: a separate context for each request costs 20 ms, and 8 at once hold the interpreter's lock
for the time of all of them.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_is_loaded = False


async def load() -> None:
    """Load everything that requests need, off the event loop."""
    if not _is_loaded:
        await asyncio.to_thread(_load)


@functools.lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """Return the TLS context of connections that speak no HTTP. It takes nothing from the environment. Blocks the first
    time."""
    return _context()


@functools.lru_cache(maxsize=1)
def https() -> ssl.SSLContext:
    """Return the TLS context of HTTP: it offers HTTP/1.1, which a mail server may refuse. Blocks the first time."""
    context = _context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context(trust_env=False)


def _load() -> None:
    global _is_loaded
    import encodings.idna  # noqa: F401 - for names of hosts

    import anyio._backends._asyncio  # noqa: F401 - httpcore imports it, inside of a request
    import h11  # noqa: F401 - loaded here, used at the first request
    import httpcore  # noqa: F401 - the same
    import httpx  # noqa: F401 - the same
    import sniffio  # noqa: F401 - the same

    tls()
    https()
    _is_loaded = True
