"""`/responses`: a run as a response object, and as a stream that can be resumed.

The number of an event follows from the text before it, so that a later stream continues anywhere: the deltas of a text
have the numbers of their last characters, whatever the chunks were.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.client import requests
from kheish.errors import Invalid, NotFound
from kheish.protocols import needs, speech
from kheish.protocols.access import Access
from kheish.protocols.openai import failures, messages, places
from kheish.protocols.openai.bodies import ResponsesBody
from kheish.protocols.openai.names import Name
from kheish.protocols.openai.places import META
from kheish.protocols.speech import Speech

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

_PREFIX = "resp_"
#: numbers of the events before the text: created, in_progress, output_item.added, content_part.added
_FIRST = 4
_STATUS = {
    "queued": "queued",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "failed",
    **dict.fromkeys(speech.NEEDS_USER, "incomplete"),
}


def id_of(run_id: str) -> str:
    """Return the id of a run's response."""
    return _PREFIX + run_id.removeprefix("run_")


def run_of(id: str) -> str:
    """Return the id of a response's run. Raises NotFound."""
    if not id.startswith(_PREFIX):
        raise NotFound(f"There is no response {id[:100]!r}.")
    return "run_" + id.removeprefix(_PREFIX)


async def start(
    access: Access, body: ResponsesBody, name: Name, caller: str, *, key: str | None, is_retry: bool
) -> RunView:
    """Return the run of a request. A repeated request, by its key or by the client's own word, finds its run.

    Raises KheishError.
    """
    told = messages.texts(body.input)
    if body.instructions:
        told = messages.Conversation("\n\n".join(filter(None, (body.instructions, told.instructions))), told.said)
    request = messages.digest(caller, body.model_dump_json())
    kept = {
        "request": request,
        "model": body.model,
        "background": bool(body.background),
        "previous": body.previous_response_id,
        "metadata": body.metadata or {},
    }
    if body.previous_response_id is not None:
        before = await access.send(requests.get_run(run_of(body.previous_response_id)))
        session, is_new = str(before["session_id"]), False
    else:
        prefix = f"resp-{messages.digest(caller, key or request)[:20]}-"
        earlier = await _session(access, prefix, key=key, is_retry=is_retry)
        session, is_new = earlier or prefix + ("key" if key else ids.new("s").removeprefix("s_")), True
        if earlier is None:
            await places.create(access, session, name, told.turn)
    if is_retry and (run := await _repeated(access, session, request)) is not None:
        return run
    return await access.send(
        requests.start_run(
            session,
            items=messages.task(told, begins=is_new),
            source=META,
            route=name.route,
            generation=body.generation() or None,
            idempotency_key=key,
            metadata={**(body.metadata or {}), META: kept},
        )
    )


async def _session(access: Access, prefix: str, *, key: str | None, is_retry: bool) -> str | None:
    """Return the session of a repeated request; None for a new one."""
    if key is None and not is_retry:
        return None
    page: Any = await access.send(requests.list_sessions(id_prefix=prefix, limit=10))
    found: list[str] = sorted((one["session_id"] for one in page["items"]), reverse=True)
    return found[0] if found else None


async def _repeated(access: Access, session: str, request: str) -> RunView | None:
    page: Any = await access.send(requests.list_runs(session=session, limit=10))
    runs = [run for run in page["items"] if _kept(run).get("request") == request]
    return runs[0] if runs else None


def _kept(run: RunView) -> Mapping[str, Any]:
    kept = run["request"]["metadata"].get(META)
    return kept if isinstance(kept, Mapping) else {}


async def read(access: Access, run: RunView) -> dict[str, Any]:
    """Return the response of a run as it stands. Raises KheishError."""
    parts = [await speech.said(access, run)] if run["status"] != "queued" else []
    if run["status"] not in speech.ENDED:
        parts.append(await needs.told(access, run))
    return shown(run, *filter(None, parts))


def shown(run: RunView, *texts: str) -> dict[str, Any]:
    """Return the response of a run that has said these texts."""
    kept, usage = _kept(run), run["usage"]
    status = _STATUS.get(run["status"], "in_progress")
    error = None
    if status == "failed":
        error = {"code": "server_error", "message": failures.of_run(run).detail}
    is_over = run["status"] in speech.ENDED
    return {
        "id": id_of(run["run_id"]),
        "object": "response",
        "created_at": int(ids.seconds_of(run["submitted_at"])),
        "completed_at": int(ids.seconds_of(run["finished_at"])) if run["finished_at"] else None,
        "status": status,
        "background": bool(kept.get("background")),
        "error": error,
        "incomplete_details": None,
        "instructions": None,
        "metadata": kept.get("metadata") or {},
        "model": kept.get("model") or str(Name(None, run["route"])),
        "output": [_item(run, place, text, is_over=is_over) for place, text in enumerate(texts)],
        "parallel_tool_calls": False,
        "previous_response_id": kept.get("previous"),
        "conversation": None,
        "store": True,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": {
            "input_tokens": usage["input_tokens"],
            "input_tokens_details": {"cached_tokens": usage["cached_tokens"], "cache_write_tokens": 0},
            "output_tokens": usage["output_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["input_tokens"] + usage["output_tokens"],
        },
    }


