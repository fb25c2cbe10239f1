"""OAuth 2.1 by the SDK: the authorization of a server's requests by stored tokens, and a login with a user's browser.

Only a daemon with a server that uses OAuth imports this module, in a thread.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.exceptions import OAuthFlowError
from mcp.client.auth.utils import extract_scope_from_www_auth, union_scopes
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, Field

from kheish import ids
from kheish.domain.mcp.server import OAuth
from kheish.domain.mcp.tokens import StoredLogin
from kheish.runtime.mcp import http
from kheish.runtime.mcp.outcomes import NotConnected
from kheish.runtime.mcp.wire import Wire

#: requests that a server answers with 401 if it asks for a login: some greet everyone, and ask for it later
_GREETING: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "kheish", "version": "0"},
    },
}
_LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Accept-Encoding": "identity",
    "MCP-Protocol-Version": "2025-11-25",
}
_LIMIT = 1024 * 1024
Save = Callable[[StoredLogin], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The daemon as authorization servers see it. `redirect` is where users come back to."""

    server: str
    url: str
    redirect: str
    settings: OAuth
    secret: str | None = None
    metadata_url: str | None = None


class _Storage:
    """The SDK's view of a login; it is saved whenever its tokens change."""

    def __init__(self, client: Client, login: StoredLogin | None, save: Save) -> None:
        self._client = client
        self._login = login
        self._save = save
        self.provider: OAuthClientProvider | None = None

    async def get_tokens(self) -> OAuthToken | None:
        """Return the stored tokens."""
        return OAuthToken.model_validate(self._login.tokens) if self._login is not None else None

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Return the client: one that was registered by hand, else the stored one."""
        if self._client.settings.client_id is not None:
            return OAuthClientInformationFull(
                client_id=self._client.settings.client_id,
                client_secret=self._client.secret,
                redirect_uris=[AnyUrl(self._client.redirect)],
                token_endpoint_auth_method="client_secret_post" if self._client.secret else "none",
            )
        return OAuthClientInformationFull.model_validate(self._login.client) if self._login is not None else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep a new client until it has tokens: a login that is not completed leaves nothing."""

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Save the login with new tokens, bound to the server and its issuer."""
        assert self.provider is not None
        context = self.provider.context
        assert context.client_info is not None
        metadata, resource = context.oauth_metadata, context.protected_resource_metadata
        issuer = str(metadata.issuer) if metadata is not None else context.auth_server_url or self._client.url
        login = StoredLogin(
            server=self._client.server,
            url=self._client.url,
            issuer=issuer,
            client=context.client_info.model_dump(mode="json", exclude_none=True),
            tokens=tokens.model_dump(mode="json", exclude_none=True),
            expires_at=None if tokens.expires_in is None else time.time() + min(tokens.expires_in, ids.LONGEST),
            metadata=metadata.model_dump(mode="json", exclude_none=True) if metadata is not None else None,
            resource=resource.model_dump(mode="json", exclude_none=True) if resource is not None else None,
        )
        await self._save(login)
        self._login = login


class _Metadata(OAuthClientMetadata):
    """Metadata whose scope has what the file names, in place of what the server asks for, and what calls lacked."""

    named: str | None = Field(default=None, exclude=True)
    lacked: str | None = Field(default=None, exclude=True)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "scope":  # the SDK sets what the server asks for
            value = union_scopes(self.named or value, self.lacked)
        super().__setattr__(name, value)


class Provider(OAuthClientProvider):
    """The SDK's provider, for stored tokens or for a login, and for one issuer if the file names it."""

    issuer: str | None = None
    server_id: str = ""
    lacks: Callable[[str], None] | None = None

    async def _auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        # Without a user, a missing scope is noted for the next login, and the server's refusal is the answer.
        flow = super()._auth_flow(request)
        try:
            sent = await anext(flow)
            while True:
                response = yield sent
                if self.lacks is not None and response.status_code == 403 and http.lacks_scope(response):
                    self.lacks(extract_scope_from_www_auth(response) or "")
                    return
                sent = await flow.asend(response)
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()

    def _select_authorization_server(self, advertised: list[str]) -> str:
        if self.issuer is None:
            return advertised[0]
        named = next((one for one in advertised if one.rstrip("/") == self.issuer.rstrip("/")), None)
        if named is None:
            raise OAuthFlowError(f"the server does not name the issuer {self.issuer}, but {', '.join(advertised)}")
        return named

    def _expected_issuer(self) -> str:
        # The first step of a new login. Without a user, the daemon asks no issuer for anything, and registers nowhere.
        if self.context.redirect_handler is None:
            raise OAuthFlowError(f"the login is over, or does not suffice: kheish mcp login {self.server_id}")
        return super()._expected_issuer()


