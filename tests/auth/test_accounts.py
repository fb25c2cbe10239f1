"""Accounts of model providers whose issuers answer oddly."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kheish import ids
from kheish.auth.accounts import ProviderAccounts, Wanted
from kheish.auth.stored_account import StoredAccount
from kheish.auth.vault import Slot, Vault
from kheish.errors import Invalid, SecretUnreadable
from tests.support.site import Page, Site, serve

NOW = 1_000_000.0


class Keeping:
    """A keeper of slots in memory alone."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    async def put(self, slot: str, value: str, description: str | None, *, by: str) -> bool:
        made = {"version": 1, "digest": "", "created_at": "", "value_at": "", "updated_by": by}
        self.vault.slots[slot] = Slot(slot=slot, value=value, **made)  # type: ignore[arg-type]
        return True

    async def remove(self, slot: str, *, by: str) -> None:
        del self.vault.slots[slot]


def answering(site: Site, body: Any) -> None:
    site.pages["/token"] = Page(json.dumps(body).encode(), headers={"Content-Type": "application/json"})


async def accounts_at(site: Site) -> tuple[ProviderAccounts, StoredAccount]:
    config = SimpleNamespace(network=SimpleNamespace(allow=("127.0.0.1",)))
    state: Any = SimpleNamespace(clock=lambda: NOW, definitions=SimpleNamespace(config=config))
    vault = Vault()
    accounts = ProviderAccounts(state, vault, Keeping(vault), lambda: "http://127.0.0.1/back")
    stored = StoredAccount(
        account="work", issuer=site.url, client_id="c", authorization_endpoint=f"{site.url}/authorize",
        token_endpoint=f"{site.url}/token", tokens={"access_token": "first", "refresh_token": "again"}, expires_at=NOW,
    )  # fmt: skip
    await Keeping(vault).put(stored.slot, stored.text(), None, by="test")
    return accounts, stored


@pytest.mark.parametrize(
    ("given", "ends"),
    [(3600, 3600), ("3600", 3600), (1.5, 1.5), (-5, 0), (10**400, ids.LONGEST), ("soon", None), (True, None)],
    ids=lambda value: str(value)[:12],
)
async def test_the_end_of_a_token_is_read_as_it_is_meant(given: Any, ends: float | None) -> None:
    with serve({}) as site:
        accounts, _ = await accounts_at(site)
        answering(site, {"access_token": "second", "expires_in": given})
        await accounts.refresh("work", by="test")
    found = accounts.find("work")
    assert found is not None and found.tokens == {"access_token": "second", "refresh_token": "again"}
    assert found.expires_at == (NOW + ends if ends is not None else None)


@pytest.mark.parametrize("token", ["\ud800", "a\nb", "\x1b]0;x", "schl\u00fcssel", "", 5])
async def test_a_text_that_can_be_no_token_leaves_the_account_as_it_is(token: Any) -> None:
    with serve({}) as site:
        accounts, stored = await accounts_at(site)
        answering(site, {"access_token": token, "expires_in": 60})
        with pytest.raises(SecretUnreadable, match="no bearer token"):
            await accounts.refresh("work", by="test")
    assert accounts.find("work") == stored


async def test_a_renewal_brings_no_account_back_that_was_removed_meanwhile() -> None:
    with serve({}) as site:
        accounts, _ = await accounts_at(site)
        answering(site, {"access_token": "second"})
        granted = accounts._granted

        async def removing(account: StoredAccount, grant: Any) -> StoredAccount:
            await accounts.remove("work", by="test")
            return await granted(account, grant)

        accounts._granted = removing  # type: ignore[method-assign]
        with pytest.raises(SecretUnreadable, match="changed meanwhile"):
            await accounts.refresh("work", by="test")
    assert accounts.find("work") is None


async def test_an_address_with_odd_characters_is_never_opened() -> None:
    with serve({}) as site:
        accounts, _ = await accounts_at(site)
        given = Wanted(account="new", issuer=site.url, client_id="c", token_endpoint=f"{site.url}/token")
        for odd in ("ht\ntps://login.example/", "https://login.example/\x1b]0;x", "https://login.example/a b"):
            with pytest.raises(Invalid, match="authorization_endpoint"):
                await accounts.add(replace(given, authorization_endpoint=odd), by="test")
