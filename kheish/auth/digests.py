"""What is known by a secret text, of which only the digest is kept: tokens, and logins of browsers."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from hashlib import blake2b, sha256
from typing import Generic, TypeVar

T = TypeVar("T")
#: as long as a digest: what is not known is compared like what is
_NOBODYS = "0" * 64


def new(kind: str = "") -> str:
    """A text that nobody guesses: 256 random bits. It begins as every token does, so that redaction knows it."""
    return f"kheish_{kind}{secrets.token_urlsafe(32)}"


def of(text: str) -> str:
    """The digest of such a text. No salt, and fast: there is nothing to guess in 256 random bits."""
    return sha256(text.encode(errors="surrogateescape")).hexdigest()


class Keyed(Generic[T]):
    """Values by digest. They are looked up by a keyed hash, so that the time of a look-up tells nothing of a digest."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._by_key: dict[bytes, tuple[str, T]] = {}

    def _keyed(self, digest: str) -> bytes:
        # Keyed by itself, and faster than an HMAC: every request pays it.
        return blake2b(digest.encode(), key=self._key).digest()

    def get(self, digest: str) -> T | None:
        """What is known by it."""
        known, value = self._by_key.get(self._keyed(digest), (_NOBODYS, None))
        return value if hmac.compare_digest(known, digest) else None

    def put(self, digest: str, value: T) -> None:
        """Know it from now on."""
        self._by_key[self._keyed(digest)] = digest, value

    def pop(self, digest: str) -> T | None:
        """Know it no more; what it was."""
        value = self.get(digest)
        self._by_key.pop(self._keyed(digest), None)
        return value

    def items(self) -> Iterator[tuple[str, T]]:
        """All, the oldest first."""
        return iter(list(self._by_key.values()))
