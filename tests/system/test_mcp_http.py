"""MCP servers over HTTP: sessions that a server forgets, credentials, logins by OAuth, and what a server may not do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from kheish.errors import Conflict, FetchFailed
from tests.support.daemon import Daemon, until
from tests.support.mcp_http_standin import Standin, serving
from tests.system.test_mcp import ALLOWED, calls, put

CONFIG = {"network": {"allow": ["127.0.0.1"]}}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("http"), permissions=ALLOWED, config=CONFIG) as daemon:
        yield daemon


def echo(daemon: Daemon, id: str, text: str = "hi") -> Any:
    return daemon.client.mcp.call_tool(id, "echo", arguments={"text": text})["content"]


def test_a_session_that_the_server_forgot_is_begun_again_and_the_call_repeated_once(daemon: Daemon) -> None:
    with serving() as web:
        put(daemon, "forgets", {"url": f"{web.url}/mcp"})
        assert echo(daemon, "forgets", "one") == "web: one"
        assert daemon.client.mcp.get("forgets")["negotiated"] == {
            "version": "2025-11-25", "era": "legacy", "server": "web 2",
        }  # fmt: skip
        web.forget()
        assert echo(daemon, "forgets", "two") == "web: two"
        assert web.calls == [{"text": "one"}, {"text": "two"}], "each was executed once"
        methods = len(web.headers)
        daemon.client.mcp.delete("forgets")
        put(daemon, "forgets", {"url": f"{web.url}/mcp"})
        daemon.client.mcp.connect_server("forgets")
        assert len(web.headers) - methods <= 3, "the era is remembered: no probe"


def test_an_error_of_a_server_is_its_answer_and_a_cut_leaves_the_outcome_unknown(daemon: Daemon) -> None:
    turns = calls("mcp__errs__echo", text="hi")
    daemon.http("PUT", "/v1/routes/errs", {"driver": "scripted", "script": {"turns": turns}})
    daemon.client.sessions.create("errs", route="errs")

    def said() -> str:
        return daemon.client.runs.start("errs", "go", wait="30s").output

    with serving(refusal="out of paper") as web:
        put(daemon, "errs", {"url": f"{web.url}/mcp"})
        assert "answered with an error: out of paper (code -32000)" in said()
        web.refusal, web.cuts = None, True
        assert "whether the call was executed is not known" in said()
        web.cuts = False
        assert said() == "web: hi" and len(web.calls) == 3, "nothing was repeated"
        codes = {one["code"] for one in daemon.client.problems()["items"] if one["path"] == "mcp/errs.yaml"}
        assert not codes, "the first greeting held"


def test_a_bearer_token_comes_from_a_slot(daemon: Daemon) -> None:
    with serving(needs="bearer-token-of-the-web") as web:
        daemon.client.secrets.put("web.token", "bearer-token-of-the-web")
        daemon.client.secrets.put("web.extra", "extra-header-value")
        file = {"url": f"{web.url}/mcp", "auth": {"bearer": "web.token"}, "headers": {"X-Extra": {"slot": "web.extra"}}}
        put(daemon, "bearer", file)
        assert echo(daemon, "bearer") == "web: hi"
        assert web.headers[-1]["X-Extra"] == "extra-header-value"
        before = len(web.headers)
        put(daemon, "bare", {"url": f"{web.url}/mcp"})
        found = daemon.client.mcp.connect_server("bare")
        assert found["state"] == "failing" and "401" in found["last_error"]
        assert web.headers[before:] and not any(
            "Authorization" in one or "X-Extra" in one for one in web.headers[before:]
        )
    daemon.quiet()
    objects = subprocess.run(
        ["git", "-C", daemon.root, "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    ).stdout
    kept = [path.read_bytes() for path in daemon.root.rglob("*") if path.is_file()]
    for secret in (b"bearer-token-of-the-web", b"extra-header-value"):
        assert not any(secret in one for one in (objects, daemon.stderr().encode(), *kept)), secret


def test_large_answers_and_the_old_transport_are_refused(daemon: Daemon) -> None:
    with serving(big=200_000) as web:
        put(daemon, "large", {"url": f"{web.url}/mcp", "max_message": "64KiB"})
        with pytest.raises(FetchFailed):
            echo(daemon, "large")
    with serving(old=True) as web:
        put(daemon, "old", {"url": f"{web.url}/mcp"})
        found = daemon.client.mcp.connect_server("old")
        assert "old HTTP+SSE transport of 2024" in found["last_error"]
    put(daemon, "gone", {"url": "http://127.0.0.1:9/mcp"})
    assert daemon.client.mcp.connect_server("gone")["state"] == "failing"


def log_in(daemon: Daemon, web: Standin, id: str) -> dict[str, Any]:
    began = daemon.client.access.add_account(server=id)
    assert began["status"] == "waiting"
    assert urlsplit(began["url"]).path == "/authorize"
    page = httpx.get(web.authorize(began["url"]), trust_env=False, timeout=30)
    assert page.status_code == 200 and "close this page" in page.text
    return until(lambda: (one := daemon.client.access.login(id))["status"] != "waiting" and one)


def test_a_login_by_oauth_is_kept_in_the_vault_renewed_and_revoked(daemon: Daemon) -> None:
    with serving(has_oauth=True, expires_in=3600) as web:
        put(daemon, "oauth", {"url": f"{web.url}/mcp", "auth": {"oauth": {}}})
        assert "kheish mcp login oauth" in daemon.client.mcp.connect_server("oauth")["last_error"]
        assert log_in(daemon, web, "oauth")["status"] == "done"
        assert web.registered[0]["redirect_uris"] == [f"{daemon.url}/v1/auth/callback"]
        assert echo(daemon, "oauth") == "web: hi"
        (account,) = [one for one in daemon.client.access.accounts()["items"] if one["kind"] == "oauth"]
        assert account["audiences"] == ["mcp:oauth"] and account["issuer"].rstrip("/") == web.url
        assert account["slot"].startswith("mcp.oauth.")
        daemon.client.access.refresh_account("oauth")
        assert web.grants[-1]["grant_type"] == "refresh_token"
        assert web.grants[-1]["refresh_token"] == "refresh-token-1-of-the-standin"
        daemon.restart()
        assert echo(daemon, "oauth", "after a restart") == "web: after a restart"
        web.tokens.clear()
        with pytest.raises((FetchFailed, Conflict)):
            echo(daemon, "oauth")
        found = until(lambda: (one := daemon.client.mcp.get("oauth"))["last_error"] and one)
        assert "kheish mcp login oauth" in found["last_error"], "a login needs a user"
        assert len(web.registered) == 1
        texts = [path.read_text(errors="replace") for path in Path(daemon.root).rglob("*.jsonl")]
        assert not any("-of-the-standin" in text for text in texts), "no journal has a token"
        assert daemon.cli("mcp", "oauth", "list").stdout.count(web.url) == 1
        assert daemon.cli("mcp", "oauth", "revoke", "oauth").returncode == 0
        assert web.revoked == ["refresh-token-2-of-the-standin"]
        assert not [one for one in daemon.client.access.accounts()["items"] if one["kind"] == "oauth"]


def test_a_login_asks_for_the_scopes_of_the_file_and_for_what_a_call_lacked(daemon: Daemon) -> None:
    with serving(has_oauth=True, is_lazy=True, scope="notes:write") as web:
        file = {"url": f"{web.url}/mcp", "auth": {"oauth": {"scopes": ["notes:read"]}}}
        put(daemon, "scoped", file)
        assert log_in(daemon, web, "scoped")["status"] == "done", "the server asks for it after its greeting"
        assert web.granted == "notes:read"
        with pytest.raises(FetchFailed, match=r"has not the scope notes:write .* kheish mcp login scoped"):
            echo(daemon, "scoped")
        assert daemon.client.mcp.get("scoped")["state"] == "ready" and not web.calls
        assert log_in(daemon, web, "scoped")["status"] == "done"
        assert web.granted == "notes:read notes:write"
        assert echo(daemon, "scoped") == "web: hi"
    with serving() as web:
        put(daemon, "open", {"url": f"{web.url}/mcp", "auth": {"oauth": {}}})
        with pytest.raises(Conflict, match="asks for no login"):
            daemon.client.access.add_account(server="open")


def test_tokens_of_one_issuer_are_never_used_with_another(daemon: Daemon) -> None:
    with serving(has_oauth=True) as web, serving(has_oauth=True) as other:
        put(daemon, "moved", {"url": f"{web.url}/mcp", "auth": {"oauth": {}}})
        log_in(daemon, web, "moved")
        assert echo(daemon, "moved") == "web: hi"
        web.elsewhere = other.url
        web.tokens.clear()
        with pytest.raises((FetchFailed, Conflict)):
            echo(daemon, "moved")
        assert not other.grants and not other.registered, "nothing of the login went to the other issuer"
        put(daemon, "moved", {"url": f"{web.url}/mcp", "auth": {"oauth": {"issuer": web.url}}})
        with pytest.raises(Conflict, match="does not name the issuer"):
            daemon.client.access.add_account(server="moved")


def test_urls_that_a_server_names_go_through_the_network_guard(daemon: Daemon) -> None:
    with serving(has_oauth=True, elsewhere="http://169.254.169.254") as web:
        put(daemon, "guided", {"url": f"{web.url}/mcp", "auth": {"oauth": {}}})
        began = time.monotonic()
        with pytest.raises(Conflict, match=r"169\.254\.169\.254"):
            daemon.client.access.add_account(server="guided")
        assert time.monotonic() - began < 20


def test_a_return_that_no_login_waits_for_is_refused(daemon: Daemon) -> None:
    page = httpx.get(f"{daemon.url}/v1/auth/callback?state=made-up&code=x", trust_env=False, timeout=30)
    assert page.status_code == 404 and "kheish mcp login" in page.text
    assert httpx.get(f"{daemon.url}/v1/auth/callback", trust_env=False, timeout=30).status_code == 400
