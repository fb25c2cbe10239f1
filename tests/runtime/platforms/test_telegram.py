"""Telegram's Bot API: arguments, files, and each kind of answer."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.errors import ChatMigrated, PlatformError, PlatformRefused, PlatformThrottled, PlatformUnavailable
from kheish.runtime.platforms.telegram import Telegram
from kheish.runtime.platforms.web import File
from tests.runtime.platforms.conftest import TOKEN, Lending
from tests.support.receiver import Receiver, Reply


async def test_a_call_returns_the_result(lending: Lending, site: Receiver) -> None:
    site.answer = lambda got: Reply(body={"ok": True, "result": {"message_id": 7}})
    bot = Telegram(lending, api_base=site.url)
    assert await bot.call("sendMessage", {"chat_id": 1, "text": "héllo", "parse_mode": None}) == {"message_id": 7}
    (got,) = site.got
    assert got.path == f"/bot{TOKEN}/sendMessage" and got.json == {"chat_id": 1, "text": "héllo"}


async def test_a_document_is_a_form_with_a_file(lending: Lending, site: Receiver) -> None:
    site.answer = lambda got: Reply(body={"ok": True, "result": True})
    file = File(name='a"\r\nX: b.txt', content=b"\x00binary\r\n", media="text/plain")
    await Telegram(lending, api_base=site.url).call("sendDocument", {"chat_id": 1}, files={"document": file})
    (got,) = site.got
    border = got.headers["content-type"].partition("boundary=")[2].encode()
    parts = got.body.split(b"--" + border)
    assert len(parts) == 4 and parts[1].endswith(b'name="chat_id"\r\n\r\n1\r\n')
    assert b'filename="a___X: b.txt"' in parts[2] and parts[2].endswith(b"\r\n\r\n\x00binary\r\n\r\n")


def refusal(code: int, description: str, **parameters: Any) -> Reply:
    body = {"ok": False, "error_code": code, "description": description, "parameters": parameters}
    return Reply(code, body)


@pytest.mark.parametrize(
    ("reply", "error", "reason", "after"),
    [
        (refusal(429, "Too Many Requests: retry after 5", retry_after=5), PlatformThrottled, "throttled", 5.0),
        (refusal(429, "Too Many Requests"), PlatformThrottled, "throttled", 30.0),
        (refusal(400, "Bad Request: can't parse entities: …"), PlatformRefused, "cannot_parse", None),
        (refusal(400, "Bad Request: chat not found"), PlatformRefused, "chat_not_found", None),
        (refusal(400, "Bad Request: something new"), PlatformRefused, "bad_request", None),
        (refusal(401, "Unauthorized"), PlatformRefused, "unauthorized", None),
        (refusal(403, "Forbidden: bot was blocked by the user"), PlatformRefused, "blocked", None),
        (refusal(409, "Conflict: terminated by other getUpdates request"), PlatformRefused, "polled_elsewhere", None),
        (refusal(502, "Bad Gateway"), PlatformUnavailable, "http_502", None),
        (refusal(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1007), ChatMigrated,
         "chat_migrated", None),
    ],
)  # fmt: skip
async def test_an_answer_that_is_no_success_is_a_typed_error(
    lending: Lending, site: Receiver, reply: Reply, error: type[PlatformError], reason: str, after: float | None
) -> None:
    site.answer = lambda got: reply
    with pytest.raises(error) as raised:
        await Telegram(lending, api_base=site.url).call("sendMessage", {"chat_id": 1, "text": "a"})
    assert type(raised.value) is error
    assert (raised.value.reason, raised.value.retry_after) == (reason, after)
    if isinstance(raised.value, ChatMigrated):
        assert raised.value.chat == -1007


@pytest.mark.parametrize("reply", [Reply(drop=True), Reply(200, b"<html>"), Reply(302, b"", {"Location": "/x"})])
async def test_no_error_shows_the_token(lending: Lending, site: Receiver, reply: Reply) -> None:
    site.answer = lambda got: reply
    with pytest.raises(PlatformError) as raised:
        await Telegram(lending, api_base=site.url).call("getMe")
    assert TOKEN not in raised.value.detail and raised.value.__cause__ is None


async def test_a_file_is_downloaded_up_to_a_limit(lending: Lending, site: Receiver) -> None:
    site.answer = lambda got: Reply(body=b"photo")
    bot = Telegram(lending, api_base=site.url)
    assert await bot.download("photos/1.jpg", limit=100) == b"photo"
    assert site.got[0].path == f"/file/bot{TOKEN}/photos/1.jpg"
    with pytest.raises(PlatformRefused):
        await bot.download("photos/1.jpg", limit=2)
