"""Playbooks of a served state root, published and released as a person would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.daemon import Daemon


def release(daemon: Daemon, id: str, manifest: Mapping[str, Any] | None = None, *, version: str = "1.0.0") -> None:
    """Put the draft (where one is given), publish it, and make it active on a person's word."""
    word = [{"kind": "attestation", "id": "Ada", "description": "read it twice"}]
    steps: list[tuple[str, str, Any]] = [
        ("POST", f"/v1/playbooks/{id}/versions", {"version": version}),
        ("POST", f"/v1/playbooks/{id}/versions/{version}/release", {"state": "verified", "evidence": word}),
        ("POST", f"/v1/playbooks/{id}/versions/{version}/release", {"state": "active"}),
    ]
    if manifest is not None:
        steps.insert(0, ("PUT", f"/v1/playbooks/{id}", dict(manifest)))
    for method, path, body in steps:
        done = daemon.http(method, path, body)
        assert done.status_code < 300, done.text
