"""The listening socket: plain HTTP on this machine, TLS, or plain HTTP behind a TLS proxy."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from kheish.errors import AddressInUse, Invalid

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104  # reported as loopback; nothing is bound by it


@dataclass(frozen=True, slots=True)
class Serving:
    """The TLS settings: a certificate (chain) and its key as PEM files, or a proxy in front that has them."""

    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False

    @property
    def secure(self) -> bool:
        """Return whether browsers reach it by HTTPS only."""
        return self.certificate is not None or self.behind_proxy

    def check(self, host: str) -> None:
        """Raise Invalid if tokens would go over a network in the clear, or the files cannot be used."""
        if (self.certificate is None) != (self.key is None):
            raise Invalid(
                "--tls-cert and --tls-key go together: the certificate (with its chain), and its private key."
            )
        if self.certificate is not None and self.key is not None:
            _try(self.certificate, self.key)
        elif not self.behind_proxy and not _is_loopback(host):
            raise Invalid(
                f"Plain HTTP on {host} is refused: an eavesdropper on the network could read the tokens. Pass "
                "--tls-cert FILE and --tls-key FILE; or --behind-proxy, if a proxy terminates TLS and nothing else "
                "can reach this address; or listen on 127.0.0.1."
            )

    def url(self, host: str, port: int) -> str:
        """Return the address for callers on this machine."""
        host = _EVERYWHERE.get(host, host)
        return f"{'https' if self.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _try(certificate: Path, key: Path) -> None:
    try:
        # A password would be asked for on a terminal that a daemon has not.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:  # ssl.SSLError is one
        raise Invalid(
            f"The certificate {certificate} with the key {key} cannot be used: {error.strerror or error}. Both are PEM "
            "files, and the key has no password."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def allow_many_files(wanted: int = 16_384) -> None:
    """Raise this process's limit of open files as far as it may: each event stream is one, and 1024 are usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Return the listening socket. Raise AddressInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise AddressInUse(
                f"The address {host}:{port} cannot be used ({error.strerror}). Is another daemon running there? Choose "
                "another with --bind HOST:PORT; port 0 selects a free one."
            ) from error
        listening.listen(2048)
        yield listening
