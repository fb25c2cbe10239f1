"""Requests of whoever looks after a daemon (secrets, access, tokens, audit), as data like those of `calls`."""

from __future__ import annotations

from kheish.client.calls import Call, Query, get, given, send, without_answer
from kheish.client.shapes import Json, Page


def secret_list(query: Query) -> Call[Page[Json]]:
    return get("secrets", query=query)


def secret_get(slot: str) -> Call[Json]:
    return get("secrets", slot)


def secret_put(slot: str, value: str, description: str | None) -> Call[Json]:
    return send("PUT", "secrets", slot, body=given(value=value, description=description))


def secret_rekey() -> Call[Page[Json]]:
    return send("POST", "secrets", "rekey")


def secret_revealed(slot: str) -> Call[Json]:
    return send("POST", "secrets", slot, "revealed")


def secret_remove(slot: str) -> Call[None]:
    return without_answer("DELETE", "secrets", slot)


def accounts() -> Call[Page[Json]]:
    return get("auth", "accounts")


def grants() -> Call[Page[Json]]:
    return get("auth", "grants")


def leases() -> Call[Page[Json]]:
    return get("auth", "leases")


def subject(id: str) -> Call[Json]:
    return get("auth", "subjects", id)


def revoke(what: str, id: str, reason: str | None) -> Call[Json]:
    return send("POST", "auth", "revoke", body=given(what=what, id=id, reason=reason))


def restore(what: str, id: str) -> Call[Json]:
    return send("POST", "auth", "restore", body={"what": what, "id": id})


def token_list(query: Query) -> Call[Page[Json]]:
    return get("tokens", query=query)


def token_create(body: Json) -> Call[Json]:
    return send("POST", "tokens", body=body)


def token_revoke(name: str) -> Call[None]:
    return without_answer("DELETE", "tokens", name)


def trust_list(query: Query) -> Call[Page[Json]]:
    return get("trust", query=query)


def trust_get(name: str) -> Call[Json]:
    return get("trust", name)


def trust_allow(name: str, digest: str) -> Call[Json]:
    return send("POST", "trust", body={"name": name, "digest": digest})


def login_link() -> Call[Json]:
    return send("POST", "auth", "login-links")


def who_am_i() -> Call[Json]:
    return get("auth", "login")


def log_out() -> Call[None]:
    return without_answer("DELETE", "auth", "login")


def audit_list(query: Query) -> Call[Page[Json]]:
    return get("audit", query=query)


def audit_verify(key: str | None) -> Call[Json]:
    return send("POST", "audit", "verify", body=given(key=key))


def usage(query: Query) -> Call[Page[Json]]:
    return get("usage", query=query)


def logs(query: Query) -> Call[Page[Json]]:
    return get("logs", query=query)
