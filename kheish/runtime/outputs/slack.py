"""Messages in Slack: Markdown in parts, in threads, and files after them. Each message carries the delivery's id as
metadata, by which a delivery whose end is unknown is found again."""

from __future__ import annotations

from typing import Any

from kheish import ids
from kheish.domain.outputs import targets
from kheish.errors import PlatformRefused
from kheish.runtime.outputs import chunks
from kheish.runtime.outputs.base import Job, Sent, Way
from kheish.runtime.platforms.slack import API, Slack

MOST = 11_500
#: Slack's limit for a channel
_SECONDS_APART = 1.0
_EVENT = "kheish_delivery"
#: the beginning of the receipt of a file that is uploaded, and not known to be shared
_UPLOAD = "upload:"
_PAGE = 100
#: messages that a look-up reads; a busy channel may have more since the attempt
_PAGES = 5


async def send(job: Job, way: Way) -> Sent:
    """Post the parts of the text, then the files, without those that have arrived. Raises NotDelivered,
    KheishError."""
    client, texts, receipt = _client(job, way), chunks.split(job.text, MOST), job.receipt
    parts = len(texts) + len(job.files)
    for number in range(job.parts_done, parts):
        await way.space(_SECONDS_APART)
        if number < len(texts):
            receipt = await _post(job, client, texts[number], (number + 1, parts), way.seconds)
        else:
            receipt = await _share(job, client, way, (number, parts), receipt)
        if parts > 1:
            await way.progress(number + 1, parts, receipt)
    return Sent(parts, receipt)


async def _post(job: Job, client: Slack, text: str, part: tuple[int, int], seconds: float) -> str | None:
    """Post a part of the text, and return its id."""
    payload = {"delivery_id": job.delivery_id, "part": part[0], "parts": part[1]}
    answer = await client.call(
        "chat.postMessage",
        {
            "channel": targets.addressed(job.sink, job.target, "channel"),
            "thread_ts": job.target.get("thread_ts"),
            "markdown_text": text,
            "metadata": {"event_type": _EVENT, "event_payload": payload},
            "unfurl_links": False,
        },
        seconds=seconds,
    )
    return str(answer.get("ts") or "") or None


async def _share(job: Job, client: Slack, way: Way, part: tuple[int, int], receipt: str | None) -> str:
    """Upload a file and share it in the channel; return its id. The id is journaled before the file is shared, since
    no metadata marks the message of a file: a later attempt finds the file by it."""
    number, parts = part
    known = _uploaded(receipt, number)
    if known is not None and await _is_shared(client, known, way.seconds):
        return known
    file = job.files[number - (parts - len(job.files))]
    content = await way.content(file)
    opened = await client.call(
        "files.getUploadURLExternal", {"filename": file.name, "length": len(content)}, seconds=way.seconds
    )
    id = str(opened.get("file_id"))
    await client.upload(str(opened.get("upload_url")), content, seconds=way.seconds)
    await way.progress(number, parts, f"{_UPLOAD}{number}:{id}")
    shared = {
        "files": [{"id": id, "title": file.name}],
        "channel_id": targets.addressed(job.sink, job.target, "channel"),
        "thread_ts": job.target.get("thread_ts"),
    }
    await client.call("files.completeUploadExternal", shared, seconds=way.seconds)
    return id


def _uploaded(receipt: str | None, number: int) -> str | None:
    """Return the id of a file that an earlier attempt uploaded as a part, and may have shared."""
    prefix = f"{_UPLOAD}{number}:"
    return receipt.removeprefix(prefix) if receipt is not None and receipt.startswith(prefix) else None


async def _is_shared(client: Slack, file_id: str, seconds: float) -> bool:
    """Return whether an uploaded file is in a channel; a file that Slack does not show is uploaded once more."""
    try:
        answer = await client.call("files.info", {"file": file_id}, seconds=seconds)
    except PlatformRefused:
        return False
    shown = answer.get("file")
    return isinstance(shown, dict) and any(shown.get(place) for place in ("channels", "groups", "ims", "shares"))


async def find(job: Job, way: Way) -> Sent | None:
    """Return the delivery if all of its parts are in the channel; the parts that are there are journaled. Raises
    KheishError."""
    client, texts = _client(job, way), len(chunks.split(job.text, MOST))
    parts, done, receipt = texts + len(job.files), job.parts_done, job.receipt
    if done < texts:
        arrived = await _arrived(job, client, way.seconds)
        while done + 1 in arrived:
            done, receipt = done + 1, arrived[done + 1]
    elif (known := _uploaded(receipt, done)) is not None and await _is_shared(client, known, way.seconds):
        done, receipt = done + 1, known
    if done >= parts:
        return Sent(parts, receipt)
    if done > job.parts_done:
        await way.progress(done, parts, receipt)
    return None


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
