"""Secrets as files: `secrets/<slot>.age`, readable with the ordinary `age` tool, and the identity that decrypts them.

This module and `store.observations` alone import pyrage. The identity lies outside of the state root, so that a pushed
backup exposes nothing. Recipients are age or ssh keys, one per line, in `secrets/recipients.txt`.
"""

from __future__ import annotations

import os
import threading
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
#: bytes of a value; no log line may contain any of it, and git keeps every version
LIMIT = 8 * 1024
#: bytes of any file of keys or secrets: some hundred recipients, or an age file of the longest value
MOST = 256 * 1024
#: a second identity would replace the first, with which others have encrypted already
_MAKING = threading.Lock()
_REVEALS = ".git/kheish/reveals"
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_HEAD = """\
# Recipients of the secrets of this state root: one age or ssh public key per line. After a change: kheish secrets rekey
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """The daemon's own keys in pyrage's form, and their source."""

    path: Path
    keys: tuple[Any, ...]


def identity_path(environ: Mapping[str, str]) -> Path:
    """Return `KHEISH_AGE_IDENTITY_FILE`, else `kheish/identity.txt` in the user's config folder."""
    named = environ.get("KHEISH_AGE_IDENTITY_FILE")
    if named:
        return Path(named).expanduser()
    return config_folder(environ) / "identity.txt"


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder with the keys of this user's daemons: `$XDG_CONFIG_HOME/kheish`, else `~/.config/kheish`."""
    base = environ.get("XDG_CONFIG_HOME")
    home = Path(environ.get("HOME") or Path.home())
    return (Path(base) if base else home / ".config") / "kheish"


