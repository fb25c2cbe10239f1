"""Values stored by the digest of a secret text: tokens, and logins of browsers. The text itself is not kept."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from hashlib import blake2b, sha256
from typing import Generic, TypeVar

T = TypeVar("T")
#: as long as a digest, so that unknown texts are compared like known ones
_NOBODYS = "0" * 64


def new(kind: str = "") -> str:
    """Return an unguessable text of 256 random bits. It begins as every token does, so that redaction detects it."""
    return f"kheish_{kind}{secrets.token_urlsafe(32)}"


def of(text: str) -> str:
    """Return the digest of such a text. It is unsalted and fast, since 256 random bits cannot be guessed."""
    return sha256(text.encode(errors="surrogateescape")).hexdigest()


class Keyed(Generic[T]):
    """Values by digest. Look-ups use a keyed hash, so that their time reveals nothing about a digest."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._by_key: dict[bytes, tuple[str, T]] = {}

    def _keyed(self, digest: str) -> bytes:
        # A keyed hash itself, and faster than an HMAC: every request pays for it.
        return blake2b(digest.encode(), key=self._key).digest()

    def get(self, digest: str) -> T | None:
        """Return the value of a text, or None."""
        known, value = self._by_key.get(self._keyed(digest), (_NOBODYS, None))
        return value if hmac.compare_digest(known, digest) else None

    def put(self, digest: str, value: T) -> None:
        """Store a value."""
        self._by_key[self._keyed(digest)] = digest, value

    def pop(self, digest: str) -> T | None:
        """Remove a value; return it, or None."""
        value = self.get(digest)
        self._by_key.pop(self._keyed(digest), None)
        return value

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield all entries, the oldest first."""
        return iter(list(self._by_key.values()))
