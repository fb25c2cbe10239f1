"""Verification against the vendors' own packages, odd bodies of platforms, expressions, and kinds of packages."""

from __future__ import annotations

import base64
import datetime
import json
import sys
import time
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook

from kheish.domain.connectors.arrival import Arrival, Click, Ignored, Moved
from kheish.domain.connectors.definition import ConnectorFile, Verify
from kheish.errors import ConnectorNotReady, Invalid, SignatureInvalid
from kheish.runtime.connectors import http, installed, picking, reading, slack, telegram, verifying
from kheish.runtime.connectors.base import ConnectorKind, Request

NOW = 1_790_000_000.0
BODY = '{"a": "ü"}'
PLAIN = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@pytest.mark.parametrize("secret", [f"whsec_{PLAIN}", PLAIN])
def test_standard_webhooks_as_its_package_signs(secret: str) -> None:
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    signature = Webhook(secret).sign("m", moment, BODY)
    headers = {"webhook-id": "m", "webhook-timestamp": str(int(NOW)), "webhook-signature": signature}
    verify = Verify(scheme="standard_webhooks", secret="s")
    assert verifying.check(verify, secret, headers, BODY.encode(), NOW + 299) == ("m",)
    signed = verifying.signed(verify, f"whsec_{PLAIN}", "m", BODY.encode(), time.time())
    assert Webhook(f"whsec_{PLAIN}").verify(BODY, signed)
    for changed in (
        {"webhook-id": "n"}, {"webhook-timestamp": str(int(NOW) + 1)}, {"webhook-signature": "v1,"}, {"webhook-id": ""}
    ):  # fmt: skip
        with pytest.raises(SignatureInvalid):
            verifying.check(verify, secret, {**headers, **changed}, BODY.encode(), NOW)
    for late in (NOW + 301, NOW - 301):
        with pytest.raises(SignatureInvalid):
            verifying.check(verify, secret, headers, BODY.encode(), late)
    with pytest.raises(ConnectorNotReady):
        verifying.check(verify, "whsec_!", headers, BODY.encode(), NOW)


def test_slack_as_its_package_signs() -> None:
    at = str(int(NOW))
    signature = SignatureVerifier("s3cret").generate_signature(timestamp=at, body=BODY) or ""
    headers = {"x-slack-request-timestamp": at, "x-slack-signature": signature}
    verifying.check_slack("s3cret", headers, BODY.encode(), NOW)
    now = time.time()
    signed = verifying.signed_slack("s3cret", BODY.encode(), now)
    assert SignatureVerifier("s3cret").is_valid_request(BODY, signed)
    for secret, body, late in (("other", BODY, NOW), ("s3cret", "{}", NOW), ("s3cret", BODY, NOW + 301)):
        with pytest.raises(SignatureInvalid):
            verifying.check_slack(secret, headers, body.encode(), late)


@pytest.mark.parametrize("scheme", ["bearer", "hmac", "github"])
def test_a_signed_sample_is_valid_and_any_other_body_is_not(scheme: Any) -> None:
    verify = Verify(scheme=scheme, secret="s")
    headers = verifying.signed(verify, "s3cret", "id", b"body", NOW)
    verifying.check(verify, "s3cret", headers, b"body", NOW)
    with pytest.raises(SignatureInvalid):
        verifying.check(verify, "other", headers, b"body", NOW)
    if scheme != "bearer":
        with pytest.raises(SignatureInvalid):
            verifying.check(verify, "s3cret", headers, b"bodz", NOW)
    for value in ("", "Bearer", "Bearer \u00e9", "sha256=", "v1,"):
        with pytest.raises(SignatureInvalid):
            verifying.check(verify, "s3cret", dict.fromkeys(headers, value), b"body", NOW)


