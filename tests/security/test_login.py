"""A browser's login: what a foreign page, a used link, a stolen cookie or a revoked token get from it."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from kheish.auth import logins
from kheish.domain import events
from tests.api.conftest import w  # noqa: F401 - a fixture
from tests.api.harness import World, eventually, world

HOST = "127.0.0.1:4000"
OURS = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Browser:
    """What a browser has: the cookie, and the word that a page of ours has read."""

    w: World
    http: httpx.AsyncClient
    cookie: str = ""
    csrf: str = ""

    async def ask(self, method: str, path: str, *, csrf: str | None = None, **headers: str) -> httpx.Response:
        word = self.csrf if csrf is None else csrf
        said = {"cookie": self.cookie, **({"x-kheish-csrf": word} if word else {}), **headers}
        return await self.http.request(method, path, headers=said)

    async def make(self, **headers: str) -> int:
        """Try to make a session, as a page would."""
        return (await self.ask("POST", "/v1/sessions", **headers)).status_code


async def link(w: World, **headers: str) -> str:  # noqa: F811
    answer = await w.http.post("/v1/auth/login-links", headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["path"])


async def press(http: httpx.AsyncClient, path: str, **headers: str) -> httpx.Response:
    """The button of the login page."""
    return await http.post("/login", content=path.partition("?")[2], headers={**FORM, **OURS, **headers})


@asynccontextmanager
async def browser(w: World, **token: str) -> AsyncIterator[Browser]:  # noqa: F811
    """One that is logged in, by the local token or another."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(w.app), base_url=f"http://{HOST}") as http:
        done = await press(http, await link(w, **token))
        assert (done.status_code, done.headers["location"]) == (303, "/"), done.text
        found = Browser(w, http, done.headers["set-cookie"].partition(";")[0])
        found.csrf = (await found.ask("GET", "/v1/auth/login")).json()["csrf"]
        yield found


async def token(w: World, name: str = "bob", **more: Any) -> dict[str, str]:  # noqa: F811
    made = await w.http.post("/v1/tokens", json={"name": name, "role": "operator", **more})
    return {"authorization": f"Bearer {made.json()['token']}"}


async def test_the_cookie_is_for_this_host_and_no_script_and_no_other_site(w: World) -> None:  # noqa: F811
    path = await link(w)

    done = await press(w.http, path)

    [(name, cookie)] = SimpleCookie(done.headers["set-cookie"]).items()
    assert (name, cookie["path"], cookie["domain"]) == ("kheish-4000", "/", "")
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Strict", "43200")
    assert cookie.value not in path and done.headers["referrer-policy"] == "strict-origin"
    kept = w.root / logins.FILE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    everything = kept.read_text() + json.dumps((await w.http.get("/v1/audit")).json())
    assert cookie.value not in everything and path.partition("=")[2] not in everything


async def test_with_tls_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    async with world(tmp_path, secure=True) as w:  # noqa: F811
        done = await press(w.http, await link(w), origin=f"https://{HOST}")
        cookie = done.headers["set-cookie"].partition(";")[0]
        plain = await Browser(w, w.http, cookie).ask("GET", "/v1/status", origin=f"http://{HOST}", authorization="")

    assert cookie.startswith("__Host-kheish-4000=") and "Secure" in done.headers["set-cookie"]
    assert plain.status_code == 401


async def test_the_page_says_as_whom_and_uses_nothing_up(w: World) -> None:  # noqa: F811
    path = await link(w, **await token(w, person="<b>Bob</b>"))

    for _ in range(3):
        page = await w.http.get(path)
        assert page.status_code == 200 and "<strong>token:bob</strong> (operator)" in page.text
    assert path.partition("=")[2] in unescape(page.text)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert (await press(w.http, path)).status_code == 303
    assert (await w.http.get(path)).status_code == 401
    assert "kheish login" in (await w.http.get("/login")).text


async def test_a_link_counts_once_for_a_minute_and_is_no_guess(w: World) -> None:  # noqa: F811
    now = w.state.clock()
    w.state.clock = lambda: now
    path, late = await link(w), await link(w)

    both = await asyncio.gather(press(w.http, path), press(w.http, path))

    assert sorted(one.status_code for one in both) == [303, 401]
    assert (await press(w.http, path)).status_code == 401
    assert (await press(w.http, "/login?code=kheish_link_guess")).status_code == 401
    now += 60
    assert (await press(w.http, late)).status_code == 401
    tried = [(await press(w.http, path)).status_code for _ in range(60)]
    assert tried[-1] == 429


