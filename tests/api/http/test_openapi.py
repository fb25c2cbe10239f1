"""The description is complete, and the table of routes has nothing that it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kheish.api.http import app, openapi
from kheish.api.http.authentication import Authentication
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


async def test_every_route_and_method_is_described_and_nothing_else(w: World) -> None:
    served = set()
    for path, resource, suffix in app.routes(w.parts, Authentication(w.parts, {})):
        for method in ("get", "put", "post", "patch", "delete"):
            if hasattr(resource, f"on_{method}_{suffix}" if suffix else f"on_{method}"):
                served.add((method.upper(), path))

    described = {(one.method, one.path) for one in OPERATIONS}

    assert served - described == {("GET", "/docs")}
    assert described <= served
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


def test_every_reference_leads_somewhere() -> None:
    document = openapi.document()

    for reference in set(_refs(document)):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    assert {"$ref": "#/components/schemas/Submission"} in [
        content["schema"]
        for content in document["paths"]["/v1/sessions/{session_id}/runs"]["post"]["requestBody"]["content"].values()
    ]


def test_each_schema_has_a_title_of_its_own_and_no_name_of_a_module() -> None:
    schemas = openapi.document()["components"]["schemas"]

    assert [name for name, schema in schemas.items() if schema.get("title") != name] == []
    assert [name for name in schemas if "__" in name or "-" in name] == []


def test_each_error_says_its_codes() -> None:
    responses = openapi.document()["components"]["responses"]

    assert "`approval_resolved`" in responses["409"]["description"]
    assert "`unknown_event`" in responses["400"]["description"]


async def test_answers_have_what_the_description_promises(w: World) -> None:
    await w.session()
    run = await w.run()
    schemas = openapi.document()["components"]["schemas"]

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
