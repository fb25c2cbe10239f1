"""Routes: their files, the one that a run takes, whether it is ready, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from kheish.domain import routes
from kheish.domain.routes import Route
from kheish.errors import Invalid, RouteRequired


def route(**fields: Any) -> Route:
    return Route.model_validate({"driver": "openai", "model": "m", **fields})


@dataclass(frozen=True)
class Counted:
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


def test_the_route_of_the_specification_is_accepted() -> None:
    made = route(
        model="gpt-5.4-mini",
        api_base="http://127.0.0.1:8080/v1",
        auth_ref="openai.prod",
        timeout="240s",
        price={"input_per_mtok": 0.25, "output_per_mtok": 2.0},
        fallbacks=["backup"],
        capabilities={"context_window": 200000, "vision": True},
        limits={"requests_per_minute": 60, "concurrency": 4},
    )
    assert routes.driver_settings(made)["timeout"] == 240.0
    assert made.fallbacks == ("backup",)


@pytest.mark.parametrize(
    ("fields", "where", "complaint"),
    [
        ({"modle": "x"}, ("modle",), "Extra inputs"),
        ({"model": None}, (), "driver openai needs model"),
        ({"driver": "scripted"}, (), "driver scripted needs script"),
        ({"script": "x.yaml"}, (), "script is for driver scripted"),
        ({"driver": "gpt"}, ("driver",), "Input should be 'openai'"),
        ({"timeout": "4 minutes"}, ("timeout",), "not a duration"),
        ({"api_base": "127.0.0.1:8080"}, ("api_base",), "not an http"),
        ({"api_base": "https://user:pw@h/v1"}, ("api_base",), "must not contain a credential"),
        ({"auth_ref": "env:"}, ("auth_ref",), "no environment variable"),
        ({"auth_ref": "Prod Key"}, ("auth_ref",), "not a legal name"),
        ({"generation": {"model": "other"}}, ("generation",), "cannot be set here"),
        ({"price": {"input_per_mtok": 1}}, ("price", "output_per_mtok"), "Field required"),
        (
            {"driver": "scripted", "script": {"turns": [{"txt": "x"}]}},
            ("script", "inline", "turns", 0, "txt"),
            "Extra inputs",
        ),
    ],
)
def test_a_wrong_route_is_refused_at_its_place(fields: dict[str, Any], where: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        route(**fields)
    assert where in [error["loc"] for error in caught.value.errors()]


def test_every_field_has_a_description_for_editors() -> None:
    schema = Route.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    bare = [name for model in models for name, field in model["properties"].items() if "description" not in field]
    assert bare == []


def test_an_inline_script_reaches_the_driver_as_plain_data() -> None:
    made = route(driver="scripted", model=None, script={"turns": [{"text": "hi", "usage": {"input_tokens": 0}}]})
    assert routes.driver_settings(made)["script"] == {"turns": [{"text": "hi", "usage": {"input_tokens": 0}}]}


def test_cached_tokens_have_their_own_price() -> None:
    priced = route(price={"input_per_mtok": 2, "output_per_mtok": 10, "cached_input_per_mtok": 0.5})
    assert routes.cost_usd(priced, Counted(1_000_000, 100_000, 400_000)) == pytest.approx(1.2 + 0.2 + 1.0)
    assert routes.cost_usd(route(), Counted(1, 1)) is None
    without = route(price={"input_per_mtok": 2, "output_per_mtok": 10})
    assert routes.cost_usd(without, Counted(1_000_000, 0, 400_000)) == pytest.approx(2.0)


def test_readiness_names_what_is_missing() -> None:
    local, keyed, slotted = route(), route(auth_ref="env:MY_KEY"), route(auth_ref="openai.prod")
    assert routes.readiness("a", local, {}, {}) is None
    assert routes.readiness("a", keyed, {"MY_KEY": "sk"}, {}) is None
    assert "env:MY_KEY" in (routes.readiness("a", keyed, {"MY_KEY": " "}, {}) or "")
    assert "kheish secrets set" in (routes.readiness("a", slotted, {}, {}) or "")
    assert "no key" in (routes.readiness("a", slotted, {}, {slotted.auth_ref or "": "no key"}) or "")
    assert routes.readiness("a", slotted, {}, {slotted.auth_ref or "": None}) is None
    assert routes.from_environment("env:MY_KEY", {"MY_KEY": "sk\n"}) == "sk"
    assert routes.from_environment("main", {"main": "sk"}) is None


def test_the_default_is_the_configured_route_else_the_only_one() -> None:
    one, two = {"a": route()}, {"a": route(), "b": route()}
    assert routes.choose(None, None, one) == ("a", None)
    assert routes.choose(None, "b", two) == ("b", None)
    for nothing in ({}, two):
        with pytest.raises(RouteRequired):
            routes.choose(None, None, nothing)


def test_a_selector_may_override_the_model() -> None:
    both = {"local": route(), "backup": route()}
    assert routes.choose("backup", "local", both) == ("backup", None)
    assert routes.choose("local/meta/llama-3:8b", None, both) == ("local", "meta/llama-3:8b")
    with pytest.raises(Invalid, match="names no model"):
        routes.choose("local/", None, both)


def test_an_unknown_route_names_the_nearest() -> None:
    both = {"local": route(), "backup": route()}
    with pytest.raises(Invalid, match="did you mean 'local'") as caught:
        routes.choose("lokal/gpt", None, both)
    assert caught.value.errors[0].path == "/route"
    with pytest.raises(Invalid, match="known: backup, local"):
        routes.choose("zzz", None, both)
    with pytest.raises(Invalid, match=r"default_route of kheish\.yaml"):
        routes.choose(None, "gone", both)
