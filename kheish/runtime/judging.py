"""Threads for validating values by schemas: each may wait seconds for a confined child, and the API needs its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = ThreadPoolExecutor(4, thread_name_prefix="kheish-judging")


async def run(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call a blocking function of `kheish.domain.contracts.check`. Raises its exceptions."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(function, *args, **named))
