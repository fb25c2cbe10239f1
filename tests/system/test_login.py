"""A browser that is logged in at a real daemon: from `kheish login` over a restart to the end of its token."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.daemon import Daemon, git
from tests.system.conftest import Fresh

FORM = {"content-type": "application/x-www-form-urlencoded"}


def page(daemon: Daemon, method: str, path: str, cookie: str = "", **more: Any) -> httpx.Response:
    """As a page of this daemon asks."""
    headers = {"origin": daemon.url, "sec-fetch-site": "same-origin", "cookie": cookie, **more.pop("headers", {})}
    return httpx.request(method, daemon.url + path, headers=headers, timeout=30, trust_env=False, verify=False, **more)


def test_a_login_lasts_over_a_restart_and_ends_with_its_token(fresh: Fresh) -> None:
    daemon = fresh()
    text = daemon.cli("tokens", "create", "ann", "--role", "operator", "--person", "Ann").stdout.strip()
    daemon.env["KHEISH_TOKEN"] = text
    url = daemon.cli("login").stdout.strip()
    del daemon.env["KHEISH_TOKEN"]
    assert url.startswith(f"{daemon.url}/login?code=")
    done = page(daemon, "POST", "/login", content=url.partition("?")[2], headers=FORM)
    text = done.headers["set-cookie"].partition(";")[0].partition("=")[2]

    daemon.restart()
    cookie = f"kheish-{daemon.url.rpartition(':')[2]}={text}"  # it has another port now, which a browser would not
    who = page(daemon, "GET", "/v1/auth/login", cookie).json()
    word = {"x-kheish-csrf": who["csrf"]}
    made = page(daemon, "POST", "/v1/sessions", cookie, json={"session_id": "s"}, headers=word)
    forged = page(daemon, "POST", "/v1/sessions", cookie, json={})
    daemon.cli("tokens", "revoke", "ann")
    after = page(daemon, "GET", "/v1/status", cookie)

    assert (done.status_code, who["name"], who["person"]) == (303, "token:ann", "Ann")
    assert (made.status_code, forged.status_code, after.status_code) == (201, 403, 401)
    assert daemon.journal("s")[0]["actor"] == "token:ann"
    daemon.quiet()
    secrets = (url.partition("=")[2], text)
    assert not any(secret in daemon.stderr() or git(daemon.root, "grep", secret, check=False) for secret in secrets)
