"""Discovery of a daemon: the state root, its address and its token (`--url`, the environment, `.kheish/`)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kheish.errors import Invalid, Unreachable

if TYPE_CHECKING:
    import ssl

_LOOPBACK = re.compile(r"localhost|::1|127(\.[0-9]{1,3}){3}")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a daemon, with the token for requests; `root` is None for a daemon on another machine.

    `certificate` is the file of the certificate that this machine's daemon serves. The client accepts exactly this
    certificate, regardless of its issuer and names.
    """

    url: str
    token: str | None
    root: Path | None
    certificate: str | None = None

    def trust(self) -> ssl.SSLContext | None:
        """Return the TLS context for HTTPS: it trusts the certificate, else KHEISH_CA_FILE, else the system's CAs.

        None for plain HTTP. Raises Invalid.
        """
        if not self.url.startswith("https://"):
            return None
        import ssl

        file = self.certificate or os.environ.get("KHEISH_CA_FILE") or None
        try:
            context = ssl.create_default_context(cafile=file)
        except OSError as error:  # includes ssl.SSLError
            what = "The daemon's certificate" if self.certificate else "KHEISH_CA_FILE"
            raise Invalid(f"{what} {file} cannot be read: {error.strerror or error}.") from error
        if self.certificate:
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def default_root() -> Path:
    """Return the state root to use if nothing names another."""
    return Path.home() / "kheish-state"


def state_root(chosen: str | Path | None = None) -> Path:
    """Return `chosen`, else KHEISH_STATE_ROOT, else the nearest parent folder with kheish.yaml, else ~/kheish-state."""
    named = chosen or os.environ.get("KHEISH_STATE_ROOT")
    if named:
        return Path(named).expanduser().absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "kheish.yaml").is_file():
            return folder
    return default_root()


def find(url: str | None = None, token: str | None = None, root: str | Path | None = None) -> Address:
    """Return the daemon's address: from the arguments, else the environment, else the state root's `.kheish/`.

    Raises Unreachable if no daemon has recorded its address.
    """
    # A state root that was named explicitly beats a general KHEISH_URL.
    named = url or (None if root else os.environ.get("KHEISH_URL"))
    if named:
        named = _checked(named)
        local = state_root(root) if _is_loopback(named) else None
        # The local admin token is never sent to another machine.
        return Address(named, token or _environment_token() or _local_token(local), None)
    where = state_root(root)
    noted = daemon_note(where)
    address = noted.get("url") if noted else None
    if not isinstance(address, str):
        raise unreachable(where)
    certificate = noted.get("certificate") if noted else None
    return Address(
        address.rstrip("/"),
        token or _environment_token() or _local_token(where),
        where,
        certificate if isinstance(certificate, str) else None,
    )


def daemon_note(root: Path) -> dict[str, object] | None:
    """Return `.kheish/daemon.json` (`pid`, `url`, `started_at`, `version`), or None if it is missing or unreadable."""
    try:
        noted = json.loads((root / ".kheish" / "daemon.json").read_bytes())
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def unreachable(root: Path) -> Unreachable:
    """Return the error for a state root without a daemon, with the command that would help."""
    if not (root / "kheish.yaml").is_file() and not (root / "format.yaml").is_file():
        return Unreachable(
            f"{root} is not a state root; create one with `kheish init {root}`, or pass another with --state-root."
        )
    return Unreachable(f"No daemon serves {root}; start one with `kheish serve --state-root {root}`.")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"{url!r} is not an address of a daemon; write it as http://HOST:PORT.")
    return url.rstrip("/")


def _is_loopback(url: str) -> bool:
    return _LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


def _environment_token() -> str | None:
    if token := os.environ.get("KHEISH_TOKEN"):
        return token.strip()
    if file := os.environ.get("KHEISH_TOKEN_FILE"):
        try:
            return Path(file).expanduser().read_text().strip()
        except OSError as error:
            raise Invalid(f"KHEISH_TOKEN_FILE names {file}, which cannot be read: {error.strerror}.") from error
    return None


def _local_token(root: Path | None) -> str | None:
    if root is None:
        return None
    try:
        return (root / ".kheish" / "token").read_text().strip() or None
    except OSError:
        return None
