"""OAuth accounts of model providers: added and logged in with a user's browser, renewed when they are used, revoked.

The authorization code flow with PKCE (S256), RFC 8414 or OpenID discovery, and RFC 9207 (`iss`). All requests go
through the network guard. No answer, log or journal has a token: they are in the vault alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from kheish import ids
from kheish.auth import netguard, stored_account
from kheish.auth.browser_login import PATIENCE, Login, keep, waiting
from kheish.auth.stored_account import StoredAccount
from kheish.auth.vault import Vault
from kheish.errors import (
    Conflict,
    Fault,
    FetchFailed,
    Invalid,
    KheishError,
    NotFound,
    SecretReferenced,
    SecretUnreadable,
)
from kheish.settings import has_odd_characters
from kheish.state.state import State

#: seconds before the end of an access token at which it is renewed, and the life of one without a stated end
_EARLY = 60.0
_LIMIT = 256 * 1024
_SECONDS = 20.0
_SECONDS_TEXT = re.compile(r"[0-9]{1,18}")
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_DISCOVERY = ("oauth-authorization-server", "openid-configuration")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Keeper(Protocol):
    """The keeper of the vault (`daemon.secrets`, a layer above)."""

    async def put(self, slot: str, value: str, description: str | None, *, by: str) -> bool: ...

    async def remove(self, slot: str, *, by: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An account to add. Without endpoints, the issuer's metadata has them."""

    account: str
    issuer: str
    client_id: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    client_secret: str | None = None
    scopes: Sequence[str] = ()


