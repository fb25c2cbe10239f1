"""The OAuth account of a model provider as a slot of the vault has it: where its tokens come from, and the tokens.

A route names the slot (`auth_ref: oauth.work`). Its calls get the access token alone, never the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any

from kheish.domain.events import frozen
from kheish.state.event import adapter

PREFIX = "oauth."
#: the parts of an answer of a token endpoint that are kept
_KEPT = ("access_token", "refresh_token", "id_token")


@frozen
class StoredAccount:
    """An account. Its tokens are bound to the issuer and the endpoints beside them. `client_secret` is a slot.
    `tokens` is empty once it is logged out."""

    account: str
    issuer: str
    client_id: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    client_secret: str | None = None
    scopes: tuple[str, ...] = ()
    returns_issuer: bool = False
    tokens: Mapping[str, str] = field(default_factory=dict)
    expires_at: float | None = None

    @property
    def slot(self) -> str:
        """Its slot."""
        return slot_of(self.account)

    @property
    def secrets(self) -> Mapping[str, str]:
        """The parts that must not appear anywhere else."""
        return dict(self.tokens)

    @property
    def lacks(self) -> str | None:
        """The reason why it cannot be used; None if it can."""
        return None if self.tokens.get("access_token") else f"it is logged out: kheish auth login {self.account}"

    def text(self) -> str:
        """Return the value of the slot."""
        return json.dumps(asdict(self), sort_keys=True)


def kept_tokens(answer: Mapping[str, Any], before: Mapping[str, str]) -> dict[str, str]:
    """Return the tokens of an answer; a refresh token that it does not replace stays. Texts that can be no token (RFC
    6749, appendix A) are left out."""
    given = {name: value for name in _KEPT if isinstance(value := answer.get(name), str) and _is_token(value)}
    return {**({"refresh_token": before["refresh_token"]} if "refresh_token" in before else {}), **given}


def _is_token(text: str) -> bool:
    return text != "" and text.isascii() and text.isprintable()


def slot_of(account: str) -> str:
    """Return the slot of an account."""
    return f"{PREFIX}{account}"


def read(slot: str, value: str | None) -> StoredAccount | None:
    """Return the account in a slot; None if the slot has something else."""
    if value is None or not slot.startswith(PREFIX):
        return None
    try:
        account: StoredAccount = adapter(StoredAccount).validate_json(value)
    except ValueError:
        return None
    return account if account.slot == slot else None