def read_identity(path: Path) -> Identity:
    """Return the identity file's keys: age keys, one per line (`#` begins a comment), or a single ssh private key.

    Raises IdentityMissing, also if other users can read it.
    """
    from pyrage import IdentityError, ssh, x25519

    try:
        raw, mode = door.read_own(path, most=MOST)
    except OSError as error:
        raise IdentityMissing(f"The age identity {path} cannot be read ({error.strerror}).") from error
    except FileRefused as refused:
        raise IdentityMissing(f"The age identity {path} {refused.reason}.") from refused
    if mode & 0o077:
        raise IdentityMissing(f"The age identity {path} can be read by other users: chmod 600 {path}")
    try:
        if b"PRIVATE KEY-----" in raw:
            return Identity(path, (ssh.Identity.from_buffer(raw),))
        lines = [line.strip() for line in raw.decode().splitlines()]
        keys = tuple(x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#"))
    except (IdentityError, UnicodeDecodeError, ValueError) as error:
        raise IdentityMissing(f"The age identity {path} has no usable key: {error}.") from error
    if not keys:
        raise IdentityMissing(f"The age identity {path} is empty.")
    return Identity(path, keys)


def own_recipients(root: Path, path: Path) -> tuple[str, ...]:
    """Return the recipients of this root; if there are none yet, the key of the daemon's identity becomes one. The
    identity at `path` is made if it is missing: other roots of the user share it.

    Safe in any thread. Raises Invalid, IdentityMissing.
    """
    with _MAKING:
        if keys := recipients(root):
            return keys
        identity = read_identity(path) if path.exists() else _make_identity(path)
        publics = [str(key.to_public()) for key in identity.keys if hasattr(key, "to_public")]
        if not publics:
            raise Invalid(f"{RECIPIENTS} has no recipients; add the public key of the ssh key {path} there.")
        try:
            before = _recipients_text(root)
        except FileNotFoundError:
            before = _HEAD
        text = "\n".join([before.rstrip(), *publics, ""])
        files.atomic_write(files.inside(root, RECIPIENTS), text.encode(), fsync=True)
        return recipients(root)


def _make_identity(path: Path) -> Identity:
    """Create an identity of mode 0600. Blocks on disk."""
    from pyrage import x25519

    key = x25519.Identity.generate()
    public = str(key.to_public())
    text = f"# The identity of a Kheish daemon. This file decrypts its secrets.\n# public key: {public}\n{key}\n"
    files.atomic_write(path, text.encode(), fsync=True, mode=0o600)
    return Identity(path, (key,))


def recipients(root: Path) -> tuple[str, ...]:
    """Return the public keys of `secrets/recipients.txt`; none if the file is missing. Raises Invalid for a bad
    line."""
    try:
        text = _recipients_text(root)
    except FileNotFoundError:
        return ()
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        key = line.strip()
        if key and not key.startswith("#"):
            _recipient(key, number)
            keys.append(key)
    return tuple(dict.fromkeys(keys))


def _recipients_text(root: Path) -> str:
    """Return the content of `secrets/recipients.txt`. Raises FileNotFoundError, Invalid."""
    try:
        return door.read(root, RECIPIENTS, most=MOST).decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{RECIPIENTS} is not UTF-8.") from error


def _recipient(key: str, number: int) -> Any:
    from pyrage import RecipientError, ssh, x25519

    try:
        return (ssh if key.startswith("ssh-") else x25519).Recipient.from_str(key)
    except RecipientError as error:
        raise Invalid(f"{RECIPIENTS}:{number}: not an age or ssh public key: {error}.") from error


def encrypt(value: str, keys: Sequence[str]) -> bytes:
    """Return the armored age file of a value. Raises Invalid if it is empty or too long, or if there are no
    recipients."""
    from pyrage import encrypt as sealed

    raw = value.encode()
    if not raw:
        raise Invalid("The secret's value is empty.")
    if len(raw) > LIMIT:
        raise Invalid(f"The secret has {len(raw)} bytes; at most {LIMIT}.")
    if not keys:
        raise Invalid(f"{RECIPIENTS} has no recipients, so the secret could never be read.")
    armored: bytes = sealed(raw, [_recipient(key, number) for number, key in enumerate(keys, 1)], armored=True)
    return armored.rstrip(b"\n") + b"\n"


def decrypt(raw: bytes, identity: Identity) -> str:
    """Return the value of an age file, armored or not. Raises SecretUnreadable."""
    from pyrage import DecryptError, decrypt as opened

    try:
        return str(opened(raw, list(identity.keys)).decode())
    except DecryptError as error:
        is_age = raw.startswith((_ARMOR, b"age-encryption.org/"))
        reason = "not for the daemon's identity" if is_age else "not an age file"
        raise SecretUnreadable(f"It is {reason}: {error}.") from error
    except UnicodeDecodeError as error:
        raise SecretUnreadable("It is not text.") from error


def seal(raw: bytes, keys: Sequence[str]) -> bytes:
    """Return any content as an age file. Raises Invalid without recipients."""
    from pyrage import encrypt as sealed

    if not keys:
        raise Invalid(f"{RECIPIENTS} has no recipients, so that nothing can be encrypted.")
    return bytes(sealed(raw, [_recipient(key, number) for number, key in enumerate(keys, 1)]))


def unseal(raw: bytes, identity: Identity) -> bytes:
    """Return the content of an age file. Raises SecretUnreadable."""
    from pyrage import DecryptError, decrypt as opened

    try:
        return bytes(opened(raw, list(identity.keys)))
    except DecryptError as error:
        raise SecretUnreadable(f"It is not for the daemon's identity: {error}.") from error


def path_of(slot: str) -> str:
    """Return the file of a slot's value, relative to the root."""
    return f"{FOLDER}/{slot}.age"


def card_of(slot: str) -> str:
    """Return the file that describes a slot, without its value."""
    return f"{FOLDER}/{slot}.yaml"


# --- reveals ----------------------------------------------------------------------------------------------------------


def note_reveal(root: Path, slot: str) -> None:
    """Record that a value was shown while no daemon ran; the next daemon adds that to the audit. Raises OSError."""
    path = root / _REVEALS
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{ids.now()} {slot}\n")
        file.flush()
        os.fsync(file.fileno())


def noted_reveals(root: Path) -> list[tuple[str, str]]:
    """Return the times and slots of values shown while no daemon ran."""
    try:
        lines = (root / _REVEALS).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(at, slot) for at, _, slot in (line.partition(" ") for line in lines) if slot]


def forget_reveals(root: Path) -> None:
    """Delete the recorded reveals, which the audit now has."""
    (root / _REVEALS).unlink(missing_ok=True)


def paths(root: Path) -> set[str]:
    """Return the paths of all files that look like a slot, in sub-folders, too, whatever is there. Blocks on disk."""
    return {path for path, _ in door.walk(root, FOLDER) if path.endswith(".age")}


def read_all(root: Path) -> dict[str, bytes]:
    """Return every slot with its encrypted file; anything but a regular file is skipped. Blocks on disk."""
    files = {}
    for path in sorted(path for path in paths(root) if path.count("/") == 1):
        with suppress(FileRefused, OSError):
            files[path.removeprefix(f"{FOLDER}/").removesuffix(".age")] = door.read(root, path, most=MOST)
    return files
