"""Messages in Telegram: HTML by our own escaping, rich messages from Markdown, or plain text; in parts, in topics, and
files after the text."""

from __future__ import annotations

import html
import re
from functools import partial
from typing import Any

from kheish.domain.outputs import targets
from kheish.errors import ChatMigrated, PlatformRefused
from kheish.runtime.outputs import chunks
from kheish.runtime.outputs.base import File, Job, Sent, Way
from kheish.runtime.platforms import web
from kheish.runtime.platforms.telegram import API, Telegram

#: characters of a message; Telegram counts UTF-16 units, of which a character has two at most
MOST, MOST_RICH = 4096, 32_768
_SECONDS_APART = 1.0
#: the images that Telegram shows as photos, and their largest size
_PHOTOS, _PHOTO_BYTES = frozenset({"image/jpeg", "image/png", "image/webp"}), 10_000_000
_CODE = re.compile(r"```[^\n]*\n(.*?)(?:\n```|```|\Z)|`([^`\n]+)`", re.S)
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*")
_HEADING = re.compile(r"^#{1,6} +(.+?)#*$", re.M)


async def send(job: Job, way: Way) -> Sent:
    """Send the parts of the text, then the files, without those that have arrived. Raises NotDelivered,
    KheishError."""
    form = job.sink.format or "html"
    client = Telegram(lambda: way.lend(job.sink.token or ""), api_base=job.sink.api_base or API)
    body = {
        "chat_id": targets.addressed(job.sink, job.target, "chat"),
        "message_thread_id": targets.addressed(job.sink, job.target, "topic"),
    }
    texts, receipt = split(job.text, MOST_RICH if form == "rich" else MOST), job.receipt
    parts = len(texts) + len(job.files)
    for number in range(job.parts_done, parts):
        await way.space(_SECONDS_APART)
        if number < len(texts):
            post = partial(_post, client, text=texts[number], form=form, seconds=way.seconds)
        else:
            file = job.files[number - len(texts)]
            post = partial(_post_file, client, file=file, content=await way.content(file), seconds=way.seconds)
        try:
            done = await post(body)
        except ChatMigrated as error:
            body = {**body, "chat_id": error.chat}
            done = await post(body)
        receipt = str(done["message_id"]) if isinstance(done, dict) and "message_id" in done else None
        if parts > 1:
            await way.progress(number + 1, parts, receipt)
    return Sent(parts, receipt)


async def _post_file(client: Telegram, body: dict[str, Any], *, file: File, content: bytes, seconds: float) -> Any:
    """Send a file: an image that Telegram shows as a photo, or a document."""
    sent = web.File(name=file.name, content=content, media=file.media_type)
    if file.media_type in _PHOTOS and len(content) <= _PHOTO_BYTES:
        try:
            return await client.call("sendPhoto", body, files={"photo": sent}, seconds=seconds)
        except PlatformRefused as error:
            if error.reason not in ("bad_request", "too_large"):  # a photo of odd dimensions is a document
                raise
    return await client.call("sendDocument", body, files={"document": sent}, seconds=seconds)


async def _post(client: Telegram, body: dict[str, Any], *, text: str, form: str, seconds: float) -> Any:
    """Send a text in its form; one that Telegram cannot parse is sent once more as plain text."""
    try:
        match form:
            case "rich":
                given = {**body, "rich_message": {"markdown": text}}
                return await client.call("sendRichMessage", given, seconds=seconds)
            case "html":
                given = {**body, "text": as_html(text), "parse_mode": "HTML"}
                return await client.call("sendMessage", given, seconds=seconds)
    except PlatformRefused as error:
        if error.reason != "cannot_parse":
            raise
    done: Any = None
    for piece in split(text, MOST):
        done = await client.call("sendMessage", {**body, "text": piece}, seconds=seconds)
    return done


def split(text: str, most: int) -> list[str]:
    """Return the parts of a text, each of at most `most` UTF-16 units."""
    is_wide = any(ord(character) > 0xFFFF for character in text)
    return chunks.split(text, most // 2 if is_wide else most)


def as_html(text: str) -> str:
    """Return a Markdown text in Telegram's HTML: code, bold words and headings; everything else is escaped."""
    pieces, at = [], 0
    for found in _CODE.finditer(text):
        pieces.append(_prose(text[at : found.start()]))
        block, word = found.groups()
        pieces.append(f"<code>{_escape(word)}</code>" if word is not None else f"<pre>{_escape(block)}</pre>")
        at = found.end()
    return "".join((*pieces, _prose(text[at:])))


def _prose(text: str) -> str:
    marked = _HEADING.sub(r"**\1**", text)
    return _BOLD.sub(r"<b>\1</b>", _escape(marked))


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
