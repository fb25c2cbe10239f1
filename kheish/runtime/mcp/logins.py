"""Logins at MCP servers by OAuth: stored in the vault, renewed when they are used, begun and completed in a browser."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kheish import ids
from kheish.auth import netguard
from kheish.auth.accounts import Keeper
from kheish.auth.browser_login import PATIENCE, Login, keep, waiting
from kheish.auth.vault import Vault
from kheish.domain.definitions import Definition
from kheish.domain.mcp import tokens
from kheish.domain.mcp.server import McpServer, OAuth
from kheish.domain.mcp.tokens import StoredLogin
from kheish.errors import Conflict, FetchFailed, Invalid, KheishError, NotFound
from kheish.runtime.mcp.outcomes import NotConnected
from kheish.state.state import State

#: seconds to wait for the page to open
_PAGE = 60.0
#: characters of the scopes that a server asked for later
_SCOPES = 2000


class Logins:
    """The logins of a daemon. `redirect` returns the URL to which browsers return; `renewed(server)` is called after a
    login or its end, so that connections begin again."""

    def __init__(
        self,
        state: State,
        vault: Vault,
        keeper: Keeper,
        *,
        redirect: Callable[[], str],
        renewed: Callable[[str], None],
        value: Callable[[str], str],
    ) -> None:
        self._state = state
        self._vault = vault
        self._keeper = keeper
        self._redirect = redirect
        self._renewed = renewed
        self._value = value
        self._logins: dict[str, Login] = {}
        self._lacked: dict[str, str] = {}  # the scopes that requests to a server lacked since its login
        self._tasks: set[asyncio.Task[None]] = set()

    # --- using --------------------------------------------------------------------------------------------------------

    def stored(self, server_id: str, server: McpServer) -> StoredLogin | None:
        """Return the newest login at a server's URL, from the issuer that its file names if it names one."""
        wanted = server.auth.oauth.issuer if server.auth is not None and server.auth.oauth is not None else None
        found = [
            (slot.value_at, login)
            for name, slot in self._vault.slots.items()
            if (login := tokens.read(name, slot.value)) is not None
            and (login.server, login.url) == (server_id, server.url)
            and (wanted is None or login.issuer.rstrip("/") == wanted.rstrip("/"))
            and ("slot", name) not in self._revoked
        ]
        return max(found, key=lambda one: one[0])[1] if found else None

    @property
    def _revoked(self) -> set[tuple[str, str]]:
        return {("slot", name) for name in self._vault.revoked}

    def slots(self, server_id: str, server: McpServer) -> tuple[str, ...]:
        """Return the slots that a server uses, with that of its login."""
        has_login = server.auth is not None and server.auth.oauth is not None
        login = self.stored(server_id, server) if has_login else None
        return (*server.slots, *([tokens.slot_of(login.server, login.issuer)] if login is not None else []))

    async def auth(self, server_id: str, server: McpServer) -> Any:
        """Return the authorization of a server's requests. Raises NotConnected without a login."""
        login = self.stored(server_id, server)
        if login is None:
            raise NotConnected(f"it needs a login: kheish mcp login {server_id}")
        oauth = await self._sdk()

        def lacks(scope: str) -> None:
            known = self._lacked.get(server_id, "").split()
            self._lacked[server_id] = " ".join(dict.fromkeys([*known, *scope[:_SCOPES].split()]))[:_SCOPES]

        return oauth.provider(self._client(oauth, server_id, server), login, self._save, lacks=lacks)

    async def _sdk(self) -> Any:
        return await asyncio.to_thread(importlib.import_module, "kheish.runtime.mcp.oauth")

    def _client(self, oauth: Any, server_id: str, server: McpServer) -> Any:
        assert server.url is not None and server.auth is not None and server.auth.oauth is not None
        settings: OAuth = server.auth.oauth
        return oauth.Client(
            server=server_id,
            url=server.url,
            redirect=self._redirect(),
            settings=settings,
            secret=self._value(settings.client_secret) if settings.client_secret is not None else None,
            metadata_url=self._state.definitions.config.mcp.client_metadata_url,
        )

    async def _save(self, login: StoredLogin, *, by: str = "daemon") -> None:
        slot = tokens.slot_of(login.server, login.issuer)
        about = f"OAuth tokens of the MCP server {login.server} from {login.issuer}"
        await self._keeper.put(slot, login.text(), about[:500], by=by)

    # --- logging in ---------------------------------------------------------------------------------------------------

    def _find(self, server_id: str) -> McpServer:
        """Return a server with OAuth. Raises NotFound, Invalid."""
        definition: Definition = self._state.definitions.get("mcp", ids.check_slug(server_id, "id"))
        server: McpServer = definition.value
        if server.auth is None or server.auth.oauth is None:
            raise Invalid(f"{definition.path} uses no OAuth; add auth: {{oauth: {{}}}} to it first.")
        return server

    async def begin(self, server_id: str, *, by: str) -> Login:
        """Begin a login, and return it with the page to open. Raises NotFound, Invalid, FetchFailed, Conflict."""
        server = self._find(server_id)
        login = Login(account=server_id, server=server_id, by=by, expires=self._state.clock() + PATIENCE)
        keep(self._logins, login)
        task = asyncio.get_running_loop().create_task(self._log_in(login, server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(_PAGE):
                await login.shown.wait()
        except TimeoutError as error:
            task.cancel()
            raise FetchFailed(f"The MCP server {server_id} named no page for a login within {_PAGE:g} s.") from error
        if login.status == "failed":
            raise Conflict(f"The login at the MCP server {server_id} cannot begin: {login.reason}.")
        return login

    async def _log_in(self, login: Login, server: McpServer) -> None:
        async def show(url: str) -> None:
            login.url = url
            login.state = next(iter(parse_qs(urlsplit(url).query).get("state", [])), None)
            login.shown.set()

        async def arrive() -> dict[str, str | None]:
            async with asyncio.timeout(PATIENCE):
                return await login.returned

        async def save(stored: StoredLogin) -> None:
            await self._save(stored, by=login.by)

        assert server.url is not None
        try:
            oauth = await self._sdk()
            client = self._client(oauth, login.account, server)
            old, lacked = self.stored(login.account, server), self._lacked.get(login.account, "")
            if lacked and old is not None:  # what was granted stays
                lacked = f"{old.tokens.get('scope') or ''} {lacked}".strip()
            auth = oauth.provider(client, None, save, show=show, arrive=arrive, lacked=lacked)
            allow = tuple(self._state.definitions.config.network.allow)
            if not await oauth.authorize(auth, server.url, allow):
                raise NotConnected("the server asks for no login")
            login.status = "done"
            self._lacked.pop(login.account, None)
            self._renewed(login.account)
        except (NotConnected, KheishError, TimeoutError) as error:
            login.status, login.reason = "failed", str(error) or "the user did not return in time"
        finally:
            if login.status == "waiting":
                login.status, login.reason = "failed", "it was given up"
            login.shown.set()

    def login(self, server_id: str) -> Login:
        """Return the newest login at a server. Raises NotFound."""
        login = self._logins.get(server_id)
        if login is None:
            raise NotFound(f"No login at the MCP server {server_id} was begun: kheish mcp login {server_id}")
        return login

    def arrived(self, state: str, answer: Mapping[str, str | None]) -> Login:
        """Take a user's return from an authorization server. Raises NotFound."""
        login = waiting(self._logins, state)
        if login is None:
            raise NotFound(
                "There is no such login, or it is over; begin it again: kheish mcp login SERVER, or kheish auth login "
                "ACCOUNT"
            )
        login.take(answer)
        return login

    # --- renewing and ending ------------------------------------------------------------------------------------------

    async def refresh(self, server_id: str) -> None:
        """Renew the tokens of a server now. Raises NotFound, Invalid, Conflict."""
        server = self._find(server_id)
        try:
            auth = await self.auth(server_id, server)
            auth.context.token_expiry_time = 1.0
            oauth = await self._sdk()
            assert server.url is not None
            await oauth.authorize(auth, server.url, tuple(self._state.definitions.config.network.allow))
        except NotConnected as error:
            raise Conflict(f"The login at the MCP server {server_id} cannot be renewed: {error}.") from error
        self._renewed(server_id)

    async def revoke(self, server_id: str, *, by: str) -> list[str]:
        """Remove the tokens of a server, from all issuers, and tell the issuers. Returns the slots. Raises NotFound."""
        found = {
            name: login
            for name, slot in self._vault.slots.items()
            if (login := tokens.read(name, slot.value)) is not None and login.server == server_id
        }
        if not found:
            raise NotFound(f"There is no login at the MCP server {server_id}.")
        for name, login in found.items():
            await self._keeper.remove(name, by=by)
            await self._tell_issuer(login)
        self._renewed(server_id)
        return sorted(found)

    async def _tell_issuer(self, login: StoredLogin) -> None:
        """Ask the issuer to revoke the tokens; that it fails changes nothing here."""
        endpoint = (login.metadata or {}).get("revocation_endpoint")
        token = login.tokens.get("refresh_token") or login.tokens.get("access_token")
        if not isinstance(endpoint, str) or not isinstance(token, str):
            return
        from urllib.parse import urlencode

        body = urlencode({"token": token, "client_id": str(login.client.get("client_id") or "")}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        allow = self._state.definitions.config.network.allow
        try:
            await netguard.send("POST", endpoint, allow=allow, headers=headers, content=body, timeout=10.0)
        except KheishError:
            return

    async def close(self) -> None:
        """Give up the logins in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def is_expired(login: StoredLogin) -> bool:
    """Return whether the access token of a login is over."""
    return login.expires_at is not None and login.expires_at < time.time()
