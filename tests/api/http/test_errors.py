"""Errors as answers, and in the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from falcon import testing

from kheish.api.http.app import App
from kheish.api.http.errors import on_kheish_error
from kheish.config import Config
from kheish.errors import Fault, FetchFailed, Internal, KheishError
from kheish.store.edits.definitions import parse

LONG = "z" * 20_000


@pytest.mark.parametrize(
    ("error", "level"), [(FetchFailed("http://a/ said\nno."), "WARNING"), (Internal("x"), "ERROR")]
)
async def test_the_failure_of_another_server_is_one_line_and_a_defect_has_its_traceback(
    error: KheishError, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        async def on_get(self, req: Any, resp: Any) -> None:
            raise error

    app = App()
    app.add_error_handler(KheishError, on_kheish_error)
    app.add_route("/x", Failing())
    with caplog.at_level(logging.INFO):
        async with testing.ASGIConductor(app) as conductor:
            answer = await conductor.simulate_get("/x")
    assert answer.status_code == error.status
    [line] = [one for one in caplog.records if one.name == "kheish.api.http.errors"]
    assert line.levelname == level and (line.exc_info is not None) == (level == "ERROR")
    assert "\n" not in line.getMessage()


def test_a_message_that_quotes_a_long_value_keeps_its_beginning_and_its_remedy() -> None:
    message = parse(Config, f"bind: {LONG}\n".encode(), "kheish.yaml").problems[0].message
    assert len(message) <= 600 and message.startswith("'zzz") and message.endswith("such as 127.0.0.1:4000")
    key = parse(Config, f"{LONG}: 1\n".encode(), "kheish.yaml").problems[0]
    assert len(key.message) <= 600 and len(key.pointer) <= 600
    assert len(Fault("/x", f"{LONG!r} is no path").message) <= 600
    assert Fault("/x", "is short").message == "is short"
