"""A thread pool for parsing users' and callers' documents: off the event loop, and apart from the threads that
responses need.

Bounds on a document (`yaml12`) keep each at seconds at most. Two threads keep many documents from taking all of the
interpreter's time. *Rejected:* a child process, since a document within the bounds costs less than starting one, and
the result would be sent back as a whole tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_POOL = ThreadPoolExecutor(2, thread_name_prefix="kheish-parsing")


async def run(parse: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call `parse` in the pool, in order of submission. Raises the errors of `parse`."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, partial(parse, *args, **named))
