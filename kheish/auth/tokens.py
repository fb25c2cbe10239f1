"""Tokens: the identity of a caller, and its role. Only digests are kept, outside of the tree and of every backup."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.auth import digests
from kheish.domain import events
from kheish.errors import Conflict, Damaged, Fault, FileRefused, Invalid, NotFound
from kheish.state.state import State
from kheish.store import door, files

FILE = ".git/kheish/tokens.json"
_MOST = 64 * 1024 * 1024
LOCAL = "local"
ROLES = ("admin", "operator", "approver", "reader")
#: roles for a single thing: `ingress:<connector>`, `observer:<source>`
NAMED_ROLES = ("ingress", "observer")
#: the same for a description
ROLE_PATTERN = rf"^({'|'.join(ROLES)}|({'|'.join(NAMED_ROLES)}):[a-z0-9][a-z0-9._-]*)$"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller; every change is attributed to `name`. `person` is the person behind the token, if it names one.
    `sessions` limits the sessions that the caller may see, if it is set, and `projects` the projects and their
    sessions; with both, a session must be in both."""

    name: str
    role: str = "admin"
    person: str | None = None
    sessions: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()

    @property
    def limits(self) -> str:
        """The filters in words; empty if there is none."""
        named = [f"project {one}" for one in self.projects]
        return ", ".join([*self.sessions, *named])

    def may_see(self, session_id: str) -> bool:
        """Return whether the token's filter of sessions includes a session."""
        return not self.sessions or any(fnmatchcase(session_id, pattern) for pattern in self.sessions)

    def may_see_project(self, project: str) -> bool:
        """Return whether the token's filter of projects includes a project; a filter of sessions alone includes
        none."""
        if not self.projects:
            return not self.sessions
        return any(fnmatchcase(project, pattern) for pattern in self.projects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A named token, without its text."""

    name: str
    role: str
    person: str | None = None
    sessions: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    created_at: str
    created_by: str
    expires_at: str | None = None
    digest: str = ""

    def view(self) -> dict[str, Any]:
        """Return the token as the API shows it, without its digest."""
        shown = asdict(self)
        del shown["digest"]
        return {**shown, "sessions": list(self.sessions), "projects": list(self.projects)}


class Tokens:
    """The tokens of a state root. `clock` is in seconds since 1970."""

    def __init__(self, local: str, known: tuple[Token, ...] = (), *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.saving = asyncio.Lock()
        self._by_name = {token.name: token for token in known}
        self._known: digests.Keyed[tuple[Token, Principal]] = digests.Keyed()
        local_token = Token(name=LOCAL, role="admin", created_at="", created_by="", digest=digests.of(local))
        for token in (local_token, *known):
            self._known.put(token.digest, (token, _principal(token)))

    def principal(self, token: str) -> Principal | None:
        """Return the principal of a token; None if it is unknown or expired."""
        return self.holder(digests.of(token))

    def holder(self, digest: str) -> Principal | None:
        """Return the principal of a token by its digest; None if it is unknown or expired."""
        known = self._known.get(digest)
        if known is None:
            return None
        token, principal = known
        if token.expires_at is not None and token.expires_at <= ids.stamp(self._clock()):
            return None
        return principal

    def list(self) -> list[Token]:
        """Return all tokens but the local one, by name."""
        return [token for _, token in sorted(self._by_name.items())]

    def put(self, token: Token) -> None:
        """Store a token."""
        self._by_name[token.name] = token
        self._known.put(token.digest, (token, _principal(token)))

    def drop(self, name: str) -> None:
        """Remove a token."""
        self._known.pop(self._by_name.pop(name).digest)

    def get(self, name: str) -> Token:
        """Return a token. Raises NotFound."""
        if name not in self._by_name:
            raise NotFound(f"There is no token {name!r}.")
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name or name == LOCAL


def _principal(token: Token) -> Principal:
    return Principal(f"token:{token.name}", token.role, token.person, token.sessions, token.projects)


# --- verbs ------------------------------------------------------------------------------------------------------------


def create(state: State, tokens: Tokens, asked: Token) -> tuple[Token, str]:
    """Create a token; return it with its text, which is shown only now. Raises Invalid, Conflict. `save` makes it
    durable."""
    _check(asked)
    if asked.name in tokens:
        raise Conflict(f"The token {asked.name!r} already exists; revoke it first, or choose another name.")
    text = digests.new()
    made = replace(asked, created_at=ids.stamp(state.clock()), digest=digests.of(text))
    if made.expires_at is not None and made.expires_at <= made.created_at:
        raise Invalid("The token would already be expired.", errors=[Fault("/expires", "is in the past")])
    changed = events.TokenChanged(
        name=made.name, role=made.role, change="created", person=made.person, sessions=made.sessions,
        projects=made.projects, expires_at=made.expires_at,
    )  # fmt: skip
    state.append(changed.on(by=made.created_by))
    tokens.put(made)
    return made, text


def revoke(state: State, tokens: Tokens, name: str, *, by: str) -> Token:
    """Revoke a token. Raises NotFound; Conflict for the local token."""
    if name == LOCAL:
        raise Conflict("The local token cannot be revoked: remove .kheish/token, and restart the daemon for a new one.")
    token = tokens.get(name)
    state.append(events.TokenChanged(name=name, role=token.role, change="revoked").on(by=by))
    tokens.drop(name)
    return token


def _check(token: Token) -> None:
    faults = []
    if not ids.is_slug(token.name):
        faults.append(Fault("/name", f"{token.name!r} is not a legal name: use a-z, 0-9, '.', '_', '-'"))
    kind, colon, of = token.role.partition(":")
    if not (token.role in ROLES or (kind in NAMED_ROLES and colon and ids.is_slug(of))):
        known = ", ".join((*ROLES, *(f"{name}:NAME" for name in NAMED_ROLES)))
        faults.append(Fault("/role", f"{token.role!r} is not a role; use one of {known}"))
    for name in ("sessions", "projects"):
        if getattr(token, name) and token.role == "admin":
            faults.append(Fault(f"/{name}", f"an admin is not limited to {name}"))
    if faults:
        raise Invalid("; ".join(f"{fault.path[1:]}: {fault.message}" for fault in faults) + ".", errors=faults)


# --- the file ---------------------------------------------------------------------------------------------------------


def read(root: Path) -> tuple[Token, ...]:
    """Return the stored tokens. Blocks on disk. Raises Damaged."""
    try:
        rows = json.loads(door.read_own(root / FILE, most=_MOST)[0])["tokens"]
        return tuple(
            Token(**{**row, "sessions": tuple(row["sessions"]), "projects": tuple(row.get("projects", ()))})
            for row in rows
        )
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, RecursionError, FileRefused) as error:
        raise Damaged(f"{FILE} cannot be read ({error}); remove it, and recreate the tokens.") from error


async def keep(state: State, tokens: Tokens) -> None:
    """Make a change of the tokens durable."""
    async with tokens.saving:  # the newest state is written last
        await asyncio.to_thread(save, state.root, tokens)
    await state.durable()


def save(root: Path, tokens: Tokens) -> None:
    """Store the tokens. Blocks on disk."""
    path = root / FILE
    raw = json.dumps({"tokens": [asdict(token) for token in tokens.list()]}, indent=1).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.atomic_write(path, raw + b"\n", fsync=True, mode=0o600)
