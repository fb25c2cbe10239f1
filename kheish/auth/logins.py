"""Logins of browsers: a link that counts once gets a cookie, which stands for the token that asked for the link.

A login has no rights of its own: with its token it ends, and what the token may not, it may not. Links are in memory
only, for a minute. Logins are kept as tokens are (digests, outside of the tree and of every backup), so that a person
need not log in again after each restart of the daemon.
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
#: of one token; one more takes the place of the oldest
MOST_LINKS = 20
MOST_LOGINS = 20
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One browser that is logged in. `token` is the digest of the token that it stands for, not its name: another
    token of the same name is another."""

    login_id: str
    token: str
    digest: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class _Link:
    token: str
    until: float


class Logins:
    """The links and logins of one state root. `clock` is in seconds since 1970."""

    def __init__(self, tokens: Tokens, kept: tuple[Login, ...] = (), *, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._links: digests.Keyed[_Link] = digests.Keyed()
        self._logins: digests.Keyed[Login] = digests.Keyed()
        for login in kept:
            self.put(login)

    # --- links --------------------------------------------------------------------------------------------------------

    def link(self, token: str) -> tuple[str, float]:
        """A code that lets one browser in as the token with this digest, once; and until when."""
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
        """Whom a code would let in; None where it counts no more."""
        link = self._links.get(digests.of(code))
        return self._tokens.holder(link.token) if link is not None and link.until > self._clock() else None

    def redeem(self, code: str) -> str | None:
        """The digest of the code's token; the code counts no more, whoever asks."""
        is_good = self.offered(code) is not None
        link = self._links.pop(digests.of(code))
        return link.token if link is not None and is_good else None

    # --- logins -------------------------------------------------------------------------------------------------------

    def find(self, cookie: str) -> Login | None:
        """The login of a cookie; None where it is nobody's, or has ended, or its token has."""
        login = self._logins.get(digests.of(cookie))
        return login if login is not None and self.holder(login) is not None else None

    def holder(self, login: Login) -> Principal | None:
        """For whom a login stands, while it lasts."""
        if self._logins.get(login.digest) is None or login.expires_at <= ids.stamp(self._clock()):
            return None
        return self._tokens.holder(login.token)

    def of(self, token: str) -> list[Login]:
        """The logins of the token with this digest, the oldest first."""
        return [login for _, login in self._logins.items() if login.token == token]

    def list(self) -> list[Login]:
        """Those that have not ended."""
        return [login for _, login in self._logins.items() if self.holder(login) is not None]

    def put(self, login: Login) -> None:
        """Know a login from now on."""
        self._logins.put(login.digest, login)

    def drop(self, login: Login) -> None:
        """Know it no more."""
        self._logins.pop(login.digest)


# --- verbs ------------------------------------------------------------------------------------------------------------


def begin(state: State, logins: Logins, code: str) -> tuple[Login, str] | None:
    """Log a browser in: the login, and the text of its cookie. None where the code counts no more.

    `save` makes it last.
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
    """Log a browser out. `save` makes it last."""
    state.append(events.LoginChanged(login_id=login.login_id, change="closed").on(by=by))
    logins.drop(login)


# --- the file ---------------------------------------------------------------------------------------------------------


def read(root: Path) -> tuple[Login, ...]:
    """The logins that are kept. Blocks on disk. Where the file cannot be read, nobody is logged in."""
    try:
        return tuple(Login(**row) for row in json.loads(door.read_own(root / FILE, most=_MOST)[0])["logins"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, RecursionError, FileRefused, OSError) as error:
        log.warning("%s cannot be read (%s): browsers have to log in again", FILE, error)
        return ()


def save(root: Path, logins: Logins) -> None:
    """Keep them. Blocks on disk."""
    path = root / FILE
    raw = json.dumps({"logins": [asdict(login) for login in logins.list()]}, indent=1).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.atomic_write(path, raw + b"\n", fsync=True, mode=0o600)
