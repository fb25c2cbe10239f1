"""The return of a browser from an authorization server, which writes the query."""

from __future__ import annotations

from tests.api.harness import World

CALLBACK = "/v1/auth/callback"


async def test_parameters_that_a_server_adds_are_ignored(w: World) -> None:
    """RFC 6749, 4.1.2: a client ignores the parameters that it does not know."""
    for more in ("realmId=1", "location=us&accounts-server=x", f"scope={'a+' * 3000}", "hd=a&hd=b", "session_state="):
        page = await w.http.get(f"{CALLBACK}?state=made-up&code=x&{more}")
        assert page.status_code == 404 and "This login is over" in page.text, more


async def test_what_is_read_is_checked(w: World) -> None:
    for query in ("code=x", "state=a&state=b&code=x", f"state=a&code={'x' * 3000}"):
        assert (await w.http.get(f"{CALLBACK}?{query}")).status_code == 400, query