def _item(run: RunView, place: int, text: str, *, is_over: bool) -> dict[str, Any]:
    status = "completed" if is_over else "in_progress"
    return {"id": _item_id(run, place), "type": "message", "role": "assistant", "status": status,
            "content": [_part(text)]}  # fmt: skip


def _item_id(run: RunView, place: int) -> str:
    return f"msg_{run['run_id'].removeprefix('run_')}_{place}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Numbered:
    """The events of a response after one of them; each has its number, and those before are left out."""

    def __init__(self, after: int) -> None:
        self._after = after
        self.number = -1

    def events(self, *documents: dict[str, Any], at: int | None = None) -> bytes:
        """Return events as they are sent; the first has the number `at`, or the next one."""
        lines: list[bytes] = []
        for document in documents:
            self.number = self.number + 1 if at is None else max(at, self.number)
            at = None
            if self.number > self._after:
                body = json.dumps({**document, "sequence_number": self.number}, ensure_ascii=False)
                lines.append(f"event: {document['type']}\ndata: {body}\n\n".encode())
        return b"".join(lines)

    def part(self, text: str, start: int) -> str:
        """Return what a client that has the events before lacks of a text that begins at a character."""
        return text[max(0, self._after - _FIRST + 1 - start) :]


async def stream(access: Access, run: RunView, after: int = -1) -> AsyncIterator[bytes]:
    """Yield the events of a response after the one numbered `after`, up to its end. A background response stays open
    while it waits for its user; another one ends there. Raises KheishError."""
    numbered, spoken, parts = Numbered(after), Speech(), list[str]()
    item = {"output_index": 0, "item_id": _item_id(run, 0), "content_index": 0}
    begun = {**shown(run), "status": "in_progress"}
    added = {**_item(run, 0, "", is_over=False), "content": []}
    yield numbered.events(
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", **item, "part": _part("")},
    )

    def delta(text: str) -> bytes:
        start = spoken.length - len(text)
        parts.append(text)
        new = numbered.part(text, start)
        document = {"type": "response.output_text.delta", **item, "delta": new, "logprobs": []}
        return numbered.events(document, at=_FIRST + spoken.length - 1) if new else b""

    stays = _kept(run).get("background")
    if stays or not await _waits(access, run):
        async for text in speech.texts(access, run, spoken):
            if text:
                yield delta(text)
            elif not stays and await _waits(access, run):
                break
    run = await access.send(requests.get_run(run["run_id"]))
    if rest := spoken.finish(run["output"]):
        yield delta(rest)
    if run["status"] not in speech.ENDED:
        notice = await needs.told(access, run)
        yield numbered.events(*_message(run, 1, notice), at=_FIRST + spoken.length)
        final = {**shown(run, *filter(None, ("".join(parts), notice))), "status": "incomplete"}
        yield numbered.events({"type": "response.incomplete", "response": final})
        return
    whole = "".join(parts)
    done = _item(run, 0, whole, is_over=True)
    yield numbered.events(
        {"type": "response.output_text.done", **item, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **item, "part": _part(whole)},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        at=_FIRST + spoken.length,
    )
    final = shown(run, whole)
    kind = {"completed": "completed", "cancelled": "incomplete"}.get(final["status"], "failed")
    yield numbered.events({"type": f"response.{kind}", "response": final})


def _message(run: RunView, place: int, text: str) -> tuple[dict[str, Any], ...]:
    """Return the events of a whole message."""
    item = {"output_index": place, "item_id": _item_id(run, place), "content_index": 0}
    added, done = _item(run, place, "", is_over=False), _item(run, place, text, is_over=True)
    return (
        {"type": "response.output_item.added", "output_index": place, "item": {**added, "content": []}},
        {"type": "response.content_part.added", **item, "part": _part("")},
        {"type": "response.output_text.delta", **item, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **item, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **item, "part": _part(text)},
        {"type": "response.output_item.done", "output_index": place, "item": done},
    )


async def _waits(access: Access, run: RunView) -> bool:
    return await needs.blocking(access, await access.send(requests.get_run(run["run_id"]))) is not None


def place_of(text: str | None) -> int:
    """Return the number after which a stream continues. Raises Invalid."""
    if text is None:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise Invalid(f"starting_after is {text[:40]!r}, which is no number of an event.", param="starting_after")
    return int(text)
