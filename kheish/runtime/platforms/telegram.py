"""Telegram's Bot API over httpx: one call, with its errors as types. The token is part of the URL, so that no error may
show the URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kheish.errors import ChatMigrated, PlatformRefused, PlatformThrottled, PlatformUnavailable
from kheish.runtime.platforms import web
from kheish.runtime.platforms.web import File, Lend

API = "https://api.telegram.org"
_NAME = "Telegram"
_SECONDS = 30.0
_JSON = "application/json"
#: seconds, if a refusal for too many requests names none
_PAUSE = 30.0

#: the descriptions of refusals that callers handle, and the reasons that stand for them; the first match counts
_REASONS = (
    ("can't parse entities", "cannot_parse"),
    ("chat not found", "chat_not_found"),
    ("message is not modified", "not_modified"),
    ("message is too long", "too_long"),
    ("caption is too long", "too_long"),
    ("message text is empty", "empty"),
    ("message thread not found", "topic_not_found"),
    ("message to edit not found", "message_not_found"),
    ("message to be replied not found", "message_not_found"),
    ("query is too old", "query_expired"),
    ("file is too big", "too_large"),
    ("bot was blocked", "blocked"),
    ("bot was kicked", "blocked"),
    ("user is deactivated", "blocked"),
    ("terminated by other getupdates", "polled_elsewhere"),
    ("webhook is active", "webhook_active"),
)
_BY_STATUS = {
    401: "unauthorized",
    403: "forbidden",
    404: "unauthorized",  # Telegram's answer to a token that is malformed
    409: "conflict",
    413: "too_large",
}


class Telegram:
    """A client for one bot; `lend` is asked for each call, so that a rotated token is used at once."""

    def __init__(self, lend: Lend, *, api_base: str = API) -> None:
        self._lend = lend
        self._base = api_base.rstrip("/")

    async def call(
        self,
        method: str,
        body: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, File] | None = None,
        seconds: float = _SECONDS,
    ) -> Any:
        """Call a method (`sendMessage`), and return its `result`. Arguments that are None are left out. Raises
        PlatformThrottled, PlatformUnavailable, PlatformUnclear, ChatMigrated, PlatformRefused, CredentialRevoked,
        NotFound."""
        given = {name: value for name, value in (body or {}).items() if value is not None}
        if files:
            media, content = web.multipart({name: web.written(value) for name, value in given.items()}, files)
        else:
            media, content = _JSON, orjson.dumps(given)
        async with self._lend() as lease:
            url = f"{self._base}/bot{lease.value}/{method}"
            sending = (_NAME, "POST", url)
            headers = {"Content-Type": media}
            answer = await web.send(
                *sending, base=self._base, lease=lease, headers=headers, content=content, seconds=seconds
            )
        value = await web.parse(_NAME, answer)
        if value.get("ok") is True:
            return value.get("result")
        raise _error(method, value, answer.status, web.delay(answer))

    async def download(self, path: str, *, limit: int, seconds: float = 4 * _SECONDS) -> bytes:
        """Return the bytes of a file (`file_path` of `getFile`). Raises PlatformRefused for more than `limit` bytes,
        PlatformUnavailable, PlatformUnclear."""
        async with self._lend() as lease:
            sending = (_NAME, "GET", f"{self._base}/file/bot{lease.value}/{path.lstrip('/')}")
            answer = await web.send(*sending, base=self._base, lease=lease, seconds=seconds, limit=limit)
        if answer.status != 200:
            raise PlatformRefused(f"Telegram answered a download with {answer.status}.", reason=f"http_{answer.status}")
        if answer.is_cut:
            raise PlatformRefused(f"The file has more than {limit} bytes.", reason="too_large")
        return answer.body


def _error(
    method: str, value: Mapping[str, Any], status: int, after: float | None
) -> PlatformRefused | PlatformUnavailable:
    parameters = value.get("parameters")
    given = parameters if isinstance(parameters, dict) else {}
    code = value.get("error_code")
    code = code if isinstance(code, int) else status
    said = f"Telegram refused {method}: {web.shorten(value.get('description') or code)}."
    if isinstance(chat := given.get("migrate_to_chat_id"), int):
        return ChatMigrated(f"The chat is a supergroup now, with the id {chat}.", chat=chat)
    if code == 429:
        asked = given.get("retry_after")
        pause = float(asked) if isinstance(asked, int | float) and 0 <= asked < 86_400 else after or _PAUSE
        return PlatformThrottled(said, reason="throttled", retry_after=pause)
    if code >= 500:
        return PlatformUnavailable(said, reason=f"http_{code}", retry_after=after)
    described = str(value.get("description") or "").lower()
    known = (reason for phrase, reason in _REASONS if phrase in described)
    return PlatformRefused(said, reason=next(known, _BY_STATUS.get(code, "bad_request")))
