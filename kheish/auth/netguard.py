"""The network guard: the addresses that an untrusted URL may lead to, and a request through the guard.

Every URL that an agent, a hook or a webhook can choose goes through `send`. A host is resolved once, all of its
addresses are checked, and the connection is made to a checked address (so rebinding between check and use has no
effect). Forms such as `0x7f.1` or `2130706433` need no parser of ours: the guard checks the addresses that the resolver
returns.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote, urljoin, urlsplit

from kheish.addresses import has_host, refusal as refusal
from kheish.auth import exchange, outgoing
from kheish.errors import AddressNotAllowed, FetchFailed, Invalid, NotConnected
from kheish.settings import has_odd_characters

#: host and port → addresses as text, as `getaddrinfo` returns them
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}
_ACCEPTED = "gzip, identity"
#: characters of the address of a redirect
_MOST_LOCATION = 8000
_GZIP = 31  # zlib's window for a gzip header
_MEMBER = b"\x1f"  # the first byte of a member of gzip


@dataclass(frozen=True, slots=True)
class Target:
    """A URL whose host was resolved and checked; `address` is the address to connect to."""

    url: str
    scheme: str
    host: str
    port: int
    address: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """The origin, which a redirect must not leave."""
        return self.scheme, self.host, self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response. `url` is its final URL; `leads_to` is a redirect to another origin, or of a request with a body,
    which is not followed. `body` is cut at the limit; then `is_cut` is set."""

    url: str
    status: int
    media: str
    body: bytes
    is_cut: bool = False
    leads_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers by their names in lower case."""


async def lookup(host: str, port: int) -> Sequence[str]:
    """Resolve a name with the system's resolver, in a thread."""
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in rows))


async def check(url: str, *, allow: Sequence[str] = (), resolve: Resolver = lookup) -> Target:
    """Resolve and check a URL. `allow` (`network.allow`) lists hosts, with `*`, and networks that are allowed although
    private.

    Raises Invalid for a text that is not an http(s) URL, AddressNotAllowed if any of the host's addresses is not
    public, NotConnected if the host has none.
    """
    scheme, host, port = _parts(url)
    try:
        resolved = await resolve(host, port)
    except OSError as error:
        raise NotConnected(f"The host {host!r} cannot be found: {error.strerror or error}.") from error
    if not resolved:
        raise NotConnected(f"The host {host!r} has no address.")
    if not has_host(allow, host):
        for address in resolved:
            reason = refusal(ip_address(address), allow)
            if reason is not None:
                raise AddressNotAllowed(
                    f"{host} leads to {address}, which is {reason}; agents may not connect to it. To allow it, add "
                    f"{host} (the host, without a port) or its network to network.allow in kheish.yaml."
                )
    return Target(url, scheme, host, port, resolved[0])


