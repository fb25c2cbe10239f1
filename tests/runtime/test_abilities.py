"""Trials of routes against a stand-in server."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from kheish.domain.routes import Route
from kheish.runtime.abilities import probes, trial
from tests.support.openai_standin import Answer, Failure, ToolCall, standin

LENDER: Any = None  # no route here needs a credential
WORDS = Answer(text="one two three four", chunks=4)


async def tried(*behaviours: Any, **fields: Any) -> tuple[trial.Trial, Route, Any]:
    async with standin(*behaviours) as server:
        route = Route(driver="openai", model="m", api_base=server.url, **fields)
        return await trial.run("local", route, LENDER, "token:local"), route, server.requests


async def test_each_ability_is_one_call_with_its_cost() -> None:
    call = ToolCall(name="report", arguments='{"word": "kheish"}')
    price = {"input_per_mtok": 1.0, "output_per_mtok": 2.0}
    done, route, requests = await tried(
        Answer(text="Kheish."), WORDS, Answer(text="", calls=(call,)), Answer(text="It is Red"), price=price
    )
    assert [(one.ability, one.works) for one in done.tried] == [
        ("text", True), ("streaming", True), ("tools", True), ("vision", True),
    ]  # fmt: skip
    assert done.capabilities(route) == {"vision": True}
    assert all(one.cost_usd is not None and one.cost_usd > 0 and one.seconds > 0 for one in done.tried)
    assert done.tried[1].first_text is not None
    assert len([one for one in requests if "messages" in str(one)]) == 4


async def test_what_does_not_work_is_said_and_suggested() -> None:
    refused = Failure(status=400, message="this model accepts no images")
    done, route, _ = await tried(
        Answer(text="kheish"), Answer(text="one two", chunks=1), Answer(text="I cannot call tools"), refused
    )
    assert done.capabilities(route) == {"streaming": False, "tools": False}
    details = {one.ability: one.detail or "" for one in done.tried}
    assert "one piece" in details["streaming"] and "called no tool" in details["tools"]
    assert "no images" in details["vision"]


async def test_a_model_that_does_not_answer_is_not_asked_again() -> None:
    done, route, _ = await tried(Failure(status=401, message="bad key"))
    assert [one.ability for one in done.tried] == ["text"] and "bad key" in (done.tried[0].detail or "")
    assert done.capabilities(route) == {}


def test_the_image_is_a_red_square() -> None:
    image = Image.open(io.BytesIO(base64.b64decode(probes.red_image().data)))
    assert image.size == (64, 64) and image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)
