"""OAuth accounts of model providers: a login at a real authorization server on loopback, and calls with its tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from kheish.errors import Conflict, FetchFailed, KheishError, NotFound
from tests.support.daemon import Daemon, until
from tests.support.mcp_http_standin import Standin, serving
from tests.support.openai_standin import Answer, StandIn, standin

CONFIG = {"network": {"allow": ["127.0.0.1"]}}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("accounts"), config=CONFIG) as daemon:
        yield daemon


@contextmanager
def openai() -> Iterator[StandIn]:
    """A model server in a thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = standin()
    state = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(30)
    state.default = lambda body: Answer(text="hello")
    try:
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def authorizations(model: StandIn) -> list[str]:
    return [one.headers["authorization"] for one in model.requests if one.path.endswith("completions")]


def log_in(daemon: Daemon, web: Standin, account: str, **given: Any) -> dict[str, Any]:
    began = daemon.client.access.add_account(account=account, issuer=web.url, client_id="kheish-test", **given)
    assert (began["status"], began["account"], began["server"]) == ("waiting", account, None)
    page = httpx.get(web.authorize(began["url"]), trust_env=False, timeout=30)
    assert page.status_code == 200 and "close this page" in page.text
    return until(lambda: (one := daemon.client.access.login(account))["status"] != "waiting" and one)


def account_of(daemon: Daemon, account: str) -> dict[str, Any]:
    (found,) = [one for one in daemon.client.access.accounts()["items"] if one["slot"] == f"oauth.{account}"]
    return dict(found)


def stands_in(daemon: Daemon, text: str) -> list[str]:
    files = [path for path in daemon.root.rglob("*") if path.is_file()]
    return [str(path) for path in files if text.encode() in path.read_bytes()]


def test_a_route_uses_an_account_whose_tokens_are_renewed_and_revoked(daemon: Daemon) -> None:
    with serving(has_oauth=True, expires_in=30) as web, openai() as model:
        daemon.write("routes/oauth.yaml", {"driver": "openai", "model": "m", "api_base": model.url,
                                           "auth_ref": "oauth.work", "max_retries": 0})  # fmt: skip
        until(lambda: daemon.http("GET", "/v1/routes/oauth").status_code == 200)
        assert log_in(daemon, web, "work", scopes=["model.use"])["status"] == "done"
        asked = parse_qs(urlsplit(web.opened[-1]).query)
        assert (asked["scope"], asked["code_challenge_method"]) == (["model.use"], ["S256"])
        found = account_of(daemon, "work")
        assert (found["kind"], found["status"], found["audiences"]) == ("oauth", "ready", ["route:oauth"])
        assert found["issuer"] == web.url and found["expires_at"]
        daemon.client.sessions.create("uses", route="oauth")
        assert daemon.client.runs.start("uses", "hi", wait="30s").output == "hello"
        # It is over within the minute, so that it was renewed before its use.
        assert web.grants[1]["refresh_token"] == "refresh-token-1-of-the-standin"
        assert authorizations(model) == [f"Bearer access-token-{len(web.grants)}-of-the-standin"]
        daemon.client.access.refresh_account("work")
        daemon.restart()
        assert daemon.client.runs.start("uses", "hi", wait="30s").output == "hello"
        assert not stands_in(daemon, "-of-the-standin"), "only the vault has tokens, encrypted"
        last = web.grants[-1]["refresh_token"].split("-")[2]
        daemon.client.access.remove_account("work")
        assert web.revoked == [f"refresh-token-{int(last) + 1}-of-the-standin"]
        found = account_of(daemon, "work")
        assert found["status"] == "not_ready" and "kheish auth login work" in found["reason"]
        refused = daemon.http("POST", "/v1/sessions/uses/runs", {"content": "hi"})
        assert refused.status_code == 409 and "kheish auth login work" in refused.text
        began = daemon.client.access.add_account(account="work")
        httpx.get(web.authorize(began["url"]), trust_env=False, timeout=30)
        until(lambda: account_of(daemon, "work")["status"] == "ready", what="a login again needs its name only")


def test_a_refused_renewal_fails_the_run_and_tells_what_to_do(daemon: Daemon) -> None:
    with serving(has_oauth=True, expires_in=30) as web, openai() as model:
        daemon.write("routes/gone.yaml", {"driver": "openai", "model": "m", "api_base": model.url,
                                          "auth_ref": "oauth.gone", "max_retries": 0})  # fmt: skip
        until(lambda: daemon.http("GET", "/v1/routes/gone").status_code == 200)
        log_in(daemon, web, "gone")
        web.refuses = True
        daemon.client.sessions.create("refused", route="gone")
        run = daemon.client.runs.start("refused", "hi", wait="30s")
        assert run.data["status"] == "failed" and "kheish auth login gone" in run.data["error"]["message"]
        assert not authorizations(model)
        with pytest.raises(Conflict, match="invalid_grant"):
            daemon.client.access.refresh_account("gone")


def test_a_return_of_another_issuer_and_bad_requests_are_refused(daemon: Daemon) -> None:
    with serving(has_oauth=True) as web, serving(has_oauth=True) as other:
        began = daemon.client.access.add_account(account="mixed", issuer=web.url, client_id="c")
        back = web.authorize(began["url"]).partition("&iss=")[0]
        httpx.get(f"{back}&iss={other.url}", trust_env=False, timeout=30)
        failed = until(lambda: (one := daemon.client.access.login("mixed"))["status"] == "failed" and one)
        assert other.url in failed["reason"] and not web.grants, "the code went nowhere"
        with pytest.raises(NotFound):
            daemon.client.access.refresh_account("mixed")
        with pytest.raises(FetchFailed, match="metadata"):
            daemon.client.access.add_account(account="none", issuer=f"{web.url}/tenant", client_id="c")
    for given, why in (
        ({"account": "x", "server": "y"}, "either"),
        ({}, "either"),
        ({"account": "x"}, "There is no account"),
        ({"account": "x", "issuer": "https://login.example"}, "both"),
        ({"account": "../x", "issuer": "https://login.example", "client_id": "c"}, "account"),
        ({"account": "x", "issuer": "http://login.example", "client_id": "c"}, "https"),
        ({"account": "x", "issuer": "https://me:pw@login.example", "client_id": "c"}, "credential"),
        ({"account": "x", "issuer": "https://169.254.169.254", "client_id": "c"}, "169.254.169.254"),
    ):  # fmt: skip
        with pytest.raises(KheishError, match=why):
            daemon.client.access.add_account(**given)
