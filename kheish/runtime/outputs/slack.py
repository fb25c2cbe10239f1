"""Messages in Slack: Markdown in parts, in threads. Each message carries the delivery's id as metadata, by which a
delivery whose end is unknown is found again."""

from __future__ import annotations

from typing import Any

from kheish import ids
from kheish.domain.outputs import targets
from kheish.runtime.outputs import chunks
from kheish.runtime.outputs.base import Job, Sent, Way
from kheish.runtime.platforms.slack import API, Slack

MOST = 11_500
#: Slack's limit for a channel
_SECONDS_APART = 1.0
_EVENT = "kheish_delivery"
_PAGE = 100
#: messages that a look-up reads; a busy channel may have more since the attempt
_PAGES = 5


async def send(job: Job, way: Way) -> Sent:
    """Post the parts that have not arrived. Raises NotDelivered, KheishError."""
    client, parts, receipt = _client(job, way), chunks.split(job.text, MOST), None
    for number, text in enumerate(parts):
        if number < job.parts_done:
            continue
        await way.space(_SECONDS_APART)
        payload = {"delivery_id": job.delivery_id, "part": number + 1, "parts": len(parts)}
        answer = await client.call(
            "chat.postMessage",
            {
                "channel": targets.addressed(job.sink, job.target, "channel"),
                "thread_ts": job.target.get("thread_ts"),
                "markdown_text": text,
                "metadata": {"event_type": _EVENT, "event_payload": payload},
                "unfurl_links": False,
            },
            seconds=way.seconds,
        )
        receipt = str(answer.get("ts") or "") or None
        if len(parts) > 1:
            await way.progress(number + 1, len(parts), receipt)
    return Sent(len(parts), receipt)


async def find(job: Job, way: Way) -> Sent | None:
    """Return the delivery if all of its parts are in the channel; the parts that are there are journaled. Raises
    KheishError."""
    client, parts = _client(job, way), len(chunks.split(job.text, MOST))
    arrived = await _arrived(job, client, way.seconds)
    done, receipt = 0, None
    while done + 1 in arrived:
        done, receipt = done + 1, arrived[done + 1]
    return Sent(parts, receipt) if done >= parts else None


async def _arrived(job: Job, client: Slack, seconds: float) -> dict[int, str]:
    """Return the parts of a delivery that the channel has: their numbers and ids."""
    thread = job.target.get("thread_ts")
    method = "conversations.replies" if thread else "conversations.history"
    body: dict[str, Any] = {
        "channel": targets.addressed(job.sink, job.target, "channel"),
        "ts": thread,
        "oldest": f"{ids.seconds_of(job.created_at) - 60:.6f}",
        "include_all_metadata": True,
        "limit": _PAGE,
    }
    found: dict[int, str] = {}
    for _ in range(_PAGES):
        answer = await client.call(method, body, seconds=seconds)
        for message in answer.get("messages") or ():
            metadata = message.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            if metadata.get("event_type") == _EVENT and payload.get("delivery_id") == job.delivery_id:
                found[int(payload.get("part") or 1)] = str(message.get("ts"))
        cursor = (answer.get("response_metadata") or {}).get("next_cursor")
        if not cursor:
            break
        body["cursor"] = cursor
    return found


def _client(job: Job, way: Way) -> Slack:
    return Slack(lambda: way.lend(job.sink.token or ""), api_base=job.sink.api_base or API)
