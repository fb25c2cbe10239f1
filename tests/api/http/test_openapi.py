"""The description is complete, and the table of routes has nothing that it leaves out."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kheish.api.http import app, openapi
from kheish.api.operations import OPERATIONS
from tests.api.harness import World


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _refs(inner)


async def test_every_operation_is_served_by_the_handler_that_it_names(w: World) -> None:
    routes = app.routes(w.parts, OPERATIONS)

    for one in OPERATIONS:
        responder = getattr(routes[one.path], f"on_{one.method.lower()}")
        assert responder.__func__ is one.handler
        assert getattr(type(responder.__self__), one.handler.__name__) is one.handler, "a resource of another class"
    served = sum(len(vars(responders)) for responders in routes.values())
    assert served == len(OPERATIONS), "two operations have the same method and path"
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


def test_a_resource_answers_to_operations_only() -> None:
    named = {one.handler for one in OPERATIONS}
    resources = {vars(sys.modules[one.__module__])[one.__qualname__.partition(".")[0]] for one in named}

    for resource in resources:
        for name, method in vars(resource).items():
            if name == "stored":  # stacks call it, too, after they have stored a file
                continue
            if not name.startswith("_") and inspect.iscoroutinefunction(method):
                assert method in named, f"{resource.__name__}.{name} is no operation"


def test_every_reference_leads_somewhere() -> None:
    document = openapi.document(OPERATIONS)

    for reference in set(_refs(document)):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    assert {"$ref": "#/components/schemas/Submission"} in [
        content["schema"]
        for content in document["paths"]["/v1/sessions/{session_id}/runs"]["post"]["requestBody"]["content"].values()
    ]


@pytest.mark.found("C3")
def test_each_schema_has_a_title_of_its_own_and_no_name_of_a_module() -> None:
    schemas = openapi.document(OPERATIONS)["components"]["schemas"]

    assert [name for name, schema in schemas.items() if schema.get("title") != name] == []
    assert [name for name in schemas if "__" in name or "-" in name] == []


def test_each_error_says_its_codes() -> None:
    responses = openapi.document(OPERATIONS)["components"]["responses"]

    assert "`approval_resolved`" in responses["409"]["description"]
    assert "`unknown_event`" in responses["400"]["description"]


async def test_answers_have_what_the_description_promises(w: World) -> None:
    await w.session()
    run = await w.run()
    schemas = openapi.document(OPERATIONS)["components"]["schemas"]

    for shown, name in ((run, "Run"), ((await w.http.get("/v1/sessions/s")).json(), "Session")):
        assert set(schemas[name]["required"]) <= shown.keys()
    problem = (await w.http.get("/v1/runs/none")).json()
    assert set(schemas["Problem"]["required"]) == problem.keys()


async def test_the_page_needs_no_token_and_nothing_from_elsewhere(w: World) -> None:
    page = await w.http.get("/docs", headers={"authorization": ""})

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
