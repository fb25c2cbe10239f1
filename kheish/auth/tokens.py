"""Tokens: who a caller is. So far the one local admin token; named tokens with roles will be further lines here."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: every change is attributed to `name`. `person`: whom the token proves, where two different persons have
    to agree; None for one that more than one person may show, as the local token."""

    name: str
    role: str = "admin"
    person: str | None = None


class Tokens:
    """Known tokens. Only digests are kept, and all of them are compared, so that the time tells nothing."""

    def __init__(self, local: str, named: Iterable[tuple[str, Principal]] = ()) -> None:
        """`named`: tokens beside the local one, and whose they are."""
        known = [(local, Principal("token:local")), *named]
        self._known = [(sha256(token.encode()).digest(), principal) for token, principal in known]

    def principal(self, token: str) -> Principal | None:
        """Whose token it is; None where it is nobody's."""
        digest, found = sha256(token.encode(errors="surrogateescape")).digest(), None
        for known, principal in self._known:
            if hmac.compare_digest(digest, known):
                found = principal
        return found
