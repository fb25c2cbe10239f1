"""A caller that may start runs, but not see secrets: it has a route's credential sent to a server of its own."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.definitions import Definition
from kheish.domain.routes import Route
from tests.api.conftest import w  # noqa: F401 - a fixture
from tests.api.harness import World

EVIL = "http://127.0.0.1:9/v1"
#: settings by which litellm goes elsewhere, reads a file, or asks another provider
ELSEWHERE = (
    {"api_base": EVIL}, {"base_url": EVIL}, {"fallbacks": [{"model": "openai/x", "api_base": EVIL}]},
    {"model_list": [{"model_name": "x", "litellm_params": {"api_base": EVIL}}]}, {"extra_headers": {"host": "evil"}},
    {"headers": {"host": "evil"}}, {"custom_llm_provider": "ollama"}, {"aws_bedrock_runtime_endpoint": EVIL},
    {"vertex_credentials": "/etc/passwd"}, {"openai_identity_token_file": "/etc/passwd"}, {"ssl_verify": False},
    {"mock_response": "forged"}, {"api_key": "mine"}, {"metadata": {"a": 1}}, {"extra_body": {}},
)  # fmt: skip
MODELS = ("huggingface/https://evil.example/x", "https://evil.example", "ollama_chat/x", "anthropic/claude", "gpt-5")


def put(w: World, name: str, **more: Any) -> None:  # noqa: F811
    route = Route(model="openai/gpt-4o", auth_ref="env:PATH", **more)  # a variable that is there
    w.state.definitions.by_kind["routes"][name] = Definition(
        kind="route", id=name, path=f"routes/{name}.yaml", value=route, data={}, raw=b"", digest=""
    )


async def refused(w: World, **body: Any) -> str:  # noqa: F811
    answer = await w.http.post("/v1/sessions/s/runs", json={"content": "x", **body})
    assert answer.status_code == 400, answer.text
    assert (await w.http.get("/v1/runs")).json()["items"] == []
    return str(answer.json()["errors"][0]["path"])


@pytest.mark.parametrize("given", ELSEWHERE, ids=lambda given: next(iter(given)))
async def test_a_run_that_names_another_server_in_its_settings(w: World, given: dict[str, Any]) -> None:  # noqa: F811
    put(w, "paid", driver="litellm")
    await w.session("s")
    assert await refused(w, route="paid", generation=given) == f"/generation/{next(iter(given))}"


@pytest.mark.parametrize("model", MODELS)
async def test_a_run_that_names_another_server_in_its_model(w: World, model: str) -> None:  # noqa: F811
    put(w, "paid", driver="litellm")
    await w.session("s")
    assert await refused(w, route=f"paid/{model}") == "/model"
    assert await refused(w, route="paid", model=model) == "/model"
    await w.session("t", route=f"paid/{model}")  # where it is the session's
    answer = await w.http.post("/v1/sessions/t/runs", json={"content": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "/model")


async def test_what_is_no_address_is_still_the_callers(w: World) -> None:  # noqa: F811
    put(w, "paid", driver="litellm", generation={"base_url": "http://ours.example"})
    put(w, "plain", driver="openai")
    await w.session("s")
    for body in (
        {"route": "paid/openai/gpt-5", "generation": {"temperature": 0.2, "max_tokens": 5}},
        {"route": "paid", "generation": {"base_url": "http://ours.example"}},  # as its file has it: a retry says so
        {"route": "plain/any/model", "generation": {"chat_template_kwargs": {"x": 1}}},  # words in a body, and no more
    ):
        answer = await w.http.post("/v1/sessions/s/runs", json={"content": "x", **body})
        assert answer.status_code == 202, answer.text
