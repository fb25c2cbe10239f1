"""Work of tools beneath the workspace: in threads of its own, with refusals as messages for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from kheish.beneath import pool
from kheish.errors import NotBeneath, WorkspaceSlow
from kheish.runtime.tools.base import Context, ToolError

Given = ParamSpec("Given")
Found = TypeVar("Found")


async def work(
    context: Context, function: Callable[Given, Found], *arguments: Given.args, **named: Given.kwargs
) -> Found:
    """Call a function that opens files of the workspace. Raises ToolError."""
    try:
        return await pool.run(context.door, function, *arguments, **named)
    except (NotBeneath, WorkspaceSlow) as error:
        raise ToolError(error.detail) from error
