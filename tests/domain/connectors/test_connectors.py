"""Connectors without a daemon: the file, keys, rates, moved chats, and what a button may decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kheish.domain import events
from kheish.domain.connectors import ask as asks, connector as connectors, templates
from kheish.domain.connectors.ask import Ask
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.connectors.keys import plain_key
from kheish.domain.connectors.rates import Buckets
from kheish.domain.connectors.receipt import find_bound, session_of
from kheish.errors import ButtonRefused, Invalid, TooMany
from kheish.state import pins
from tests.support.stateful import Played

HTTP = {"kind": "http", "verify": {"scheme": "github", "secret": "s"}, "session": {"new": True}}
SLACK = {"kind": "slack", "token": "t", "app_token": "a"}
TELEGRAM = {"kind": "telegram", "token": "t", "allow": {"senders": ["*"]}}


@pytest.mark.parametrize("file", [HTTP, SLACK, TELEGRAM, {"kind": "of_a_package", "options": {"a": 1}}])
def test_files_that_are_valid(file: dict[str, Any]) -> None:
    assert ConnectorFile.model_validate(file).kind == file["kind"]


@pytest.mark.parametrize(
    "file",
    [
        {**HTTP, "session": None}, {**HTTP, "token": "t"}, {**HTTP, "verify": {"scheme": "hmac"}},
        {**HTTP, "verify": {"secret": "s"}}, {**HTTP, "session": {"key": "no name"}},
        {**HTTP, "session": {"key": "{a"}}, {**HTTP, "session": {"new": {}, "fixed": "s"}}, {**HTTP, "rate": "0/s"},
        {**HTTP, "max_bytes": "5MiB"}, {**HTTP, "target": {}}, {**HTTP, "mode": "socket"}, {**HTTP, "extra": 1},
        {**HTTP, "map": {"content": "a["}}, {**HTTP, "map": {"actor": "nope(@)"}},
        {**HTTP, "map": {"key": "[?length(a, b)]"}}, {**HTTP, "session": {"payload": "a b"}},
        {**HTTP, "map": {"content": "(" * 900 + "a" + ")" * 900}},
        {**SLACK, "token": None}, {**SLACK, "app_token": None}, {**SLACK, "mode": "http"},
        {**SLACK, "map": {"content": "x"}}, {**SLACK, "session": {"payload": "x"}}, {**SLACK, "mode": "poll"},
        {**TELEGRAM, "allow": {}}, {**TELEGRAM, "mode": "webhook"}, {**TELEGRAM, "api_base": "ftp://x"},
    ],
)  # fmt: skip
def test_files_that_are_refused(file: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConnectorFile.model_validate(file)


def test_keys_of_sessions() -> None:
    fields = {"a": {"b": "x"}, "n": 3, "yes": True, "long": "y" * 300, "line": "a\nb"}
    assert templates.render("k:{a.b}:{n}:{yes}", fields) == ("k:x:3:true", ("x", "3", "true"))
    for template in ("{missing}", "{a}", "{long}", "{line}"):
        with pytest.raises(Invalid):
            templates.render(template, fields)
    assert session_of("c", "k:1", ["1"]) == session_of("c", "k:1", ["1"]) != session_of("c", "k:2", ["2"])
    assert session_of("c", "k:1", ["1"]) != session_of("c", "k:1", ["k", "1"])
    long = "x" * 80
    assert session_of(f"{long}a", "k:1", ["1"]) != session_of(f"{long}b", "k:1", ["1"])
    assert plain_key("evt_1") == "evt_1" and plain_key("x" * 300).startswith("sha256:")


def test_a_filled_text_is_not_filled_twice() -> None:
    assert templates.fill("{a} and {b}", {"a": "{b}", "b": "secret"}) == "{b} and secret"
    assert templates.fill("{n}", {"n": 3}) == 3 and templates.fill("{n}!", {}) == "!"


def test_a_rate_is_a_bucket_that_fills_steadily() -> None:
    now = 0.0
    buckets = Buckets(lambda: now)
    for _ in range(2):
        buckets.count("c", "2/m")
    with pytest.raises(TooMany) as raised:
        buckets.count("c", "2/m")
    assert raised.value.extra["retry_after"] == 30
    now = 30.0
    buckets.count("c", "2/m")
    buckets.count("other", "1/s")


def test_a_chat_that_moved_twice_keeps_its_first_id() -> None:
    moved = {"-2": "-1", "-3": "-1"}
    assert connectors.plain_place(moved, {"chat": "-3", "topic": 1}) == {"chat": "-1", "topic": 1}
    assert connectors.present_place(moved, {"chat": "-1"}) == {"chat": "-3"}
    assert connectors.present_place(moved, {"channel": "C"}) == {"channel": "C"}


def made(**more: Any) -> Ask:
    given: dict[str, Any] = {
        "ask_id": "a", "connector": "c", "about": "approval", "thing_id": "t", "session_id": "s", "run_id": "r",
        "digest": "d", "place": {"channel": "C1", "thread_ts": "1"}, "buttons": {"kb_1": {"decision": "allow"}},
        "state": "sent", "reference": {}, "used": ("kb_0",), "made": 1, "n": 1,
    }  # fmt: skip
    return Ask(**{**given, **more})


def test_a_button_decides_in_its_place_about_what_it_was_shown_with() -> None:
    assert asks.check_click(made(), "kb_1", {"channel": "C1"}, "d") == {"decision": "allow"}
    for button, place, digest in (("kb_0", "C1", "d"), ("kb_1", "C2", "d"), ("kb_1", "C1", "other")):
        with pytest.raises(ButtonRefused):
            asks.check_click(made(), button, {"channel": place}, digest)
    buttons = {id for _ in range(50) for id in asks.approval_buttons()}
    assert len(buttons) == 100 and all(len(one.encode()) <= 64 for one in buttons)


async def test_a_key_of_an_earlier_version_belongs_to_its_connector_and_to_one_request(tmp_path: Path) -> None:
    p = Played(tmp_path)

    async def bind(connector: str, values: tuple[str, ...], key: str = "x:y:z") -> str:
        known = await find_bound(p.state, connector, key, values)
        session = known.session_id or session_of(connector, key, values)
        if known.session_id is None or known.renews:
            async with pins.owner(p.state, events.INGRESS, connector):
                bound = events.SessionBound(
                    connector_id=connector, key=key, values=values, session_id=session, renews=known.renews
                )
                p.state.append(bound.on())
                p.flush()
        return session

    async with pins.owner(p.state, events.INGRESS, "a"):
        p.state.append(events.SessionBound(connector_id="a", key="x:y:z", session_id="old").on())
        p.flush()
    assert await bind("b", ("x", "y:z")) != "old"
    assert await bind("a", ("x:y", "z")) == "old"
    other = await bind("a", ("x", "y:z"))
    assert other != "old" and await bind("a", ("x", "y:z")) == other
    assert await bind("a", ("x:y", "z")) == "old"
    assert len({await bind("b", ("x", "y:z")), await bind("b", ("x:y", "z")), other, "old"}) == 4
    assert [one.get("renews", False) for one in p.data("session.bound")].count(True) == 1
