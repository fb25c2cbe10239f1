"""Preconditions of writes: which version a caller expects to replace (`If-Match`), or that there is none
(`If-None-Match: *`)."""

from __future__ import annotations

from typing import Any

from kheish.errors import PreconditionFailed

#: the expectations that are no ETag: any version, and none
ANY, ABSENT = "*", ""


def check(name: str, expected: str | None, etag: str | None) -> None:
    """Raise PreconditionFailed unless the present version is the expected one.

    `expected`: an ETag, ANY or ABSENT; None expects nothing. `etag` is that of the present version: None if there is
    none, ANY if it has no ETag.
    """
    if expected is None or (expected == ABSENT and etag is None) or (expected == ANY and etag is not None):
        return
    if etag is None:
        raise PreconditionFailed(f"{name} does not exist.")
    if etag == ANY and expected != ABSENT:
        raise PreconditionFailed(f"{name} has no ETag that could be compared; send no If-Match.")
    known: dict[str, Any] = {"etag": etag} if etag != ANY else {}
    if expected == ABSENT:
        raise PreconditionFailed(f"{name} exists already; send no If-None-Match to replace it.", **known)
    if expected != etag:
        raise PreconditionFailed(f"{name} was changed meanwhile: read it again, or send If-Match {etag}.", **known)
