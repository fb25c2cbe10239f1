"""What the API can do about secrets and access, as `operations.py` has it of everything else."""

from __future__ import annotations

from collections.abc import Iterator

from kheish.api import access, audit, models, secrets, tokens
from kheish.api.http import login, media, paging
from kheish.api.http.operation import Operation, get, post


def operations() -> Iterator[Operation]:
    """Every endpoint of `/v1/secrets` and `/v1/auth`."""
    yield from _login()
    yield from _tokens()
    yield from _secrets()
    yield from _access()
    yield from _audit()


def _login() -> Iterator[Operation]:
    yield get(
        "/login",
        "login_page",
        "The page where a link logs a browser in; it uses nothing up.",
        None,
        *login.PAGE,
        media="text/html",
        open=True,
        problems=(400, 401, 429),
    )
    yield Operation(
        method="POST",
        path="/login",
        name="log_in",
        about="Log this browser in: a cookie, and the way on.",
        body=login.Code,
        takes=media.FORM,
        good=(303,),
        open=True,
        problems=(400, 401, 413, 415, 429),
    )
    yield Operation(
        method="POST",
        path="/v1/auth/login-links",
        name="make_login_link",
        about="A link that logs one browser in as whoever asks, once, within a minute.",
        answer=login.LoginLink,
        good=(201,),
    )
    yield get("/v1/auth/login", "who_am_i", "Who asks, and how; of a login, its CSRF word.", login.WhoAmI)
    yield Operation(
        method="DELETE",
        path="/v1/auth/login",
        name="log_out",
        about="Log this browser out; with a token, all browsers that it logged in.",
        good=(204,),
    )


def _tokens() -> Iterator[Operation]:
    yield get("/v1/tokens", "list_tokens", "Tokens by name, without their text.", tokens.Token, *paging.PAGE, page=True)
    yield post(
        "/v1/tokens",
        "create_token",
        "Make a token; its text is in this answer only.",
        tokens.CreateToken,
        tokens.NewToken,
        good=(201,),
        problems=(409,),
    )
    yield Operation(
        method="DELETE",
        path="/v1/tokens/{name}",
        name="revoke_token",
        about="Let a token count no more.",
        good=(204,),
        problems=(404, 409),
    )


def _secrets() -> Iterator[Operation]:
    one = "/v1/secrets/{slot}"
    yield get("/v1/secrets", "list_secrets", "Slots by name, without values.", secrets.Secret, *paging.PAGE, page=True)
    yield get(one, "get_secret", "One slot, without its value.", secrets.Secret, problems=(404,))
    yield Operation(
        method="PUT",
        path=one,
        name="put_secret",
        about="Set (201) or rotate (200) a slot.",
        body=secrets.PutSecret,
        answer=secrets.Secret,
        good=(200, 201),
        problems=(409,),
    )
    yield Operation(
        method="DELETE", path=one, name="delete_secret", about="Remove a slot.", good=(204,), problems=(404, 409)
    )
    yield Operation(
        method="POST",
        path=f"{one}/revealed",
        name="note_revealed_secret",
        about="Note in the audit that a value was shown where the identity is (`kheish secrets reveal`).",
        answer=secrets.Secret,
        problems=(404,),
    )
    yield Operation(
        method="POST",
        path="/v1/secrets/rekey",
        name="rekey_secrets",
        about="Encrypt all slots anew for secrets/recipients.txt.",
        answer=secrets.Secret,
        page=True,
        problems=(409,),
    )


def _audit() -> Iterator[Operation]:
    yield get(
        "/v1/audit", "list_audit", "Entries of the audit, oldest first.", audit.AuditEntry, *audit.LIST, page=True
    )
    yield post(
        "/v1/audit/verify",
        "verify_audit",
        "Follow the chain, and check the signature over its head.",
        audit.VerifyAudit,
        audit.AuditReport,
    )


def _access() -> Iterator[Operation]:
    subject = "/v1/auth/subjects/{subject}"
    yield get(
        "/v1/auth/accounts", "list_accounts", "Provider accounts, and what they are for.", access.Account, page=True
    )
    yield get("/v1/auth/grants", "list_grants", "Which slots may be used for what.", access.Grant, page=True)
    yield get("/v1/auth/leases", "list_leases", "What is lent now, oldest first.", access.Lease, page=True)
    yield get(subject, "get_subject", "What a subject holds now.", access.Subject)
    yield post(f"{subject}/revoke", "revoke_subject", "Lend it nothing more.", models.Because, access.Revoked)
    yield post(
        "/v1/auth/leases/{lease}/revoke",
        "revoke_lease",
        "End one lease, and what is in flight with it.",
        models.Because,
        access.Revoked,
        problems=(404,),
    )
    yield post(
        "/v1/auth/revoke",
        "revoke",
        "End leases and what is in flight with them, and lend no more.",
        access.Revoke,
        access.Revoked,
        problems=(404,),
    )
    yield post(
        "/v1/auth/restore",
        "restore_access",
        "Take a revocation back.",
        access.Restore,
        access.Revoked,
        problems=(404,),
    )
