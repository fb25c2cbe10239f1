"""Verification of requests on their raw bytes, in constant time, before anything of them is parsed; and the signing of
samples by the same schemes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import NoReturn

from kheish.auth import signing
from kheish.domain.connectors.definition import Verify
from kheish.errors import ConnectorNotReady, SignatureInvalid

#: seconds by which a signed time may differ from now
WINDOW = 300
_TIME = re.compile(r"[0-9]{1,12}\Z")
#: signatures in one header: senders list the old and the new one while they rotate
_MOST_SIGNATURES = 20
_WHSEC = "whsec_"
_PREFIXES = ("sha256=", "v1=", "v0=")

Headers = Mapping[str, str]


def check(verify: Verify, secret: str, headers: Headers, body: bytes, now: float) -> tuple[str, ...]:
    """Check the signature of a request for http; `headers` have lower-case names. Return the idempotency keys that the
    scheme has: that of the event comes first. Raises SignatureInvalid."""
    match verify.scheme:
        case "hmac":
            return (_hmac(verify, secret, headers, body, now),)
        case "standard_webhooks":
            return (_standard(secret, headers, body, now),)
        case "github":
            return _github(secret, headers, body)
        case _:
            if not is_bearer(secret, headers):
                _refuse("The header Authorization has no valid bearer token.")
            return ()


def is_bearer(secret: str, headers: Headers) -> bool:
    """Return whether a request has a secret as its bearer token."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and _is_same(token.strip(), secret)


def check_slack(secret: str, headers: Headers, body: bytes, now: float) -> None:
    """Check a request of Slack. Raises SignatureInvalid."""
    time = _time(headers, "x-slack-request-timestamp", now)
    expected = "v0=" + _mac(secret.encode(), f"v0:{time}:".encode() + body).hexdigest()
    if not _is_same(headers.get("x-slack-signature", ""), expected):
        _refuse("The signature in X-Slack-Signature does not fit the body.")


def check_telegram(secret: str, headers: Headers) -> None:
    """Check a request of Telegram. Raises SignatureInvalid."""
    if not _is_same(headers.get("x-telegram-bot-api-secret-token", ""), secret):
        _refuse("The header X-Telegram-Bot-Api-Secret-Token is missing or wrong.")


def _hmac(verify: Verify, secret: str, headers: Headers, body: bytes, now: float) -> str:
    time = _time(headers, verify.timestamp_header.lower(), now)
    mac = _mac(secret.encode(), f"{time}.".encode() + body)
    given = headers.get(verify.header.lower(), "").strip()
    for prefix in _PREFIXES:
        given = given.removeprefix(prefix)
    is_hex = _is_same(given.lower(), mac.hexdigest())
    if not (_is_same(given, base64.b64encode(mac.digest()).decode()) or is_hex):
        _refuse(f"The signature in {verify.header} does not fit {verify.timestamp_header} and the body.")
    return f"hmac:{mac.hexdigest()}"  # the same signature is a replay


def _standard(secret: str, headers: Headers, body: bytes, now: float) -> str:
    prefix = "webhook" if "webhook-id" in headers else "svix"
    id, time = headers.get(f"{prefix}-id", ""), _time(headers, f"{prefix}-timestamp", now)
    if not id:
        _refuse("The header webhook-id is missing.")
    expected = _standard_signatures(secret, id, int(time), body)
    given = headers.get(f"{prefix}-signature", "").split(" ")[:_MOST_SIGNATURES]
    if not any(_is_same(one, other) for one in given for other in expected):
        _refuse(f"No signature in {prefix}-signature fits the body.")
    return id


def _github(secret: str, headers: Headers, body: bytes) -> tuple[str, ...]:
    """Return the keys of a delivery. Its id is not signed, so a body with another id, or without one, is a replay."""
    expected = "sha256=" + _mac(secret.encode(), body).hexdigest()
    if not _is_same(headers.get("x-hub-signature-256", ""), expected):
        _refuse("The signature in X-Hub-Signature-256 does not fit the body.")
    delivery, replay = headers.get("x-github-delivery"), f"github:{expected}"
    return (delivery, replay) if delivery else (replay,)


def _time(headers: Headers, name: str, now: float) -> str:
    """Return the signed time as it is written. Raises SignatureInvalid."""
    text = headers.get(name, "").strip()
    if not _TIME.match(text):
        _refuse(f"The header {name} is missing, or is no time in seconds.")
    if abs(now - int(text)) > WINDOW:
        _refuse(f"The time in {name} differs from now by more than {WINDOW} s.")
    return text


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _mac(key: bytes, message: bytes) -> hmac.HMAC:
    return hmac.new(key, message, hashlib.sha256)


def _refuse(why: str) -> NoReturn:
    raise SignatureInvalid(why)


# --- signing ----------------------------------------------------------------------------------------------------------


def _standard_signatures(secret: str, id: str, time: int, body: bytes) -> list[str]:
    """Return the signatures that fit. Without `whsec_`, senders take a secret as text or as Base64. Raises
    ConnectorNotReady for one that is no Base64 after `whsec_`."""
    try:
        signatures = [signing.sign(secret, id, time, body)["webhook-signature"]]
    except ValueError as error:
        raise ConnectorNotReady(f"The connector's slot cannot be used: {error}.") from error
    if not secret.startswith(_WHSEC):
        with contextlib.suppress(ValueError):
            signatures.append(signing.sign(f"{_WHSEC}{secret}", id, time, body)["webhook-signature"])
    return signatures


def signed(verify: Verify, secret: str, id: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers of a signed sample."""
    time = str(int(now))
    match verify.scheme:
        case "hmac":
            mac = _mac(secret.encode(), f"{time}.".encode() + body).hexdigest()
            return {verify.timestamp_header.lower(): time, verify.header.lower(): f"sha256={mac}"}
        case "standard_webhooks":
            return signing.sign(secret, id, int(now), body)
        case "github":
            mac = _mac(secret.encode(), body).hexdigest()
            return {"x-hub-signature-256": f"sha256={mac}", "x-github-delivery": id, "x-github-event": "test"}
        case _:
            return {"authorization": f"Bearer {secret}", "idempotency-key": id}


def signed_slack(secret: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers of a signed sample of Slack."""
    time = str(int(now))
    mac = _mac(secret.encode(), f"v0:{time}:".encode() + body).hexdigest()
    return {"x-slack-request-timestamp": time, "x-slack-signature": f"v0={mac}"}
