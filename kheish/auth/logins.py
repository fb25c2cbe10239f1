"""Logins of browsers. A single-use link sets a cookie, which stands for the token that requested the link.

A login has no rights of its own: it ends with its token, and has the same limits. Links are in memory only, for a
minute. Logins are kept as tokens are (digests, outside of the tree and of every backup), so that a user need not log in
after each restart of the daemon.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from kheish import ids
from kheish.auth import digests
from kheish.auth.tokens import Principal, Tokens
from kheish.domain import events
from kheish.errors import FileRefused
from kheish.state.state import State
from kheish.store import door, files

FILE = ".git/kheish/logins.json"
_MOST = 64 * 1024 * 1024
LINK_SECONDS = 60.0
LOGIN_SECONDS = 12 * 3600.0
#: the limit of logins per token; a new login replaces the oldest
MOST_LINKS = 20
MOST_LOGINS = 20
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A browser that is logged in. `token` is the digest of the token that it stands for, not its name: another token
    of the same name is a different token."""

    login_id: str
    token: str
    digest: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class _Link:
    token: str
    until: float


class Logins:
    """The links and logins of a state root. `clock` is in seconds since 1970."""

    def __init__(self, tokens: Tokens, kept: tuple[Login, ...] = (), *, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._links: digests.Keyed[_Link] = digests.Keyed()
        self._logins: digests.Keyed[Login] = digests.Keyed()
        for login in kept:
            self.put(login)

    # --- links --------------------------------------------------------------------------------------------------------

    def link(self, token: str) -> tuple[str, float]:
        """Return a code that lets one browser log in as the token with this digest, once; and its expiry."""
        now = self._clock()
        links = list(self._links.items())
        own = [digest for digest, link in links if link.token == token]
        old = [digest for digest, link in links if link.until <= now]
        for digest in (*old, *own[: 1 - MOST_LINKS]):
            self._links.pop(digest)
        code, until = digests.new("link_"), now + LINK_SECONDS
        self._links.put(digests.of(code), _Link(token, until))
        return code, until

    def offered(self, code: str) -> Principal | None:
        """Return the principal that a code would log in; None if the code is no longer valid."""
        link = self._links.get(digests.of(code))
        return self._tokens.holder(link.token) if link is not None and link.until > self._clock() else None

    def redeem(self, code: str) -> str | None:
        """Return the digest of the code's token; the code is invalid after that, whatever the result."""
        is_good = self.offered(code) is not None
        link = self._links.pop(digests.of(code))
        return link.token if link is not None and is_good else None

    # --- logins -------------------------------------------------------------------------------------------------------

    def find(self, cookie: str) -> Login | None:
        """Return the login of a cookie; None if it is unknown, or the login or its token has ended."""
        login = self._logins.get(digests.of(cookie))
        return login if login is not None and self.holder(login) is not None else None

    def holder(self, login: Login) -> Principal | None:
        """Return the principal of a login while the login is valid."""
        if self._logins.get(login.digest) is None or login.expires_at <= ids.stamp(self._clock()):
            return None
        return self._tokens.holder(login.token)

    def of(self, token: str) -> list[Login]:
        """Return the logins of the token with this digest, the oldest first."""
        return [login for _, login in self._logins.items() if login.token == token]

    def list(self) -> list[Login]:
        """Return the logins that have not ended."""
        return [login for _, login in self._logins.items() if self.holder(login) is not None]

    def put(self, login: Login) -> None:
        """Store a login."""
        self._logins.put(login.digest, login)

    def drop(self, login: Login) -> None:
        """Remove a login."""
        self._logins.pop(login.digest)


# --- verbs ------------------------------------------------------------------------------------------------------------


def begin(state: State, logins: Logins, code: str) -> tuple[Login, str] | None:
    """Log a browser in; return the login and the text of its cookie. Return None if the code is no longer valid.

    `save` makes it durable.
    """
    principal = logins.offered(code)
    token = logins.redeem(code)
    if token is None or principal is None:
        return None
    for oldest in logins.of(token)[: 1 - MOST_LOGINS]:
        end(state, logins, oldest, by=principal.name)
    cookie = digests.new("login_")
    login = Login(
        login_id=ids.new("login"),
        token=token,
        digest=digests.of(cookie),
        expires_at=ids.stamp(state.clock() + LOGIN_SECONDS),
    )
    logins.put(login)
    opened = events.LoginChanged(login_id=login.login_id, change="opened", expires_at=login.expires_at)
    state.append(opened.on(by=principal.name))
    return login, cookie


def end(state: State, logins: Logins, login: Login, *, by: str) -> None:
    """Log a browser out. `save` makes it durable."""
    state.append(events.LoginChanged(login_id=login.login_id, change="closed").on(by=by))
    logins.drop(login)


# --- the file ---------------------------------------------------------------------------------------------------------


def read(root: Path) -> tuple[Login, ...]:
    """Return the stored logins; none if the file cannot be read. Blocks on disk."""
    try:
        return tuple(Login(**row) for row in json.loads(door.read_own(root / FILE, most=_MOST)[0])["logins"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, RecursionError, FileRefused, OSError) as error:
        log.warning("%s cannot be read (%s): browsers have to log in again", FILE, error)
        return ()


def save(root: Path, logins: Logins) -> None:
    """Store the logins. Blocks on disk."""
    path = root / FILE
    raw = json.dumps({"logins": [asdict(login) for login in logins.list()]}, indent=1).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.atomic_write(path, raw + b"\n", fsync=True, mode=0o600)
