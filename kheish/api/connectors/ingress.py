"""The entrance of outside requests. They have no token of Kheish's, but the proof that their connector asks for."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, post
from kheish.api.services import Services

#: headers that proxies add, and what such headers begin with
_FORWARDING = frozenset({
    "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip", "x-remote-addr", "x-proxyuser-ip",
    "x-original-host", "true-client-ip", "client-ip", "fastly-client-ip", "fly-client-ip", "do-connecting-ip",
    "x-appengine-user-ip", "x-azure-clientip", "x-azure-socketip", "x-envoy-external-address", "x-amzn-trace-id",
    "x-nf-client-connection-ip", "x-vercel-ip", "cdn-loop",
})  # fmt: skip
_FORWARDED = ("forwarded", "x-forwarded", "x-original-forwarded", "cf-", "x-vercel-forwarded", "x-proxy-", "tailscale-")


class IngressReceipt(Answer):
    """The outcome of a request. One that leads to nothing, such as a platform's check, has another answer (200)."""

    receipt_id: str
    run_id: str | None
    flow_id: str | None
    message_id: str | None
    duplicate: bool
    """Whether a request with the same key was there before; the ids are those that it led to."""


class Ingress:
    """The resource of `/v1/ingress/{connector}`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def receive_ingress(self, req: Request, resp: Response, connector: str) -> None:
        """Take in a request when its proof is valid; the answer follows when its receipt is durable (202)."""
        ids.check_slug(connector, "connector")
        body = await media.body(req)
        answer = await self._services.ingress.receive(
            connector,
            req.headers_lower,
            body,
            is_loopback=is_direct(req.remote_addr or "", req.headers_lower),
            address=req.remote_addr or "",
        )
        media.send(resp, dict(answer.body), status=answer.status, n=answer.n)


def is_direct(address: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from this machine itself: from loopback, and by no proxy."""
    if any(name in _FORWARDING or name.startswith(_FORWARDED) for name in headers):
        return False
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


OPERATIONS = bind(
    Ingress,
    post(
        "/v1/ingress/{connector}",
        Ingress.receive_ingress,
        "Send a request to a connector, with the proof that it asks for.",
        None,
        IngressReceipt,
        good=(200, 202),
        problems=(400, 401, 404, 409, 413, 429, 503),
        open=True,
        key=True,
        takes="*/*",
    ),
)