def provider(
    client: Client,
    login: StoredLogin | None,
    save: Save,
    *,
    show: Callable[[str], Awaitable[None]] | None = None,
    arrive: Callable[[], Awaitable[dict[str, str | None]]] | None = None,
    lacks: Callable[[str], None] | None = None,
    lacked: str = "",
) -> Provider:
    """Return the authorization of requests to a server. `show` gets the page to open, and `arrive` waits for the
    user's return; without them, only stored tokens are used and renewed, and `lacks` takes a scope that is missing.
    `lacked` are the scopes that were missing, for a login."""

    async def returned() -> AuthorizationCodeResult:
        assert arrive is not None
        return AuthorizationCodeResult.model_validate(await arrive())

    storage = _Storage(client, login, save)
    method: Literal["client_secret_post", "none"] = "client_secret_post" if client.secret else "none"
    scopes = " ".join(client.settings.scopes) or None
    made = Provider(
        server_url=client.url,
        client_metadata=_Metadata(
            redirect_uris=[AnyUrl(client.redirect)],
            client_name="Kheish",
            token_endpoint_auth_method=method,
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            scope=union_scopes(scopes, lacked),
            named=scopes,
            lacked=lacked or None,
        ),
        storage=storage,
        redirect_handler=show,
        callback_handler=returned if arrive is not None else None,
        client_metadata_url=client.metadata_url,
    )
    made.issuer, made.server_id, storage.provider = client.settings.issuer, client.server, made
    made.lacks = lacks
    if login is not None:  # the SDK restores tokens, but not where to renew them
        context = made.context
        context.auth_server_url, context.token_expiry_time = login.issuer, login.expires_at
        if login.metadata is not None:
            context.oauth_metadata = OAuthMetadata.model_validate(login.metadata)
        if login.resource is not None:
            context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(login.resource)
    return made


async def authorize(auth: Provider, url: str, allow: tuple[str, ...]) -> bool:
    """Make requests that a server answers after a login; return whether it asked for one. Raises NotConnected."""
    wire = Wire()
    transport = http.Bounded(wire, _LIMIT, url, allow)
    seen: list[int] = []
    try:
        async with httpx2.AsyncClient(
            transport=transport, auth=_Counting(auth, seen), trust_env=False, timeout=30
        ) as client:
            async with client.stream("POST", url, json=_GREETING, headers=_HEADERS) as response:
                status = response.status_code
            if 401 not in seen:
                session = response.headers.get(http.SESSION)
                headers = _HEADERS | ({http.SESSION: session} if session else {})
                async with client.stream("POST", url, json=_LIST, headers=headers) as response:
                    status = response.status_code if 401 in seen else status
    except (OAuthFlowError, httpx2.HTTPError, httpx2.StreamError, ValueError, OverflowError) as error:
        raise NotConnected(wire.fault or str(error) or type(error).__name__) from error
    if status in (401, 403):
        raise NotConnected(f"the server refuses the new tokens ({status})")
    return 401 in seen


class _Counting(httpx2.Auth):
    """An authorization that notes the statuses of the answers to it."""

    requires_response_body = True

    def __init__(self, inner: httpx2.Auth, seen: list[int]) -> None:
        self._inner = inner
        self._seen = seen

    async def async_auth_flow(self, request: httpx2.Request) -> Any:
        """Run the inner flow."""
        flow = self._inner.async_auth_flow(request)
        try:
            sent = await flow.__anext__()
            while True:
                response = yield sent
                self._seen.append(response.status_code)
                sent = await flow.asend(response)
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()


def revocation_endpoint(login: StoredLogin) -> str | None:
    """Return where tokens are revoked, if the issuer has such a place."""
    found = (login.metadata or {}).get("revocation_endpoint")
    return found if isinstance(found, str) else None
