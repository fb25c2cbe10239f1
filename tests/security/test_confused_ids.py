"""Ids that look like another one, or lead elsewhere: no second name for a thing that is there, and none for a path."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from kheish import ids
from kheish.errors import Invalid
from kheish.store import files
from tests.api.conftest import w  # noqa: F401 - a fixture
from tests.api.harness import World

#: against a thing that is called "triage"
LOOKALIKES = {
    "case": "Triage", "all-case": "TRIAGE", "dotless-i": "tr\u0131age", "turkish-i": "TR\u0130AGE",
    "kelvin": "\u212aey", "fullwidth": "\uff54riage", "cyrillic": "tri\u0430ge", "zero-width": "tri\u200bage",
    "soft-hyphen": "tri\u00adage", "bidi": "tri\u202eage", "nfc": "tri\u00e1ge", "nfd": "tria\u0301ge",
    "tail-dot": "triage.", "lock": "triage.lock", "space": "triage ", "newline": "triage\n", "nul": "triage\0",
    "parent": "..", "climb": "../triage", "inner": "tri/age", "backslash": "tri\\age", "dots": "tri..age",
    "git": ".git", "dash": "-triage", "percent": "triage%2f", "surrogate": "tri\ud800age", "empty": "",
    "arabic-digit": "triage\u0661", "long": "a" * 129,
}  # fmt: skip
IN_PATHS = (
    "Triage", "TRIAGE", "tr%C4%B1age", "%EF%BD%94riage", "tri%E2%80%8Bage", "tria%CC%81ge", "triage.", "triage%2e",
    "triage.lock", "triage%00", "triage%0a", "triage%20", "%2e%2e", "..%2ftriage", "triage%2f..", "triage%2fend",
    "%2e%2e%2f%2e%2e%2fkheish.yaml", "triage%5c", "triage%252f", "triage;x", "%ff", "%c0%ae%c0%ae",
)  # fmt: skip


@pytest.mark.parametrize("name", LOOKALIKES.values(), ids=LOOKALIKES.keys())
def test_a_name_that_looks_like_another_is_no_name(name: str) -> None:
    assert not ids.is_slug(name)
    with pytest.raises(Invalid):
        ids.check_slug(name)


async def test_nothing_is_made_under_a_name_that_looks_like_another(w: World) -> None:  # noqa: F811
    await w.session("triage")
    await w.http.post("/v1/tokens", json={"name": "triage", "role": "reader"})
    for name in LOOKALIKES.values():
        for path, body in (("sessions", {"session_id": name}), ("tokens", {"name": name, "role": "reader"})):
            if path == "sessions" and not name:
                continue  # no name at all: one is given
            answer = await w.http.post(
                f"/v1/{path}", content=json.dumps(body), headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400, (path, name, answer.text)
    assert [one["session_id"] for one in (await w.http.get("/v1/sessions")).json()["items"]] == ["triage"]
    assert [one["name"] for one in (await w.http.get("/v1/tokens")).json()["items"]] == ["triage"]


@pytest.mark.parametrize("kind", ["sessions", "routes", "personas", "playbooks", "secrets", "tokens", "flows", "runs"])
async def test_a_path_that_is_written_otherwise_leads_to_nothing(w: World, kind: str) -> None:  # noqa: F811
    await w.session("triage")
    before = sorted(path for path in w.root.rglob("*") if ".kheish" not in path.parts)
    for name in IN_PATHS:
        for method in ("GET", "DELETE"):
            url = httpx.URL("http://127.0.0.1:4000", raw_path=f"/v1/{kind}/{name}".encode())
            answer = await w.http.request(method, url)
            assert answer.status_code in (400, 404, 405), (method, name, answer.text)
    assert (await w.http.get("/v1/sessions/triage")).json()["status"] == "idle"
    assert sorted(path for path in w.root.rglob("*") if ".kheish" not in path.parts) == before


async def test_a_session_of_a_filter_is_not_reached_by_another_case(w: World) -> None:  # noqa: F811
    await w.session("triage")
    await w.session("other")
    asked = {"name": "bob", "role": "operator", "sessions": ["other"]}
    token = (await w.http.post("/v1/tokens", json=asked)).json()["token"]
    for name in ("triage", *IN_PATHS, "other%2f..%2ftriage", "other/../triage"):
        url = httpx.URL("http://127.0.0.1:4000", raw_path=f"/v1/sessions/{name}".encode())
        answer = await w.http.get(url, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code in (400, 403, 404), (name, answer.text)


@pytest.mark.parametrize("path", ["Triage.yaml", ".git/config", "x/.GIT/hooks/a", "git~/../.git", ".git./x", "a/../b"])
def test_a_file_that_would_be_another_on_some_systems_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "triage.yaml").touch()
    with pytest.raises(Invalid):
        files.inside(tmp_path, path)
