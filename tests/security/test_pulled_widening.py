"""Edits pushed to the backup's remote that would let agents do or spend more wait for a user, by any field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kheish.authoring import widening
from kheish.domain.definitions import KINDS, Definition
from tests.support.daemon import git
from tests.support.pulled import Shared

ROUTE: dict[str, Any] = {
    "driver": "openai", "model": "m", "auth_ref": "key", "api_base": "https://x.example/v1", "max_retries": 2,
    "budget": {"model_calls": 5, "tokens": 1000, "cost_usd": 1.0},
    "limits": {"requests_per_minute": 5, "tokens_per_minute": 1000, "concurrency": 1},
    "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0, "cached_input_per_mtok": 0.5},
    "capabilities": {"tools": False, "context_window": 8000}, "fallbacks": ["other"], "generation": {"max_tokens": 10},
}  # fmt: skip
LIMITS: dict[str, Any] = {"wall_time": "1h", "live_per_root": 3, "spawns_per_run": 2}
PERSONA: dict[str, Any] = {
    "body": "b", "capability_scope": {"allow": ["read_*", "grep_*"], "deny": ["grep_secret"]}, "limits": LIMITS,
    "tools": ["grep_search"], "disallowed_tools": ["bash"], "permission_mode": "dont_ask", "skills": ["review"],
}  # fmt: skip
#: what is changed (None: left out), and what is told; nothing is told where it narrows or does neither
ROUTES: list[tuple[dict[str, Any], str]] = [
    ({"budget": None}, "budget.model_calls"), ({"budget": {"tokens": 1000, "cost_usd": 1.0}}, "budget.model_calls"),
    ({"budget": {**ROUTE["budget"], "tokens": 1001}}, "budget.tokens"), ({"limits": None}, "limits.concurrency"),
    ({"budget": {**ROUTE["budget"], "cost_usd": 2.0}}, "budget.cost_usd"), ({"price": None}, "price"),
    ({"limits": {**ROUTE["limits"], "tokens_per_minute": 2000}}, "limits.tokens_per_minute"),
    ({"price": {"input_per_mtok": 1.0, "output_per_mtok": 0.1}}, "price"), ({"max_retries": None}, "max_retries"),
    ({"capabilities": {"context_window": 8000}}, "capabilities.tools"), ({"model": "dear"}, "model"),
    ({"capabilities": {"tools": False}}, "capabilities.context_window"),
    ({"fallbacks": ["other", "third"]}, "fallbacks"), ({"timeout": "1h"}, ""),
    ({"generation": None}, "generation.max_tokens"), ({"generation": {"max_tokens": 99}}, "generation.max_tokens"),
    ({"generation": {"max_tokens": 10, "web_search_options": {}}}, "generation.web_search_options"),
    ({"auth_ref": "other.key"}, "destination"), ({"api_base": "https://y.example/v1"}, "destination"),
    ({"budget": {"model_calls": 1, "tokens": 10, "cost_usd": 0.1}}, ""), ({"fallbacks": []}, ""),
    ({"generation": {"max_tokens": 10, "temperature": 0.1}}, ""), ({"max_retries": 0}, ""),
    ({"price": {"input_per_mtok": 5.0, "output_per_mtok": 5.0}}, ""),
]  # fmt: skip
PERSONAS: list[tuple[dict[str, Any], str]] = [
    ({"capability_scope": None}, "capability_scope"), ({"capability_scope": {"allow": ["*"]}}, "capability_scope"),
    ({"capability_scope": {"allow": ["read_*"]}}, "capability_scope"), ({"default_skills": ["x"]}, "default_skills"),
    ({"capability_scope": {"deny": ["grep_secret"]}}, "capability_scope"),
    ({"capability_scope": {"allow": ["read_*"], "deny": ["grep_secret", "more"]}}, ""), ({"body": "other"}, ""),
    ({"limits": None}, "limits.spawns_per_run"), ({"limits": {**LIMITS, "live_per_root": 4}}, "limits.live_per_root"),
    ({"limits": {**LIMITS, "wall_time": "2h"}}, "limits.wall_time"), ({"limits": {**LIMITS, "turns": 3}}, ""),
    ({"limits": {**LIMITS, "wall_time": "90s", "live_per_root": 1}}, ""), ({"tools": ["grep_search", "x"]}, "tools"),
    ({"tools": None}, "tools"), ({"disallowed_tools": None}, "disallowed_tools"), ({"tools": []}, ""),
    ({"permission_mode": "default"}, "permission_mode"), ({"permission_mode": None}, "permission_mode"),
    ({"permission_mode": "plan"}, ""), ({"skills": ["review", "deploy"]}, "skills"), ({"skills": []}, ""),
]  # fmt: skip


OUTPUT: dict[str, Any] = {"kind": "http", "url": "https://x.example/in", "secret": "key", "headers": {"X-Team": "a"}}
OUTPUTS: list[tuple[dict[str, Any], str]] = [
    ({"url": "https://y.example/in"}, "url"), ({"secret": "other"}, "secret"),
    ({"headers": {"X-Team": "b"}}, "headers"),
    ({"kind": "file", "url": None, "secret": None, "headers": None, "to": "out.txt"}, "kind"), ({"timeout": "5s"}, ""),
    ({"order": "strict", "on_unknown": "hold", "retry": {"give_up": "1h"}}, ""), ({"disabled": True}, ""),
    ({"url": "https://y.example/in", "disabled": True}, ""),
]  # fmt: skip
WORKER: dict[str, Any] = {"carrier": "ssh", "address": "me@desk", "labels": ["gpu"], "resources": {"jobs": 2}}
WORKERS: list[tuple[dict[str, Any], str]] = [
    ({"address": "me@evil"}, "address"), ({"carrier": "ray", "address": "auto", "resources": None}, "carrier"),
    ({"labels": ["gpu", "big"]}, "labels"), ({"sandbox": "off"}, "sandbox"), ({"workspace": "path"}, "workspace"),
    ({"resources": {"jobs": 8}, "title": "x"}, ""), ({"address": "me@evil", "disabled": True}, ""),
]  # fmt: skip
BASES = {"routes": ROUTE, "personas": PERSONA, "outputs": OUTPUT, "workers": WORKER}


def definition(kind: str, data: dict[str, Any], id: str = "x") -> Definition:
    left = {key: value for key, value in data.items() if value is not None}
    value = KINDS[kind].model.model_validate(left)
    return Definition(kind=kind, id=id, path=KINDS[kind].path(id), value=value, data=left, raw=b"", digest="")


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        *(("routes", *one) for one in ROUTES),
        *(("personas", *one) for one in PERSONAS),
        *(("outputs", *one) for one in OUTPUTS),
        *(("workers", *one) for one in WORKERS),
    ],
)
def test_each_field_that_widens_is_told(kind: str, change: dict[str, Any], told: str) -> None:
    base = BASES[kind]
    old, new = definition(kind, base), definition(kind, {**base, **change})

    found = widening.widened({old.path: old}, {new.path: new})

    assert (told in str(found)) if told else not found, found


def test_what_is_removed_could_come_again_without_bounds() -> None:
    route, persona = definition("routes", ROUTE), definition("personas", PERSONA)
    assert len(widening.widened({route.path: route, persona.path: persona}, {})) == 2
    assert not widening.widened({"personas/y.md": definition("personas", {"body": "b"}, "y")}, {})


def test_a_new_route_is_no_wider_than_one_that_leads_there() -> None:
    old = definition("routes", ROUTE)
    for data, is_told in ((ROUTE, False), ({**ROUTE, "model": "n"}, False), ({**ROUTE, "budget": None}, True)):
        new = definition("routes", data, "new")
        assert bool(widening.widened({old.path: old}, {old.path: old, new.path: new})) is is_told


def test_a_new_output_and_one_that_is_switched_on_are_told() -> None:
    new, off = definition("outputs", OUTPUT), definition("outputs", {**OUTPUT, "disabled": True})
    assert "url" in str(widening.widened({}, {new.path: new})) and not widening.widened({}, {off.path: off})
    assert widening.widened({off.path: off}, {new.path: new}) == ["outputs/x.yaml (disabled)"]
    assert not widening.widened({new.path: new}, {})


@pytest.mark.found("S16")
def test_a_lifted_scope_a_lost_budget_and_executables_wait_for_a_user(tmp_path: Path) -> None:
    route = {"driver": "scripted", "script": {"echo": True}, "budget": {"model_calls": 3}}
    with Shared.fresh(tmp_path, routes={"echo": route}) as shared:
        persona = "---\ncapability_scope: {allow: [read_file]}\n---\nRead.\n"
        assert shared.daemon.http("PUT", "/v1/personas/reader", content=persona.encode(),
                                  headers={"content-type": "text/markdown"}).status_code == 201  # fmt: skip
        shared.fetch()
        assert "personas/reader.md (capability_scope)" in shared.refused({"personas/reader.md": "---\n---\nRead.\n"})
        assert "personas/reader.md (capability_scope)" in shared.refused({"personas/reader.md": None})
        lost = {key: value for key, value in route.items() if key != "budget"}
        assert "routes/echo.yaml (budget.model_calls)" in shared.refused({"routes/echo.yaml": lost})
        for name in ("notes/run.sh", "playbooks/diff-review/check.sh"):
            git(shared.there, "config", "core.fileMode", "true")
            (shared.there / name).parent.mkdir(parents=True, exist_ok=True)
            (shared.there / name).touch(0o755)
            (shared.there / name).chmod(0o755)
            assert f"{name} (executable)" in shared.refused({name: "touch pwned\n"})
        assert shared.daemon.http("GET", "/v1/routes/echo").json()["budget"]["model_calls"] == 3
        shared.push({"personas/reader.md": persona.replace("Read.", "Read well."), "notes/a.txt": "a"})
        assert shared.daemon.client.backup()["outcome"] == "pushed"
