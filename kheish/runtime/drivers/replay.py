"""The `replay` driver: the answers of a recorded session, until something happens otherwise than it did then.

`kheish.runtime.replays` has found the answer, or the difference, and put it into the request's settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kheish.runtime.drivers.base import Call, ModelError, Reply, Request, Usage


class ReplayDriver:
    """A stateless driver; `settings["replay"]` is the recorded answer, or the difference."""

    async def complete(self, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Return the recorded answer. Raises ModelError at a difference."""
        found: Mapping[str, Any] = request.settings.get("replay") or {}
        if difference := found.get("difference"):
            raise ModelError("refused", f"The replay differs from the recording. {difference}")
        answer = found.get("answer")
        if answer is None:  # a summary, which no recording has as an answer
            raise ModelError("refused", "A recording has no answer to this request.")
        on_delta(answer["text"])
        calls = tuple(_call(one) for one in answer.get("calls") or ())
        usage = answer.get("usage") or {}
        return Reply(
            text=answer["text"],
            calls=calls,
            left_out=(calls and (answer["calls"][-1].get("left_out") or 0)) or 0,
            finish_reason=answer.get("finish_reason") or "stop",
            usage=Usage(
                input_tokens=usage.get("input_tokens") or 0,
                output_tokens=usage.get("output_tokens") or 0,
                cached_tokens=usage.get("cached_tokens") or 0,
                estimated=bool(usage.get("estimated")),
            ),
            model=answer.get("model"),
        )

    async def prepare(self) -> None:
        """Do nothing: there is nothing to import."""

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


def _call(call: Mapping[str, Any]) -> Call:
    arguments = call.get("arguments")
    return Call(
        id=call["id"],
        name=call["name"],
        arguments=arguments if isinstance(arguments, dict) else {},
        malformed=call.get("malformed"),
    )
