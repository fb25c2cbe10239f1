"""The conformance suite of MCP against the daemon: as a server, at two versions of the protocol, and as a client.

It is an npm package (`make npm`) and needs node 22. Most scenarios for servers call tools of the suite's own example
server; what is said of any server is expected here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import npm
from tests.support.bearing_proxy import proxying
from tests.support.daemon import Daemon
from tests.system.test_mcp import ALLOWED

SUITE = "@modelcontextprotocol/conformance"
WHY = npm.missing(SUITE, at_least=22)
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)
CLIENT = Path(__file__).parent.parent / "support" / "mcp_conformance_client.py"
METADATA = "https://conformance-test.local/client-metadata.json"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"network": {"allow": ["127.0.0.1", "::1", "localhost"]}, "mcp": {"client_metadata_url": METADATA}}
    with Daemon.fresh(tmp_path_factory.mktemp("conformance"), permissions=ALLOWED, config=config) as daemon:
        yield daemon


Checks = list[tuple[str, str]]


def suite(folder: Path, *words: str, **environ: str) -> dict[str, Checks]:
    """What the suite found, by scenario: checks with their status; some are made several times."""
    command = [str(npm.node(22)), str(npm.program(SUITE)), *words, "-o", str(folder)]
    ran = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=280)
    found = {}
    for file in folder.rglob("checks.json"):
        name = re.sub(r"^server-(.*)", r"\1", re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", file.parent.name))
        found[name] = [(one["id"], one["status"]) for one in json.loads(file.read_text())]
    assert found, ran.stdout + ran.stderr
    return found


def failed(checks: Checks) -> set[str]:
    return {id for id, status in checks if status == "FAILURE"}


#: the scenarios that any server is held to
GENERAL: dict[str, list[str]] = {
    "2025-11-25": [
        "server-initialize", "ping", "tools-list", "server-sse-multiple-streams", "resources-list",
        "dns-rebinding-protection", "server-session-lifecycle", "server-sse-polling",
    ],
    "2026-07-28": [
        "tools-list", "server-sse-multiple-streams", "resources-list", "sep-2164-resource-not-found",
        "server-stateless", "caching", "dns-rebinding-protection", "http-header-validation",
        "tasks-status-notifications", "input-required-result-unsupported-methods",
        "input-required-result-missing-input-response", "input-required-result-ignore-extra-params",
        "input-required-result-validate-input",
    ],
}  # fmt: skip
#: their checks that need prompts, or tools of the suite's own server
ABSENT = {
    "sep-2549-prompts-list-caching-hints", "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400", "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
}  # fmt: skip


@pytest.mark.parametrize("version", GENERAL)
def test_the_daemon_as_a_server(daemon: Daemon, tmp_path: Path, version: str) -> None:
    with proxying(daemon.url, daemon.token) as url:
        found = suite(tmp_path, "server", "--url", f"{url}/mcp", "--requirements", version)
    assert {name: faults for name in GENERAL[version] if (faults := failed(found[name]) - ABSENT)} == {}


LOGINS = [
    *(f"auth/metadata-{name}" for name in ("default", "var1", "var2", "var3")),
    "auth/basic-cimd", "auth/scope-from-www-authenticate", "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined", "auth/scope-step-up", "auth/resource-mismatch", "auth/offline-access-scope",
    *(f"auth/token-endpoint-auth-{name}" for name in ("basic", "post", "none")),
    *(f"auth/2025-03-26-oauth-{name}" for name in ("metadata-backcompat", "endpoint-fallback")),
    *(f"auth/iss-{name}" for name in ("supported", "not-advertised", "supported-missing", "wrong-issuer")),
    "auth/iss-unexpected", "auth/iss-normalized", "auth/metadata-issuer-mismatch", "auth/offline-access-not-supported",
]  # fmt: skip
CALLS = [
    "initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry", "request-metadata",
    "http-standard-headers", "http-custom-headers", "http-invalid-tool-headers", "sep-2322-client-request-state",
    "json-schema-ref-no-deref",
]  # fmt: skip


@pytest.mark.parametrize("scenario", [*CALLS, *(pytest.param(one, marks=pytest.mark.campaign) for one in LOGINS)])
def test_the_daemon_as_a_client(daemon: Daemon, tmp_path: Path, scenario: str) -> None:
    place = json.dumps({"url": daemon.url, "token": daemon.token})
    words = ("client", "--command", f"{sys.executable} {CLIENT}", "--scenario", scenario, "--timeout", "90000")
    [checks] = suite(tmp_path, *words, CONFORMANCE_DAEMON=place).values()
    assert not failed(checks) and "SUCCESS" in {status for _, status in checks}, checks
