"""Credentials of connectors: each use leases its slot, for the connector as subject and audience."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from kheish.auth.broker import Broker, Lease
from kheish.domain.connectors.definition import AUDIENCE, ConnectorFile
from kheish.errors import ConnectorNotReady, CredentialRevoked, NotFound, SecretUnreadable
from kheish.runtime.platforms import slack, telegram
from kheish.runtime.platforms.slack import Slack
from kheish.runtime.platforms.telegram import Telegram
from kheish.runtime.platforms.web import Lend


class Credentials:
    """The leases of connectors."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def lend(self, connector_id: str, slot: str, *, is_audited: bool = True) -> Lend:
        """Return what leases a slot, for each use."""
        name = f"{AUDIENCE}{connector_id}"

        def lease() -> AbstractAsyncContextManager[Lease]:
            return self._broker.lease((name,), slot, name, scope=(), is_audited=is_audited)

        return lease

    async def secret(self, connector_id: str, slot: str) -> str:
        """Return the secret by which requests are verified. Raises ConnectorNotReady."""
        try:
            # Not audited: anyone could fill the audit with requests to a connector whose slot is empty.
            async with self.lend(connector_id, slot, is_audited=False)() as lease:
                return lease.value
        except (NotFound, SecretUnreadable, CredentialRevoked) as error:
            raise ConnectorNotReady(f"The connector {connector_id!r} is not ready: {error.detail}") from error

    def slack(self, connector_id: str, file: ConnectorFile, slot: str | None = None) -> Slack:
        """Return a client with the bot's token, or that of another slot."""
        base = file.api_base or slack.API
        return Slack(self.lend(connector_id, slot or file.token or ""), api_base=base)

    def telegram(self, connector_id: str, file: ConnectorFile) -> Telegram:
        """Return a client with the bot's token."""
        return Telegram(self.lend(connector_id, file.token or ""), api_base=file.api_base or telegram.API)

    def slot(self, file: ConnectorFile, name: str) -> str:
        """Return the slot that a file names: `token`, `app_token` or `verify`. Raises ConnectorNotReady."""
        value: Any = file.verify.secret if name == "verify" and file.verify is not None else getattr(file, name, None)
        if not isinstance(value, str):
            raise ConnectorNotReady(f"The connector's file names no slot for {name}.")
        return value
