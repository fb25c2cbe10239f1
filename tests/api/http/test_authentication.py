"""Who may call."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from kheish.api.operations import OPERATIONS
from tests.api.harness import TOKEN, World, world


@pytest.mark.parametrize("part", range(3))
async def test_everything_but_the_probes_needs_the_token(w: World, part: int) -> None:
    """In parts, since callers without a token are slowed down."""
    paths = [path for path in (await w.http.get("/openapi.json")).json()["paths"] if "{" not in path][part::3]
    del w.http.headers["authorization"]

    for path in paths:
        answer = await w.http.get(path)
        expected = {"/healthz": 200, "/readyz": 200, "/login": 200, "/v1/auth/callback": 400}.get(path, 401)
        assert answer.status_code == expected, path  # a return from a login has a secret of its own: its state
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "unauthorized"


async def test_wrong_tokens_are_refused_and_slowed_down_but_a_right_one_passes(w: World) -> None:
    statuses = []
    for said in (f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer {TOKEN}x", "Bearer ü".encode(), *["Bearer no"] * 60):
        statuses.append((await w.http.get("/v1/status", headers={"authorization": said})).status_code)
    right = await w.http.get("/v1/status")

    assert statuses == [401] * 60 + [429] * 5
    assert right.status_code == 200


async def test_unknown_hosts_are_misdirected(w: World) -> None:
    for host, status in (
        ("localhost:9", 200), ("[::1]:4000", 200), ("127.0.0.1", 200), ("LOCALHOST", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example:4000", 421), ("[::2]", 421), ("", 421),
    ):  # fmt: skip
        answer = await w.http.get("/v1/status", headers={"host": host})
        assert answer.status_code == status, host
    assert answer.json()["code"] == "unknown_host"


async def test_the_address_of_the_connection_is_a_known_host(w: World) -> None:
    there = httpx.AsyncClient(transport=httpx.ASGITransport(w.app), base_url="http://10.1.2.3:80")

    answer = await there.get("/healthz")

    assert answer.status_code == 200
    assert (await there.get("/healthz", headers={"host": "10.1.2.4"})).status_code == 421
    await there.aclose()


async def test_nothing_is_taken_while_the_daemon_starts(tmp_path: Path) -> None:
    why: list[str | None] = ["The daemon is starting: reading the log."]
    async with world(tmp_path, ready=lambda: why[0]) as w:
        refused = await w.http.post("/v1/sessions", json={})
        status, alive = await w.http.get("/v1/status"), await w.http.get("/healthz")
        why[0] = None
        taken = await w.http.post("/v1/sessions", json={})

    assert (refused.status_code, refused.json()["detail"]) == (503, "The daemon is starting: reading the log.")
    assert (status.status_code, alive.status_code, taken.status_code) == (200, 200, 201)


async def test_pages_of_other_origins_are_refused(w: World) -> None:
    for origin, status in (
        ("http://127.0.0.1:4000", 200), ("http://127.0.0.1:5000", 403), ("https://evil.example", 403), ("null", 403),
    ):  # fmt: skip
        answer = await w.http.get("/v1/status", headers={"origin": origin})
        assert answer.status_code == status, origin
        assert "access-control-allow-origin" not in answer.headers


async def test_a_guard_that_cannot_be_compared_is_refused(w: World) -> None:
    """What a path names has no ETag: an `If-Match` with one would be ignored, and another's change overwritten."""
    writes = [one for one in OPERATIONS if one.method in ("PUT", "PATCH", "DELETE") and 412 not in one.problems]
    assert len(writes) > 10
    for one in writes:
        path = re.sub(r"{.*?}", "x", one.path)
        refused = await w.http.request(one.method, path, json={}, headers={"if-match": '"abc"'})
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed"), one.name
        assert (await w.http.request(one.method, path, json={}, headers={"if-match": "*"})).status_code != 412, one.name
