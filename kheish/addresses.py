"""The check for public addresses: a table of non-public blocks, forms that stand for other addresses, and this
machine's own.

Sources: the IANA special-purpose address registries (RFC 6890, as of 2026), RFC 4291 and 3879 (site-local), RFC 6052
and 8215 (NAT64), RFC 2765 (IPv4-translated), RFC 3056 (6to4), RFC 5214 (ISATAP), and the clouds' own documentation.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA = "where clouds keep their metadata"
_RESERVED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(block), word)
    for block, word in (
        ("0.0.0.0/8", "this network (RFC 791)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared by a provider's customers (RFC 6598)"),
        ("127.0.0.0/8", "this machine (RFC 1122)"),
        ("168.63.129.16/32", f"Azure's platform address, {_METADATA}"),
        ("169.254.0.0/16", f"link-local (RFC 3927), {_METADATA}"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", f"reserved for protocols (RFC 6890), {_METADATA}"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("192.88.99.0/24", "a 6to4 relay (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("240.0.0.0/4", "reserved (RFC 1112), or broadcast"),
        ("::/128", "unspecified (RFC 4291)"),
        ("::1/128", "this machine (RFC 4291)"),
        ("64:ff9b:1::/48", "translated within a network (RFC 8215)"),
        ("2001::/23", "reserved for protocols (RFC 2928)"),
        ("2001:db8::/32", "for documentation (RFC 3849)"),
        ("3fff::/20", "for documentation (RFC 9637)"),
        ("fc00::/7", f"private (RFC 4193), {_METADATA}"),
        ("fe80::/10", "link-local (RFC 4291)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291)"),
    )
)
#: the only block of IPv6 that is assigned for public use (RFC 4291, 2.4)
_GLOBAL = IPv6Network("2000::/3")
#: blocks whose last 32 bits are an IPv4 address: compatible, mapped, translated, NAT64
_LAST_32 = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_SIX_TO_FOUR = IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)


def has_host(allow: Sequence[str], host: str) -> bool:
    """Return whether a list of hosts (with `*`) and networks has this host by its name."""
    return any(fnmatchcase(host, entry.lower().strip("[]")) for entry in allow if _network(entry) is None)


def refusal(address: Address, allow: Sequence[str] = ()) -> str | None:
    """Return the reason why an address is refused, in a few words; None if it is public, or in a network of a list."""
    networks = [network for entry in allow if (network := _network(entry)) is not None]
    if any(form in network for form in forms(address) for network in networks):
        return None
    return reserved(address) or ("this machine's own" if is_own(address) else None)


def literal(host: str) -> Address | None:
    """Return the address that a host is written as, also as `0x7f.1` or `2130706433`; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None


def reserved(address: Address) -> str | None:
    """Return the reason why an address is not public, in a few words; None if it is public."""
    for network, word in _RESERVED:
        if address in network:
            return word
    inner = list(_inner(address))
    for one in inner:
        if (reason := reserved(one)) is not None:
            return f"another form of {one}: {reason}"
    if isinstance(address, IPv6Address) and not inner and address not in _GLOBAL:
        return "not given out for public use (RFC 4291)"
    return None


def forms(address: Address) -> Iterator[Address]:
    """Yield the address, and the IPv4 addresses that it stands for."""
    yield address
    yield from _inner(address)


def is_own(address: Address) -> bool:
    """Return whether one of this machine's interfaces has the address. Nothing is sent.

    The kernel answers: the route to an own address begins at that address. (Binding to it would succeed for every
    address if `ip_nonlocal_bind` is set.)
    """
    for one in forms(address):
        family = socket.AF_INET6 if one.version == 6 else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((str(one), 9))
                if probe.getsockname()[0] == str(one):
                    return True
        except OSError:  # no route, or no such family
            continue
    return False


def _inner(address: Address) -> Iterator[IPv4Address]:
    if not isinstance(address, IPv6Address):
        return
    value = int(address)
    if any(address in network for network in _LAST_32) or (value >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(value & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        yield IPv4Address((value >> 80) & 0xFFFFFFFF)
