"""The digest of a Playbook: over the values of its manifest and the files beside it, not over the manifest's
formatting."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from kheish.store.edits.debounce import passed_over


def counts(path: str) -> bool:
    """Return whether a file beside the manifest (its relative path) belongs to the Playbook; editors' leftovers do
    not."""
    return not passed_over(path)


def digest(data: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Return a sha256 in hex over the manifest and the files beside it.

    It covers the canonical form (RFC 8785) of the parsed manifest, then for each file, sorted by relative path: the
    path, a NUL, its sha256 in hex, a newline. Raises ValueError for a number that has no canonical form.
    """
    try:
        total = hashlib.sha256(rfc8785.dumps(dict(data)))
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"it has no canonical form: {error}") from error
    for path in sorted(path for path in files if counts(path)):
        total.update(f"{path}\0{files[path]}\n".encode())
    return total.hexdigest()