class ProviderAccounts:
    """The accounts of a daemon. `redirect` returns the URL to which browsers return."""

    def __init__(self, state: State, vault: Vault, keeper: Keeper, redirect: Callable[[], str]) -> None:
        self._state = state
        self._vault = vault
        self._keeper = keeper
        self._redirect = redirect
        self._logins: dict[str, Login] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: dict[str, asyncio.Lock] = {}

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, account: str) -> StoredAccount | None:
        """Return a stored account."""
        slot = self._vault.slots.get(stored_account.slot_of(account))
        return stored_account.read(slot.slot, slot.value) if slot is not None else None

    def knows(self, account: str) -> bool:
        """Return whether an account is stored, or a login to it was begun."""
        return account in self._logins or self.find(account) is not None

    def login(self, account: str) -> Login:
        """Return the newest login to an account. Raises NotFound."""
        login = self._logins.get(account)
        if login is None:
            raise NotFound(f"No login to the account {account!r} was begun: kheish auth login {account}")
        return login

    # --- logging in ---------------------------------------------------------------------------------------------------

    async def add(self, wanted: Wanted, *, by: str) -> Login:
        """Begin the login to a new account, or again to a known one. Raises Invalid, FetchFailed, Conflict."""
        ids.check_slug(wanted.account, "account")
        return await self._begin(await self._discovered(wanted), by=by)

    async def begin(self, account: str, *, by: str) -> Login:
        """Begin a login to a stored account again. Raises NotFound."""
        return await self._begin(self._get(account), by=by)

    def _get(self, account: str) -> StoredAccount:
        found = self.find(account)
        if found is None:
            raise NotFound(f"There is no account {account!r}; add it: kheish auth login {account} --issuer URL")
        return found

    async def _begin(self, account: StoredAccount, *, by: str) -> Login:
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        login = Login(account=account.account, by=by, state=state, expires=self._state.clock() + PATIENCE)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        redirect = self._redirect()
        query = {
            "response_type": "code", "client_id": account.client_id, "redirect_uri": redirect, "state": state,
            "code_challenge": challenge, "code_challenge_method": "S256",
            **({"scope": " ".join(account.scopes)} if account.scopes else {}),
        }  # fmt: skip
        joint = "&" if urlsplit(account.authorization_endpoint).query else "?"
        login.url = f"{account.authorization_endpoint}{joint}{urlencode(query)}"
        login.shown.set()
        keep(self._logins, login)
        task = asyncio.get_running_loop().create_task(self._log_in(login, account, verifier, redirect))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return login

    async def _log_in(self, login: Login, account: StoredAccount, verifier: str, redirect: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await login.returned
            issuer = answer["iss"]
            if (issuer or account.returns_issuer) and not _is_same(issuer or "", account.issuer):
                raise Conflict(f"the return names the issuer {issuer!r}, and not {account.issuer}")
            grant = {
                "grant_type": "authorization_code", "code": answer["code"] or "", "redirect_uri": redirect,
                "code_verifier": verifier,
            }  # fmt: skip
            await self._save(await self._granted(replace(account, tokens={}), grant), by=login.by)
            login.status = "done"
        except (KheishError, TimeoutError) as error:
            login.status, login.reason = "failed", str(error) or "the user did not return in time"
        finally:
            if login.status == "waiting":
                login.status, login.reason = "failed", "it was given up"

    def arrived(self, state: str, answer: Mapping[str, str | None]) -> Login | None:
        """Take a user's return from an authorization server; None if no login waits for it."""
        login = waiting(self._logins, state)
        if login is not None:
            login.take(answer)
        return login

    # --- renewing and ending ------------------------------------------------------------------------------------------

    async def renew(self, slot: str) -> None:
        """Renew the tokens in a slot if they are over. Other slots are left alone. Raises SecretUnreadable."""
        found = self._vault.slots.get(slot)
        account = stored_account.read(slot, found.value) if found is not None else None
        if account is None or account.expires_at is None or account.expires_at - _EARLY > self._state.clock():
            return
        async with self._renewing.setdefault(slot, asyncio.Lock()):
            now = self.find(account.account)
            if now is not None and now.tokens == account.tokens:
                await self._refresh(now, by="daemon")

    async def refresh(self, account: str, *, by: str) -> None:
        """Renew the tokens of an account now. Raises NotFound, SecretUnreadable."""
        async with self._renewing.setdefault(stored_account.slot_of(account), asyncio.Lock()):
            await self._refresh(self._get(account), by=by)

    async def _refresh(self, account: StoredAccount, *, by: str) -> None:
        token = account.tokens.get("refresh_token")
        if token is None:
            raise SecretUnreadable(f"The login of the account {account.account!r} is over: {account.lacks or _AGAIN}")
        try:
            renewed = await self._granted(account, {"grant_type": "refresh_token", "refresh_token": token})
        except KheishError as error:
            raise SecretUnreadable(
                f"The login of the account {account.account!r} cannot be renewed: {error.detail} If that stays so: "
                f"kheish auth login {account.account}"
            ) from error
        now = self.find(account.account)
        if now is None or now.tokens != account.tokens:  # logged out, or in again, while the issuer answered
            raise SecretUnreadable(f"The account {account.account!r} was changed meanwhile; try again.")
        await self._save(renewed, by=by)

    async def remove(self, account: str, *, by: str) -> None:
        """Remove the tokens of an account, and revoke them at their issuer. An account that a route uses stays, logged
        out. Raises NotFound."""
        found = self._get(account)
        try:
            await self._keeper.remove(found.slot, by=by)
        except SecretReferenced:
            await self._save(replace(found, tokens={}, expires_at=None), by=by)
        self._logins.pop(account, None)
        token = found.tokens.get("refresh_token") or found.tokens.get("access_token")
        if found.revocation_endpoint is not None and token is not None:
            try:
                await self._post(found, found.revocation_endpoint, {"token": token})
            except KheishError:
                return  # the tokens are gone here, whatever the issuer does

    def close(self) -> None:
        """Give up the logins in progress."""
        for task in self._tasks:
            task.cancel()

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _save(self, account: StoredAccount, *, by: str) -> None:
        about = f"OAuth tokens of the account {account.account} from {account.issuer}"
        await self._keeper.put(account.slot, account.text(), about[:500], by=by)

    async def _granted(self, account: StoredAccount, grant: Mapping[str, str]) -> StoredAccount:
        """Return the account with the tokens of a grant. Raises FetchFailed, Conflict."""
        answer = await self._post(account, account.token_endpoint, grant)
        found = _object(answer.body)
        if answer.status != 200 or found is None:
            code = (found or {}).get("error")
            why = f"{code}" if isinstance(code, str) and code.isprintable() else f"HTTP status {answer.status}"
            raise Conflict(f"{account.token_endpoint} gave no tokens: {why[:200]}.")
        tokens = stored_account.kept_tokens(found, account.tokens)
        if "access_token" not in tokens or str(found.get("token_type", "bearer")).lower() != "bearer":
            raise Conflict(f"{account.token_endpoint} gave no bearer token.")
        return replace(account, tokens=tokens, expires_at=self._end(found.get("expires_in")))

    def _end(self, seconds: Any) -> float | None:
        """Return the end of a life in seconds, which some issuers write as a text."""
        if isinstance(seconds, str) and _SECONDS_TEXT.fullmatch(seconds):
            seconds = int(seconds)
        is_time = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds == seconds
        return self._state.clock() + float(min(max(seconds, 0), ids.LONGEST)) if is_time else None

    async def _post(self, account: StoredAccount, url: str, given: Mapping[str, str]) -> netguard.Answer:
        sent = {**given, "client_id": account.client_id}
        if account.client_secret is not None:
            sent["client_secret"] = self._vault.value(account.client_secret)
        return await netguard.send(
            "POST", url, allow=self._allow, headers=_FORM, content=urlencode(sent).encode(), limit=_LIMIT,
            timeout=_SECONDS,
        )  # fmt: skip

    @property
    def _allow(self) -> Sequence[str]:
        return tuple(self._state.definitions.config.network.allow)

    async def _discovered(self, wanted: Wanted) -> StoredAccount:
        """Return the account with its endpoints, those of the issuer's metadata if none are given. Raises Invalid,
        FetchFailed."""
        found: Mapping[str, Any] = {
            "authorization_endpoint": wanted.authorization_endpoint,
            "token_endpoint": wanted.token_endpoint,
            "revocation_endpoint": wanted.revocation_endpoint,
        }
        _check_url("/issuer", wanted.issuer)
        if found["authorization_endpoint"] is None or found["token_endpoint"] is None:
            found = await self._metadata(wanted.issuer)
        for name in ("authorization_endpoint", "token_endpoint", "revocation_endpoint"):
            if name != "revocation_endpoint" or found.get(name) is not None:
                _check_url(f"/{name}", found.get(name))
        if wanted.client_secret is not None:
            self._vault.value(wanted.client_secret)
        before = self.find(wanted.account)
        return StoredAccount(
            account=wanted.account,
            issuer=wanted.issuer,
            client_id=wanted.client_id,
            authorization_endpoint=found["authorization_endpoint"],
            token_endpoint=found["token_endpoint"],
            revocation_endpoint=found.get("revocation_endpoint"),
            client_secret=wanted.client_secret,
            scopes=tuple(wanted.scopes),
            returns_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            tokens=before.tokens if before is not None and before.issuer == wanted.issuer else {},
        )

    async def _metadata(self, issuer: str) -> Mapping[str, Any]:
        """Return the metadata of an issuer. Raises FetchFailed."""
        parts = urlsplit(issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        places = [f"{origin}/.well-known/{name}{path}" for name in _DISCOVERY]
        for place in [*places, f"{origin}{path}/.well-known/{_DISCOVERY[1]}"]:
            answer = await netguard.send("GET", place, allow=self._allow, limit=_LIMIT, timeout=_SECONDS)
            found = _object(answer.body) if answer.status == 200 else None
            if found is None:
                continue
            if not isinstance(found.get("issuer"), str) or not _is_same(found["issuer"], issuer):
                raise FetchFailed(f"{place} is the metadata of another issuer: {str(found.get('issuer'))[:200]!r}.")
            return found
        raise FetchFailed(f"{issuer} publishes no metadata; give authorization_endpoint and token_endpoint.")


_AGAIN = "it has no refresh token; log in again."


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _check_url(path: str, url: Any) -> None:
    """Raise Invalid for an address without TLS, except on this machine, and for one with a credential or with odd
    characters, which a browser or a terminal would show."""
    try:
        parts = urlsplit(url if isinstance(url, str) and len(url) <= 2000 and not has_odd_characters(url) else "")
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        is_safe = is_safe and parts.port != 0  # a wrong port raises, too
    except ValueError:
        is_safe = False
    if not is_safe or not parts.hostname or parts.username or parts.password or parts.fragment:
        wrong = "must be an https address without a credential"
        raise Invalid(f"{path}: {wrong}.", errors=[Fault(path, wrong)])
