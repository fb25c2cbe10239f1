"""`POST /chat/completions`: a run as one answer, whole or in chunks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.client import requests
from kheish.errors import KheishError
from kheish.protocols import needs, speech
from kheish.protocols.access import Access
from kheish.protocols.openai import failures
from kheish.protocols.speech import GAP, Speech

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

DONE = b"data: [DONE]\n\n"


def id_of(run: RunView) -> str:
    """Return the id of a run's completion."""
    return "chatcmpl-" + run["run_id"].removeprefix("run_")


async def completion(access: Access, run: RunView, model: str) -> dict[str, Any]:
    """Return a run's answer when it has ended, or waits for its user. Raises NoAnswer, KheishError."""
    run = await needs.settle(access, run)
    failures.check(run)
    text = run["output"] or ""
    if run["status"] not in speech.ENDED:
        before = await speech.said(access, run) if run["status"] != "queued" else ""
        text = GAP.join(filter(None, (before, await needs.told(access, run))))
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {**_head(run, model, "chat.completion"), "choices": [choice], "usage": usage(run)}


async def chunks(access: Access, run: RunView, model: str, *, with_usage: bool) -> AsyncIterator[bytes]:
    """Yield the events of a streamed answer. Raises KheishError."""
    head = _head(run, model, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return event({**head, "choices": [choice], **({"usage": None} if with_usage else {})})

    yield chunk({"role": "assistant", "content": ""})
    spoken = Speech()
    is_waiting = await _waits(access, run)
    if not is_waiting:
        async for text in speech.texts(access, run, spoken):
            if not text:
                is_waiting = await _waits(access, run)
                if is_waiting:
                    break
                continue
            yield chunk({"content": text})
    run = await access.send(requests.get_run(run["run_id"]))
    try:
        failures.check(run)
    except KheishError as error:
        yield event(failures.document(error))
        return
    rest = spoken.finish(run["output"]) if run["status"] in speech.ENDED else await needs.told(access, run)
    if rest:
        yield chunk({"content": (GAP if spoken.length and is_waiting else "") + rest})
    yield chunk({}, "stop")
    if with_usage:
        yield event({**head, "choices": [], "usage": usage(run)})
    yield DONE


async def _waits(access: Access, run: RunView) -> bool:
    return await needs.blocking(access, await access.send(requests.get_run(run["run_id"]))) is not None


def usage(run: RunView) -> dict[str, Any]:
    """Return the tokens that a run has used, with those of its agents."""
    spent = run["usage"]
    return {
        "prompt_tokens": spent["input_tokens"],
        "completion_tokens": spent["output_tokens"],
        "total_tokens": spent["input_tokens"] + spent["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": spent["cached_tokens"]},
    }


def event(document: Mapping[str, Any]) -> bytes:
    """Return a server-sent event."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def _head(run: RunView, model: str, kind: str) -> dict[str, Any]:
    return {"id": id_of(run), "object": kind, "created": int(ids.seconds_of(run["submitted_at"])), "model": model}
