"""Idempotency keys of platforms. Children that read bodies import this module, so it imports little."""

from __future__ import annotations

from hashlib import sha256

#: characters of a key that is kept as it is
_MOST_KEY = 200


def plain_key(key: str) -> str:
    """Return a platform's id as a key: as it is, or its digest if it is long or not printable."""
    if 1 <= len(key) <= _MOST_KEY and key.isprintable():
        return key
    return f"sha256:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"