async def test_a_page_elsewhere_cannot_log_its_visitor_in(w: World) -> None:  # noqa: F811
    path = await link(w)
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
                    {"origin": "http://127.0.0.1:5000", "sec-fetch-site": "same-site"}):  # fmt: skip
        assert (await press(w.http, path, **headers)).status_code == 403, headers
    assert (await press(w.http, path)).status_code == 303


async def test_what_changes_something_needs_the_word_and_the_same_origin(w: World) -> None:  # noqa: F811
    async with browser(w) as mine, browser(w) as other:
        assert await mine.make(**OURS) == 201
        for headers in (
            {**OURS, "csrf": ""},
            {**OURS, "csrf": "0" * 64},
            {**OURS, "csrf": other.csrf},
            {"sec-fetch-site": "same-origin"},
            {"origin": "https://evil.example"},
            {"origin": f"https://{HOST}"},
            {"origin": "http://127.0.0.1:5000", "sec-fetch-site": "same-site"},
            {"origin": "null", "sec-fetch-site": "cross-site"},
        ):
            assert await mine.make(**headers) == 403, headers
        for method, path in (("DELETE", "/v1/auth/login"), ("PUT", "/v1/routes/x"), ("PATCH", "/v1/sessions/s")):
            assert (await mine.ask(method, path, csrf="", **OURS)).status_code == 403
        by_token = await w.http.post("/v1/sessions", json={})
    assert by_token.status_code == 201
    assert other.csrf != mine.csrf and mine.cookie.partition("=")[2] not in mine.csrf


async def test_reading_is_for_pages_of_ours_too(w: World) -> None:  # noqa: F811
    async with browser(w) as mine:
        assert (await mine.ask("GET", "/v1/status", csrf="", **OURS)).status_code == 200
        assert (await mine.ask("GET", "/v1/status", csrf="")).status_code == 200  # a browser that says nothing
        for path in ("/v1/events", "/v1/sessions", "/openapi.json"):
            for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"},
                            {"sec-fetch-site": "same-site"}, {"origin": "null"}):  # fmt: skip
                answer = await mine.ask("GET", path, **headers)
                assert answer.status_code == 403, (path, headers)
                assert "access-control-allow-origin" not in answer.headers


async def test_a_login_is_its_token_and_ends_with_it(w: World) -> None:  # noqa: F811
    await w.session("team-a")
    bob = await token(w, sessions=["team-*"], person="Bob")
    async with browser(w, **bob) as mine:
        who = (await mine.ask("GET", "/v1/auth/login")).json()
        assert (who["name"], who["role"], who["person"], who["sessions"]) == (
            "token:bob",
            "operator",
            "Bob",
            ["team-*"],
        )
        assert (await mine.ask("GET", "/v1/sessions/team-a")).status_code == 200
        assert (await mine.ask("GET", "/v1/sessions/other")).status_code == 403
        assert (await mine.ask("GET", "/v1/tokens")).status_code == 403

        await w.http.delete("/v1/tokens/bob")
        await token(w)  # another of the same name is another
        assert (await mine.ask("GET", "/v1/sessions/team-a")).status_code == 401
    assert logins.Logins(w.parts.tokens, logins.read(w.root), clock=w.state.clock).list() == []


async def test_a_link_of_a_revoked_token_counts_no_more(w: World) -> None:  # noqa: F811
    path = await link(w, **await token(w))
    await w.http.delete("/v1/tokens/bob")
    assert (await press(w.http, path)).status_code == 401


async def test_a_login_ends_after_its_time_and_cannot_prolong_itself(w: World) -> None:  # noqa: F811
    now = w.state.clock()
    w.state.clock = lambda: now
    async with browser(w) as mine:
        assert (await mine.ask("POST", "/v1/auth/login-links", **OURS)).status_code == 403
        now += logins.LOGIN_SECONDS - 1
        assert (await mine.ask("GET", "/v1/status")).status_code == 200
        now += 1
        assert (await mine.ask("GET", "/v1/status")).status_code == 401


