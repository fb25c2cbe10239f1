"""Secrets as files: `secrets/<slot>.age`, readable with the ordinary `age` tool, and the identity that opens them.

The only module that imports pyrage. The identity lies outside of the state root, so that a pushed backup exposes
nothing; recipients are age or ssh keys, one a line, in `secrets/recipients.txt`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.errors import FileRefused, IdentityMissing, Invalid, SecretUnreadable
from kheish.store import door, files

FOLDER = "secrets"
RECIPIENTS = f"{FOLDER}/recipients.txt"
#: bytes of a value; a line of the log must hold nothing of it, and git keeps every version
LIMIT = 8 * 1024
#: bytes of any file of keys or secrets: some hundred recipients, or an age file of the longest value
MOST = 256 * 1024
_REVEALS = ".git/kheish/reveals"
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_HEAD = """\
# Who can read the secrets of this state root: an age or ssh public key a line. After a change: kheish secrets rekey
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """The daemon's own keys, as pyrage has them, and where they came from."""

    path: Path
    keys: tuple[Any, ...]


def identity_path(environ: Mapping[str, str]) -> Path:
    """`KHEISH_AGE_IDENTITY_FILE`, else `kheish/identity.txt` in the user's config folder."""
    named = environ.get("KHEISH_AGE_IDENTITY_FILE")
    if named:
        return Path(named).expanduser()
    return config_folder(environ) / "identity.txt"


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where keys of this user's daemons are: `$XDG_CONFIG_HOME/kheish`, else `~/.config/kheish`."""
    base = environ.get("XDG_CONFIG_HOME")
    home = Path(environ.get("HOME") or Path.home())
    return (Path(base) if base else home / ".config") / "kheish"


def read_identity(path: Path) -> Identity:
    """The identity file: age keys a line each (`#` begins a comment), or one ssh private key.

    Raises IdentityMissing, also where others may read it.
    """
    from pyrage import IdentityError, ssh, x25519

    try:
        raw, mode = door.read_own(path, most=MOST)
    except OSError as error:
        raise IdentityMissing(f"The age identity {path} cannot be read ({error.strerror}).") from error
    except FileRefused as refused:
        raise IdentityMissing(f"The age identity {path} {refused.reason}.") from refused
    if mode & 0o077:
        raise IdentityMissing(f"The age identity {path} can be read by others: chmod 600 {path}")
    try:
        if b"PRIVATE KEY-----" in raw:
            return Identity(path, (ssh.Identity.from_buffer(raw),))
        lines = [line.strip() for line in raw.decode().splitlines()]
        keys = tuple(x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#"))
    except (IdentityError, UnicodeDecodeError, ValueError) as error:
        raise IdentityMissing(f"The age identity {path} holds no usable key: {error}.") from error
    if not keys:
        raise IdentityMissing(f"The age identity {path} is empty.")
    return Identity(path, keys)


def make_identity(root: Path, path: Path) -> Identity:
    """A new identity of mode 0600, whose public key becomes a recipient of this root. Blocks on disk."""
    from pyrage import x25519

    key = x25519.Identity.generate()
    public = str(key.to_public())
    text = f"# The identity of a Kheish daemon. Whoever has it can read its secrets.\n# public key: {public}\n{key}\n"
    files.atomic_write(path, text.encode(), fsync=True, mode=0o600)
    there = files.inside(root, RECIPIENTS)
    try:
        before = _recipients_text(root)
    except FileNotFoundError:
        before = _HEAD
    files.atomic_write(there, f"{before.rstrip()}\n{public}\n".encode(), fsync=True)
    return Identity(path, (key,))


def recipients(root: Path) -> tuple[str, ...]:
    """The public keys of `secrets/recipients.txt`; none where there is no such file. Raises Invalid for a bad line."""
    try:
        text = _recipients_text(root)
    except FileNotFoundError:
        return ()
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        key = line.strip()
        if key and not key.startswith("#"):
            _recipient(key, number)
            found.append(key)
    return tuple(dict.fromkeys(found))


def _recipients_text(root: Path) -> str:
    """Return what `secrets/recipients.txt` says. Raises FileNotFoundError, Invalid."""
    try:
        return door.read(root, RECIPIENTS, most=MOST).decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{RECIPIENTS} is not UTF-8.") from error


def _recipient(key: str, number: int) -> Any:
    from pyrage import RecipientError, ssh, x25519

    try:
        return (ssh if key.startswith("ssh-") else x25519).Recipient.from_str(key)
    except RecipientError as error:
        raise Invalid(f"{RECIPIENTS}:{number}: this is no age or ssh public key: {error}.") from error


def encrypt(value: str, keys: Sequence[str]) -> bytes:
    """The armored age file of a value. Raises Invalid where it is empty or too long, or nobody could read it."""
    from pyrage import encrypt as sealed

    raw = value.encode()
    if not raw:
        raise Invalid("The secret's value is empty.")
    if len(raw) > LIMIT:
        raise Invalid(f"The secret has {len(raw)} bytes; at most {LIMIT}.")
    if not keys:
        raise Invalid(f"{RECIPIENTS} names nobody who could read the secret.")
    armored: bytes = sealed(raw, [_recipient(key, number) for number, key in enumerate(keys, 1)], armored=True)
    return armored.rstrip(b"\n") + b"\n"


def decrypt(raw: bytes, identity: Identity) -> str:
    """The value of an age file, armored or not. Raises SecretUnreadable."""
    from pyrage import DecryptError
    from pyrage import decrypt as opened

    try:
        return str(opened(raw, list(identity.keys)).decode())
    except DecryptError as error:
        who = "not for the daemon's identity" if raw.startswith((_ARMOR, b"age-encryption.org/")) else "no age file"
        raise SecretUnreadable(f"It is {who}: {error}.") from error
    except UnicodeDecodeError as error:
        raise SecretUnreadable("It holds no text.") from error


def path_of(slot: str) -> str:
    """The file of a slot's value, relative to the root."""
    return f"{FOLDER}/{slot}.age"


def card_of(slot: str) -> str:
    """The file that tells of a slot, without its value."""
    return f"{FOLDER}/{slot}.yaml"


# --- reveals ----------------------------------------------------------------------------------------------------------


def note_reveal(root: Path, slot: str) -> None:
    """Note that a value was shown while no daemon ran; the next one takes it into the audit. Raises OSError."""
    path = root / _REVEALS
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{ids.now()} {slot}\n")
        file.flush()
        os.fsync(file.fileno())


def noted_reveals(root: Path) -> list[tuple[str, str]]:
    """When which slot was shown while no daemon ran."""
    try:
        lines = (root / _REVEALS).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(at, slot) for at, _, slot in (line.partition(" ") for line in lines) if slot]


def forget_reveals(root: Path) -> None:
    """The audit has what was noted."""
    (root / _REVEALS).unlink(missing_ok=True)


def paths(root: Path) -> set[str]:
    """Return the paths of all files that a slot could be in, whatever stands there. Blocks on disk."""
    return {path for path, _ in door.walk(root, FOLDER) if path.endswith(".age") and path.count("/") == 1}


def read_all(root: Path) -> dict[str, bytes]:
    """Return every slot with its encrypted file; what is no plain file is passed over. Blocks on disk."""
    found = {}
    for path in sorted(paths(root)):
        with suppress(FileRefused, OSError):
            found[path.removeprefix(f"{FOLDER}/").removesuffix(".age")] = door.read(root, path, most=MOST)
    return found
