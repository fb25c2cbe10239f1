"""The output of a delivery, as receivers get it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kheish.auth import redaction
from kheish.domain.deliveries.delivery import Delivery
from kheish.domain.events import Spilled
from kheish.domain.runs import Run
from kheish.errors import NotFound
from kheish.state.encoding import plain
from kheish.state.state import State

#: marks of headings, quotes and lists at the beginning of a line, of bold words and of code
_MARKS = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[-*+]\s+)|\*\*|__|`")


async def output_of(state: State, delivery: Delivery) -> dict[str, Any]:
    """Return the output that a delivery of a loaded session carries, without known secrets. Raises NotFound for one
    that the run does not have, Damaged."""
    announced = delivery.content
    content, artifacts = (announced, []) if announced is not None else await _output(state, delivery)
    content = redaction.scrub_text(content, state.scrub)
    return {
        "output_id": delivery.output_id,
        "run_id": delivery.run_id,
        "session_id": delivery.session_id,
        "kind": delivery.kind,
        "content": content,
        "parts": _parts(content, artifacts),
        "artifacts": artifacts,
        "at": delivery.created_at,
    }


def body_of(output: Mapping[str, Any]) -> bytes:
    """Return the body of requests and of a command's input: the same bytes at each attempt."""
    return orjson.dumps({"type": "output", "data": output})


def headline(text: str, most: int) -> str:
    """Return the first line of a text without marks of Markdown, for a subject or a title; it may be empty."""
    lines = (_MARKS.sub("", line) for line in text.splitlines())
    words = next((line.split() for line in lines if line.strip()), [])
    line = "".join(character for character in " ".join(words) if character.isprintable())
    return line if len(line) <= most else f"{line[:most]}…"


async def _output(state: State, delivery: Delivery) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a run's output, and its files."""
    run = state.find(Run, delivery.run_id or "")
    if run is not None:
        emitted: Any = next((plain(one) for one in run.outputs if one.output_id == delivery.output_id), None)
    else:
        doc = await state.recall(Run, delivery.run_id or "") or {}
        emitted = next((one for one in doc.get("outputs", ()) if one["output_id"] == delivery.output_id), None)
    if emitted is None:
        raise NotFound(f"The run {delivery.run_id} has no output {delivery.output_id}.")
    content, artifacts = emitted["content"], list(emitted.get("artifacts", ()))
    if isinstance(content, Mapping):
        content = await state.payloads.text(state.sessions[delivery.session_id].path, Spilled(**content))
    return str(content), artifacts


def _parts(content: str, artifacts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the text and the files of an output in order; nothing for a text alone, which is the content."""
    if not artifacts:
        return []
    return [{"type": "text", "text": content}, *({"type": "asset", **one} for one in artifacts)]
