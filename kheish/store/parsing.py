"""A pool for parsing what users and callers wrote: off the event loop, and not in the threads that answers need.

Bounds on a document (`yaml12`) keep one at seconds at most; two threads keep many of them from taking all the time that
the interpreter has. *Rejected:* a child process, since a document within the bounds costs less than starting one, and
what is parsed would be sent back as a whole tree.
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
    """Call `parse` in the pool; its turn comes when those before it are done. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, partial(parse, *args, **named))
