"""Tokens: who a caller is. So far the one local admin token; named tokens with roles will be further lines here."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: every change is attributed to `name`. `person`: who is behind it, where the token says so."""

    name: str
    role: str = "admin"
    person: str | None = None


class Tokens:
    """Known tokens. Only digests are kept, and all of them are compared, so that the time tells nothing."""

    def __init__(self, local: str) -> None:
        self._known = [(sha256(local.encode()).digest(), Principal("token:local"))]

    def principal(self, token: str) -> Principal | None:
        """Whose token it is; None where it is nobody's."""
        digest, found = sha256(token.encode(errors="surrogateescape")).digest(), None
        for known, principal in self._known:
            if hmac.compare_digest(digest, known):
                found = principal
        return found