async def test_logging_out_ends_this_browser_and_the_token_ends_all(w: World) -> None:  # noqa: F811
    async with browser(w) as one, browser(w) as two, browser(w, **await token(w)) as bobs:
        gone = await one.ask("DELETE", "/v1/auth/login", **OURS)
        assert gone.status_code == 204 and "01 Jan 1970" in gone.headers["set-cookie"]
        assert [(await it.ask("GET", "/v1/status")).status_code for it in (one, two, bobs)] == [401, 200, 200]

        assert (await w.http.delete("/v1/auth/login")).status_code == 204
        assert [(await it.ask("GET", "/v1/status")).status_code for it in (two, bobs)] == [401, 200]
    entries = [one["data"] for one in (await w.http.get("/v1/audit")).json()["items"]]
    done = [one for one in entries if (one["action"], one["outcome"]) == ("auth", "done")]
    said = [(one["subject"], one["target"].partition(": ")[2]) for one in done]
    local = "token:local"
    assert said == [(local, "opened")] * 2 + [("token:bob", "opened"), (local, "closed"), (local, "closed")]


async def test_who_has_many_logins_loses_the_oldest(w: World) -> None:  # noqa: F811
    async with browser(w) as first:
        for _ in range(logins.MOST_LOGINS - 1):
            await press(w.http, await link(w))
        assert (await first.ask("GET", "/v1/status")).status_code == 200
        await press(w.http, await link(w))
        assert (await first.ask("GET", "/v1/status")).status_code == 401
    first_link = await link(w)
    for _ in range(logins.MOST_LINKS):
        await link(w)
    assert (await press(w.http, first_link)).status_code == 401


async def test_a_cookie_that_somebody_else_set_beside_ours_is_nobodys(w: World) -> None:  # noqa: F811
    async with browser(w) as mine:
        mine.cookie = f"{mine.cookie}; kheish-4000=kheish_login_mine"
        assert (await mine.ask("GET", "/v1/status")).status_code == 401


async def test_a_token_that_is_there_is_what_counts(w: World) -> None:  # noqa: F811
    async with browser(w) as mine:
        for said in ("Bearer no", "Basic x", ""):
            assert (await mine.ask("GET", "/v1/status", authorization=said)).status_code == 401


@pytest.mark.parametrize("role", ["ingress:hook", "observer:cam"])
async def test_what_is_no_person_logs_no_browser_in(w: World, role: str) -> None:  # noqa: F811
    answer = await w.http.post("/v1/auth/login-links", headers=await token(w, "machine", role=role))
    assert answer.status_code == 403


async def test_an_open_stream_ends_when_its_token_is_revoked(w: World) -> None:  # noqa: F811
    """ASGI by hand: httpx's transport gives no part of an answer before its end."""
    bob = await token(w)
    got: list[bytes] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/v1/events",
        "raw_path": b"/v1/events", "query_string": b"", "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 4000),
        "headers": [(b"host", HOST.encode()), (b"authorization", bob["authorization"].encode())],
    }  # fmt: skip

    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in asked:
            return message
        return await asyncio.Event().wait() and {}

    async def send(message: dict[str, Any]) -> None:
        got.append(message.get("body", b""))

    stream = asyncio.create_task(w.app(scope, receive, send))
    await eventually(lambda: len(got) > 0)
    w.state.append(events.DaemonPaused().on())
    await eventually(lambda: b"daemon.paused" in b"".join(got))

    await w.http.delete("/v1/tokens/bob")  # what tells of it is not sent any more

    async with asyncio.timeout(10):
        await stream
    assert b"token.changed" not in b"".join(got)


async def test_a_browser_is_shown_a_page_for_a_link_that_is_over(w: World) -> None:  # noqa: F811
    path = await link(w)
    await press(w.http, path)

    html = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for page in (await w.http.get(path, headers=html), await press(w.http, path, **html)):
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert "already used" in page.text and "<code>kheish login</code>" in page.text
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    other = await w.http.get(path)
    assert other.headers["content-type"] == "application/problem+json" and other.json()["code"] == "unauthorized"


async def test_a_browser_that_returns_from_no_login_is_shown_a_page(w: World) -> None:  # noqa: F811
    page = await w.http.get("/v1/auth/callback", headers={"accept": "text/html"})

    assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "state, and code or error, are missing" in page.text
    assert (await w.http.get("/v1/auth/callback")).json()["code"] == "invalid_request"