def _parts(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port. Raises Invalid for a URL that two readers may parse differently."""
    if has_odd_characters(url):
        raise Invalid("The URL contains spaces, control characters or backslashes; quote them (%20).")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if ":" in host else host.encode("idna").decode().lower()
    except ValueError as error:  # UnicodeError is one
        raise Invalid(f"{url!r} is not a URL: {error}.") from error
    if parts.scheme not in _PORTS or not host:
        raise Invalid(f"{url!r} is not an http or https URL.")
    if "@" in parts.netloc or "%" in host:
        raise Invalid("A URL must not contain a user name, a password or a zone.")
    return parts.scheme, host, port if port is not None else _PORTS[parts.scheme]


async def send(
    method: str,
    url: str,
    *,
    allow: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    limit: int = 5 * 1024 * 1024,
    timeout: float = 30.0,
    resolve: Resolver = lookup,
) -> Answer:
    """Send one request through the guard. Redirects within the origin (or from http to https of the same host) are
    followed and checked; other redirects are returned in `leads_to`, and so is any redirect of a request with a body.
    `limit`: bytes of the body; `timeout`: seconds for the whole request.

    Raises Invalid, AddressNotAllowed, NotConnected if nothing was sent, FetchFailed otherwise.
    """
    await outgoing.load()
    onwards: str | None = None
    try:
        async with asyncio.timeout(timeout):
            target = await check(url, allow=allow, resolve=resolve)
            for _ in range(REDIRECTS):
                async with exchange.ask(_request(method, target, headers or {}, content, timeout)) as response:
                    onwards = _onwards(response, target.url)
                    if onwards is None:
                        return await _read(response, target.url, limit)
                there = await check(onwards, allow=allow, resolve=resolve) if content is None else None
                if there is None or not _is_same_site(target, there):
                    return Answer(url=target.url, status=response.status, media="", body=b"", leads_to=onwards)
                target = there
    except (Invalid, NotConnected) as error:
        if onwards is None:
            raise
        raise FetchFailed(f"{url} redirects to an address that cannot be used: {error.detail}") from error
    except TimeoutError as error:
        raise FetchFailed(f"{url} did not answer completely within {timeout:g} s.") from error
    except zlib.error as error:
        raise FetchFailed(f"{url} could not be fetched: {error}.") from error
    raise FetchFailed(f"{url} redirects more than {REDIRECTS} times.")


def _request(
    method: str, target: Target, headers: Mapping[str, str], content: bytes | None, timeout: float
) -> exchange.Request:
    """Return the request to the address that was checked; the certificate must be the host's."""
    parts = urlsplit(target.url)
    shown = f"[{target.host}]" if ":" in target.host else target.host
    host = shown if target.port == _PORTS[target.scheme] else f"{shown}:{target.port}"
    own = {"Host": host, "Accept-Encoding": _ACCEPTED, "Connection": "close"}
    return exchange.Request(
        method=method,
        url=target.url,
        address=target.address,
        port=target.port,
        host=target.host,
        is_secure=target.scheme == "https",
        target=f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}",
        headers={"Accept": "*/*", "User-Agent": "kheish", **headers, **own},
        content=content,
        # Less than the time of the whole request: a time-out in the meantime leaves open whether it arrived.
        connect_seconds=min(_CONNECT_SECONDS, timeout / 2),
    )


def _onwards(response: exchange.Response, url: str) -> str | None:
    """Return the address of a redirect, with odd characters quoted, as browsers read it; None for other answers."""
    if response.status not in (301, 302, 303, 307, 308) or "location" not in response.headers:
        return None
    location = quote(response.headers["location"].strip()[:_MOST_LOCATION], safe=exchange.PRINTABLE)
    try:
        return urljoin(url, location)
    except ValueError:  # it is no address: the check refuses it
        return location


def _is_same_site(one: Target, other: Target) -> bool:
    return one.origin == other.origin or (
        one.host == other.host and (one.scheme, one.port, other.scheme, other.port) == ("http", 80, "https", 443)
    )


async def _read(response: exchange.Response, url: str, limit: int) -> Answer:
    """Return the body, decompressed here so that a small response cannot grow large before it is measured."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("gzip", "x-gzip", "identity", ""):
        raise FetchFailed(f"{url} has the content encoding {coding!r}, which was not requested.")
    unpack = _Gunzip() if "gzip" in coding else None
    body = bytearray()
    async for raw in response.chunks():
        room = limit + 1 - len(body)
        body += unpack.take(raw, room) if unpack else raw[:room]
        if len(body) > limit:
            break
    else:
        if unpack is not None and not unpack.is_whole:
            raise FetchFailed(f"{url} could not be fetched: its compressed answer ends too early.")
    return Answer(
        url=url,
        status=response.status,
        media=response.headers.get("content-type", ""),
        body=bytes(body[:limit]),
        is_cut=len(body) > limit,
        headers=response.headers,
    )


class _Gunzip:
    """An unpacker of gzip, whose content may consist of several members. Whatever else follows a member is ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=_GZIP)
        self._has_begun = False

    @property
    def is_whole(self) -> bool:
        """Whether the content is complete; an answer without a body is."""
        return self._member.eof or not self._has_begun

    def take(self, data: bytes, room: int) -> bytes:
        """Return the unpacked content of some bytes, at most `room` bytes of it. Raises zlib.error."""
        self._has_begun = self._has_begun or bool(data)
        unpacked = bytearray()
        while data and len(unpacked) < room:
            if self._member.eof:
                if not data.startswith(_MEMBER):
                    break
                self._member = zlib.decompressobj(wbits=_GZIP)
            unpacked += self._member.decompress(data, room - len(unpacked))
            data = self._member.unused_data
        return bytes(unpacked)
