"""Slack's Web API: arguments, tokens, and each kind of answer."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from kheish.errors import (
    CredentialRevoked,
    PlatformError,
    PlatformRefused,
    PlatformThrottled,
    PlatformUnavailable,
    PlatformUnclear,
)
from kheish.runtime.platforms.slack import Slack
from tests.runtime.platforms.conftest import TOKEN, Lending
from tests.support.receiver import Got, Receiver, Reply


async def test_a_call_sends_a_form_with_the_token_and_returns_the_answer(lending: Lending, site: Receiver) -> None:
    site.answer = lambda got: Reply(body={"ok": True, "ts": "1.2"})
    blocks = [{"type": "section"}]

    answer = await Slack(lending, api_base=f"{site.url}/api/").call(
        "chat.postMessage", {"channel": "C1", "blocks": blocks, "thread_ts": None, "unfurl_links": False}
    )

    (got,) = site.got
    assert answer["ts"] == "1.2"
    assert got.path == "/api/chat.postMessage" and got.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(got.form["blocks"]) == blocks and got.form["unfurl_links"] == "false"
    assert "thread_ts" not in got.form


async def test_each_call_takes_its_own_lease(lending: Lending, site: Receiver) -> None:
    site.answer = lambda got: Reply(body={"ok": True})
    slack = Slack(lending, api_base=site.url)
    await slack.call("auth.test")
    lending.value = "xoxb-rotated"
    await slack.call("auth.test")
    assert [got.headers["authorization"] for got in site.got] == [f"Bearer {TOKEN}", "Bearer xoxb-rotated"]


@pytest.mark.parametrize(
    ("reply", "error", "reason", "after"),
    [
        (Reply(429, b"", {"Retry-After": "7"}), PlatformThrottled, "ratelimited", 7.0),
        (Reply(429, b"slow down"), PlatformThrottled, "ratelimited", 30.0),
        (Reply(200, {"ok": False, "error": "ratelimited"}, {"Retry-After": "3"}), PlatformThrottled, "ratelimited", 3),
        (Reply(200, {"ok": False, "error": "channel_not_found"}), PlatformRefused, "channel_not_found", None),
        (Reply(200, {"ok": False, "error": "invalid_auth"}), PlatformRefused, "invalid_auth", None),
        (Reply(200, {"ok": False, "error": "fatal_error"}), PlatformUnclear, "fatal_error", None),
        (Reply(200, {"ok": False, "error": "service_unavailable"}), PlatformUnavailable, "service_unavailable", None),
        (Reply(503, b"<html>"), PlatformUnavailable, "http_503", None),
        (Reply(404, b"<html>"), PlatformRefused, "http_404", None),
        (Reply(200, b"[]"), PlatformUnclear, "unreadable", None),
        (Reply(200, b"{"), PlatformUnclear, "unreadable", None),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/x"}), PlatformRefused, "redirect", None),
        (Reply(drop=True), PlatformUnclear, "answer_lost", None),
    ],
)
async def test_an_answer_that_is_no_success_is_a_typed_error(
    lending: Lending, site: Receiver, reply: Reply, error: type[PlatformError], reason: str, after: float | None
) -> None:
    site.answer = lambda got: reply
    with pytest.raises(error) as raised:
        await Slack(lending, api_base=site.url).call("chat.postMessage", {"channel": "C1"})
    assert type(raised.value) is error
    assert (raised.value.reason, raised.value.retry_after) == (reason, after)
    assert TOKEN not in raised.value.detail


async def test_a_port_without_a_server_is_no_unclear_end(lending: Lending) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(PlatformUnavailable) as raised:
            await Slack(lending, api_base=f"http://127.0.0.1:{free.getsockname()[1]}").call("auth.test")
    assert raised.value.reason == "not_connected"


async def test_a_revocation_ends_the_call_in_flight(lending: Lending, site: Receiver) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(got: Got) -> Reply:
        loop.call_soon_threadsafe(arrived.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)
        return Reply(body={"ok": True})

    site.answer = answer
    calling = asyncio.create_task(Slack(lending, api_base=site.url).call("auth.test"))
    await asyncio.wait_for(arrived.wait(), 20)
    lending.leases[0].ended_by = ("slot", "bot")
    lending.leases[0].ended.set()
    with pytest.raises(CredentialRevoked):
        await calling
    release.set()


async def test_files_are_uploaded_without_the_token_and_downloaded_from_slack_only(
    lending: Lending, site: Receiver
) -> None:
    site.answer = lambda got: Reply(body=b"bytes of the file")
    slack = Slack(lending, api_base=f"{site.url}/api")
    await slack.upload(f"{site.url}/upload/1", b"content")
    assert site.got[0].body == b"content" and "authorization" not in site.got[0].headers

    assert await slack.download(f"{site.url}/files/F1", limit=100) == b"bytes of the file"
    assert site.got[1].headers["authorization"] == f"Bearer {TOKEN}"
    for url, limit, reason in (
        ("https://slack.com.example.org/F1", 100, "foreign_host"),
        ("http://files.slack.com/F1", 100, "foreign_host"),
        (f"{site.url}/files/F1", 5, "too_large"),
    ):
        with pytest.raises(PlatformRefused) as raised:
            await slack.download(url, limit=limit)
        assert raised.value.reason == reason


async def test_an_upload_to_a_private_address_is_refused(lending: Lending) -> None:
    with pytest.raises(PlatformRefused) as raised:
        await Slack(lending).upload("http://169.254.169.254/latest", b"x")
    assert raised.value.reason == "address_not_allowed"
