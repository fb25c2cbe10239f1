"""The tokens of an MCP server as a slot of the vault has them: one slot for each server and issuer.

A slot is bound to both. So tokens are never used at another server, and never renewed at another issuer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from kheish.domain.events import frozen
from kheish.state.event import adapter

PREFIX = "mcp."
_DIGITS = 8


@frozen
class StoredLogin:
    """A login: the server and the issuer that it is bound to, the client, and its tokens; as plain data of the
    protocol."""

    server: str
    url: str
    issuer: str
    client: Mapping[str, Any]
    tokens: Mapping[str, Any]
    expires_at: float | None = None
    metadata: Mapping[str, Any] | None = None
    resource: Mapping[str, Any] | None = None

    def text(self) -> str:
        """Return the value of the slot."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def secrets(self) -> Mapping[str, str]:
        """The parts that must not appear anywhere else."""
        found = {name: self.tokens.get(name) for name in ("access_token", "refresh_token", "id_token")}
        found["client_secret"] = self.client.get("client_secret")
        return {name: value for name, value in found.items() if isinstance(value, str) and value}


def slot_of(server: str, issuer: str) -> str:
    """Return the slot for the tokens of a server from an issuer."""
    return f"{PREFIX}{server[:100]}.{sha256(f'{server} {issuer}'.encode()).hexdigest()[:_DIGITS]}"


def read(slot: str, value: str | None) -> StoredLogin | None:
    """Return the login in a slot; None if the slot has something else."""
    if value is None or not slot.startswith(PREFIX):
        return None
    try:
        login: StoredLogin = adapter(StoredLogin).validate_json(value)
    except ValueError:
        return None
    return login if slot_of(login.server, login.issuer) == slot else None
