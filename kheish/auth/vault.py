"""The vault's slots in memory: values for authorized use, cards for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kheish.auth import stored_account
from kheish.errors import NotFound, SecretUnreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A secret. `value` is None if it cannot be read; then `reason` explains why."""

    slot: str
    version: int
    digest: str
    created_at: str
    value_at: str
    updated_by: str
    description: str | None = None
    recipients: tuple[str, ...] = ()
    value: str | None = field(default=None, repr=False)
    reason: str | None = None

    def card(self) -> dict[str, Any]:
        """Return the public facts about the slot: `secrets/<slot>.yaml`."""
        return {
            "slot": self.slot,
            "description": self.description,
            "version": self.version,
            "created_at": self.created_at,
            "value_at": self.value_at,
            "updated_by": self.updated_by,
            "recipients": list(self.recipients),
            "digest": self.digest,
        }

    def view(self, referenced_by: list[str]) -> dict[str, Any]:
        """Return the slot as the API shows it."""
        status = {"status": "ready" if self.value is not None else "unreadable", "reason": self.reason}
        return {**self.card(), **status, "referenced_by": referenced_by}


class Vault:
    """The slots by name. `daemon/secrets.py` fills it."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}
        self.revoked: dict[str, str] = {}  # slots and variables, each with its reason; set by the broker

    def value(self, slot: str) -> str:
        """Return the secret itself. Raises NotFound, SecretUnreadable."""
        secret = self.slots.get(slot)
        if secret is None:
            raise NotFound(f"There is no secret in the slot {slot!r}: kheish secrets set {slot}")
        if secret.value is None:
            raise SecretUnreadable(f"The secret {slot!r} cannot be read: {secret.reason}")
        return secret.value

    def values(self) -> Mapping[str, str]:
        """Return every known value by slot, for redaction."""
        return {name: one.value for name, one in self.slots.items() if one.value is not None}

    def readiness(self) -> Mapping[str, str | None]:
        """Return for each slot the reason why it is unusable, or None. Revoked variables (`env:NAME`) are included."""
        return {name: _lack(one) for name, one in self.slots.items()} | self.revoked


def _lack(slot: Slot) -> str | None:
    if slot.value is None:
        return slot.reason
    account = stored_account.read(slot.slot, slot.value)
    return account.lacks if account is not None else None
