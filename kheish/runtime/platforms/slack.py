"""Slack's Web API over httpx: one call, with its errors as types.

Arguments are sent as a form, since not every method accepts JSON; nested values are JSON inside of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from kheish.errors import PlatformRefused, PlatformThrottled, PlatformUnavailable, PlatformUnclear
from kheish.runtime.platforms import web
from kheish.runtime.platforms.web import Lend

API = "https://slack.com/api"
_NAME = "Slack"
_SECONDS = 30.0
_FORM = "application/x-www-form-urlencoded"
#: errors that a later repetition may not have, without an effect so far
_PASSING = frozenset({"service_unavailable", "team_added_to_org", "request_timeout", "org_login_required"})
#: errors after which, by Slack's own words, some of the call may have happened
_UNCLEAR = frozenset({"internal_error", "fatal_error"})
_THROTTLED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
#: seconds, if a refusal for too many requests names none
_PAUSE = 30.0


class Slack:
    """A client for one token; `lend` is asked for each call, so that a rotated token is used at once."""

    def __init__(self, lend: Lend, *, api_base: str = API) -> None:
        self._lend = lend
        self._base = api_base.rstrip("/")

    async def call(
        self, method: str, body: Mapping[str, Any] | None = None, *, seconds: float = _SECONDS
    ) -> dict[str, Any]:
        """Call a method (`chat.postMessage`), and return its answer, which has `ok: true`. Arguments that are None are
        left out. Raises PlatformThrottled, PlatformUnavailable, PlatformUnclear, PlatformRefused (its `reason` is
        Slack's `error`), CredentialRevoked, NotFound."""
        given = {name: web.written(value) for name, value in (body or {}).items() if value is not None}
        content = urlencode(given).encode()
        async with self._lend() as lease:
            headers = {"Authorization": f"Bearer {lease.value}", "Content-Type": _FORM}
            url = f"{self._base}/{method}"
            sending = (_NAME, "POST", url)
            answer = await web.send(
                *sending, base=self._base, lease=lease, headers=headers, content=content, seconds=seconds
            )
        if answer.status == 429:
            after = web.delay(answer) or _PAUSE
            raise PlatformThrottled(f"Slack asks for {after:g} s.", reason="ratelimited", retry_after=after)
        value = await web.parse(_NAME, answer)
        if value.get("ok") is True:
            return value
        raise _error(method, value, answer.status, web.delay(answer))

    async def upload(self, url: str, content: bytes, *, seconds: float = 4 * _SECONDS) -> None:
        """Send the bytes of a file to the address that `files.getUploadURLExternal` gave; it needs no token. Raises
        PlatformUnavailable, PlatformUnclear, PlatformRefused."""
        headers = {"Content-Type": "application/octet-stream"}
        sending = (_NAME, "POST", url)
        answer = await web.send(
            *sending, base=self._base, lease=None, headers=headers, content=content, seconds=seconds
        )
        if answer.status >= 500 or answer.status == 429:
            said = f"Slack answered an upload with {answer.status}."
            raise PlatformUnavailable(said, reason=f"http_{answer.status}", retry_after=web.delay(answer))
        if answer.status != 200:
            raise PlatformRefused(f"Slack answered an upload with {answer.status}.", reason=f"http_{answer.status}")

    async def download(self, url: str, *, limit: int, seconds: float = 4 * _SECONDS) -> bytes:
        """Return the bytes of a file (`url_private`). The token is sent to Slack's own hosts only. Raises
        PlatformRefused for other hosts and for more than `limit` bytes, PlatformUnavailable, PlatformUnclear."""
        if not _is_own(url, self._base):
            raise PlatformRefused("The file is not on a host of Slack.", reason="foreign_host")
        async with self._lend() as lease:
            headers = {"Authorization": f"Bearer {lease.value}"}
            sending = (_NAME, "GET", url)
            answer = await web.send(
                *sending, base=self._base, lease=lease, headers=headers, seconds=seconds, limit=limit
            )
        if answer.status != 200:
            raise PlatformRefused(f"Slack answered a download with {answer.status}.", reason=f"http_{answer.status}")
        if answer.is_cut:
            raise PlatformRefused(f"The file has more than {limit} bytes.", reason="too_large")
        return answer.body


def _error(
    method: str, value: Mapping[str, Any], status: int, after: float | None
) -> PlatformRefused | PlatformUnavailable | PlatformUnclear:
    reason = web.shorten(value.get("error") or f"http_{status}")
    more = value.get("response_metadata")
    messages = more.get("messages") if isinstance(more, dict) else None
    notes = f" ({web.shorten('; '.join(map(str, messages)))})" if isinstance(messages, list) and messages else ""
    said = f"Slack refused {method}: {reason}{notes}."
    if reason in _THROTTLED:
        return PlatformThrottled(said, reason=reason, retry_after=after or _PAUSE)
    if reason in _UNCLEAR:
        return PlatformUnclear(said, reason=reason)
    if reason in _PASSING or status >= 500:
        return PlatformUnavailable(said, reason=reason, retry_after=after)
    return PlatformRefused(said, reason=reason)


def _is_own(url: str, base: str) -> bool:
    """Return whether a URL is on Slack's hosts, or on the configured one."""
    parts, own = urlsplit(url), urlsplit(base)
    host = parts.hostname or ""
    is_slack = parts.scheme == "https" and (host == "slack.com" or host.endswith(".slack.com"))
    return is_slack or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