_KEYS = st.sampled_from([
    "type", "event", "message", "from", "chat", "id", "text", "user", "channel", "ts", "actions", "value", "payload",
    "callback_query", "data", "photo", "files", "authorizations", "edited_message", "update_id", "subtype",
])  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
    | st.sampled_from(["event_callback", "message", "app_mention", "block_actions"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(value=st.dictionaries(_KEYS, _JSON, max_size=8), number=st.integers(0, 2**40))
def test_any_object_of_a_platform_has_a_meaning(value: dict[str, Any], number: int) -> None:
    for found in (
        slack.event(value), slack.interaction(value), slack.command(value),
        telegram.update({**value, "update_id": number}),
    ):  # fmt: skip
        assert isinstance(found, Arrival | Click | Ignored | Moved)


async def test_expressions_over_a_body() -> None:
    file = ConnectorFile.model_validate({
        "kind": "http", "session": {"key": "k:{a.b}:{key}"},
        "map": {"content": "join(', ', items[].name)", "key": "a.n", "actor": "who", "metadata": "{n: a.n}"},
    })  # fmt: skip
    body = b'{"items":[{"name":"x"},{"name":"y"}],"a":{"b":"c","n":4},"who":"ann"}'
    found = await http.parse(file, body, {"content-type": "application/json"}, ("id-1",))
    assert isinstance(found, Arrival)
    assert (found.content, found.sender, found.keys) == ("x, y", "ann", ("id-1",))
    assert found.fields["a.b"] == "c" and found.fields["key"] == "4" and found.metadata == {"n": 4}
    for wrong in (b'{"items": 3}', b"[1", b'{"items": []}', b"\xff", b'{"items":[{"name":{}}]}'):
        with pytest.raises(Invalid):
            await http.parse(file, wrong, {})
    picked, _ = await picking.pick(
        b"payload=%7B%22t%22%3A1%7D", "application/x-www-form-urlencoded", {"content": "t"}, ()
    )
    assert picked["content"] == "1"


async def test_an_expression_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "_SECONDS", 0.6)
    numbers = ",".join("1" for _ in range(200_000))
    nested = "@"
    for _ in range(60):
        nested = f"sort_by({nested}, &to_string(@))"
    with pytest.raises(Invalid):
        await picking.pick(f"[{numbers}]".encode(), "application/json", {"content": nested}, ())
    assert (await picking.pick(b'{"t":"still there"}', "", {"content": "t"}, ()))[0]["content"] == "still there"


async def _receive(request: Any) -> Ignored:
    return Ignored(reason="nothing")


GOOD = ConnectorKind(name="carrier", receive=_receive)
TAKEN = ConnectorKind(name="slack", receive=_receive)
NO_KIND = object()


async def test_kinds_of_packages_and_their_defects() -> None:
    here = __name__
    points = [
        EntryPoint("a", f"{here}:GOOD", installed.GROUP), EntryPoint("b", f"{here}:TAKEN", installed.GROUP),
        EntryPoint("c", f"{here}:NO_KIND", installed.GROUP), EntryPoint("d", "no.such.module:X", installed.GROUP),
        EntryPoint("e", f"{here}:GOOD", installed.GROUP),
    ]  # fmt: skip
    kinds, problems = installed.read(points)
    assert kinds == {"carrier": GOOD} and [one.entry_point for one in problems] == ["b", "c", "d", "e"]

    async def fails(request: Request) -> Any:
        raise ZeroDivisionError

    async def exits(request: Request) -> Any:
        sys.exit(1)

    async def returns(request: Request) -> Any:
        return request.options["value"]

    def asked(value: object) -> Request:
        return Request(connector="c", headers={}, body=b"", options={"value": value}, now=NOW, secret=fails)  # type: ignore[arg-type]

    kind = replace(GOOD, receive=returns)
    assert isinstance(await installed.guarded(kind, asked(Ignored(reason="x"))), Ignored)
    for receive, value in ((fails, None), (exits, None), (returns, "text")):
        with pytest.raises(ConnectorNotReady):
            await installed.guarded(replace(GOOD, receive=receive), asked(value))


def test_a_delivery_of_github_with_another_id_is_a_replay() -> None:
    verify = Verify(scheme="github", secret="s")
    headers = verifying.signed(verify, "s3cret", "d-1", b"body", NOW)
    one, other = (
        verifying.check(verify, "s3cret", {**headers, "x-github-delivery": id}, b"body", NOW) for id in ("d-1", "d-2")
    )
    bare = {name: value for name, value in headers.items() if name != "x-github-delivery"}
    assert one[0] == "d-1" and other[0] == "d-2" and one[1:] == other[1:]
    assert verifying.check(verify, "s3cret", bare, b"body", NOW) == one[1:]


@pytest.mark.parametrize("odd", [["x"], {"a": 1}, True, 5, 1.5, "x" * 200_000])
def test_a_member_of_another_type_is_ignored(odd: Any) -> None:
    said = {"type": "message", "user": "U", "channel": "C", "ts": "1.1", "text": "hi"}
    for name in ("type", "subtype"):
        found = slack.event({"type": "event_callback", "event": {**said, name: odd}})
        assert isinstance(found, Ignored) and len(found.reason) < 200
    for found in (slack.event({"type": odd}), slack.interaction({"type": odd}), slack.envelope(odd, {})):
        assert isinstance(found, Ignored) and len(found.reason) < 200
    message = {"chat": {"id": 1}, "from": {"id": 2}, "text": "hi", "message_id": ["x"], "migrate_to_chat_id": True}
    assert isinstance(telegram.update({"update_id": 1, "message": message}), Arrival)


@pytest.mark.parametrize("id", [True, -1, 2**64, 1.0, "1", None])
def test_an_update_has_a_number(id: Any) -> None:
    assert not telegram.is_update({"update_id": id}) and telegram.is_update({"update_id": 7})
    with pytest.raises(Invalid):
        telegram.read(json.dumps({"update_id": id}).encode())


async def test_halves_of_characters_are_replaced() -> None:
    file = ConnectorFile.model_validate({"kind": "http", "session": {"new": True}, "map": {"content": "t"}})
    found = await http.parse(file, rb'{"t":"cut \ud83d","u":"\ud83d\ude00"}', {})
    assert isinstance(found, Arrival) and found.content == "cut \ufffd"
    event = rb'{"type":"event_callback","event":{"type":"message","user":"U","channel":"C","ts":"1","text":"\ude00 x"}}'
    found = await reading.read_slack(event, "application/json")
    assert isinstance(found, Arrival) and found.content == "\ufffd x" and isinstance(found.keys, tuple)
    _, found = await reading.read_envelope(b'{"type":"events_api","envelope_id":"e","payload":%b}' % event)
    assert isinstance(found, Arrival) and found.content == "\ufffd x"
    whole = rb'{"update_id":1,"message":{"chat":{"id":1},"from":{"id":2},"text":"\ud83d\ude00 \ud83d"}}'
    found = await reading.read_telegram(whole)
    assert isinstance(found, Arrival) and found.content == "\U0001f600 \ufffd" and found.offset == 2
    for wrong in (b"[" * 100_000, b"\xff", b"[]"):
        with pytest.raises(Invalid):
            await reading.read_slack(wrong, "application/json")


async def test_a_message_with_many_authorizations_is_read_at_once() -> None:
    rows = [{"user_id": f"B{number}"} for number in range(9_000)]
    said = {"type": "message", "user": "U", "channel": "C", "ts": "1.1", "text": " " * 400_000 + "<@B7|bot>: hi"}
    body = json.dumps({"type": "event_callback", "authorizations": rows, "event": said}).encode()
    found = await reading.read_slack(body, "application/json")
    assert isinstance(found, Arrival) and found.content == "hi"


async def test_the_reading_of_a_body_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_SECONDS", 0.05)
    text = "[" + ",".join("{}" for _ in range(1_300_000)) + "]"
    with pytest.raises(Invalid, match="too long"):
        await reading.read_slack(text.encode(), "application/json")
