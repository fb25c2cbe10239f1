"""Files with the contents of observations: one JSON line each, plain, or encrypted with a key of their own.

The key of an encrypted file lies outside the tree, in no commit, no clone and no backup. Purging deletes it, which
makes each copy of the file unreadable. All functions block on disk.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from kheish.errors import Damaged, ObservationUnreadable
from kheish.store import files
from kheish.store.log import spills

FOLDER = "observations"
KEYS = ".git/kheish/observation-keys"
ENCRYPTED, PLAIN = ".jsonl.age", ".jsonl"
_KEY_BYTES = 4096
_FINGERPRINTS = ".fingerprints"  # no id of a source begins with a dot


def place(root: Path, path: str, lines: bytes) -> tuple[str, int]:
    """Write a file, encrypted if its name says so; return the digest and the size of what is on disk. Raises OSError.

    A new key is durable before the file that needs it.
    """
    files.contained(root, path)
    content = _encrypted(root, path, lines) if path.endswith(ENCRYPTED) else lines
    spills.place(root, path, content, fsync=True)
    return sha256(content).hexdigest(), len(content)


def read(root: Path, path: str, *, digest: str, size: int) -> bytes:
    """Return the lines of a file. Raises Damaged, ObservationUnreadable if the key is not here."""
    content = spills.read(root, path, size=size, digest=digest)
    return _decrypted(root, path, content) if path.endswith(ENCRYPTED) else content


def forget(root: Path, paths: Iterable[str]) -> None:
    """Delete the keys of files, and their second names; the next commit removes the files themselves."""
    folders = set[Path]()
    for path in paths:
        spills.second(root, path).unlink(missing_ok=True)
        key = _key(root, path)
        if path.endswith(ENCRYPTED) and key.exists():
            key.unlink()
            folders.add(key.parent)
    for folder in folders:
        files.fsync_folder(folder)


def fingerprint(root: Path, content: bytes, *, is_secret: bool) -> str:
    """Return what an idempotency key keeps of a request. For a source that must forget it depends on a secret of this
    machine, since a plain digest would confirm a guess of a short content."""
    if not is_secret:
        return sha256(content).hexdigest()
    place = root / KEYS / _FINGERPRINTS
    if not place.exists():
        files.atomic_write(place, os.urandom(32), fsync=True, mode=0o600)
    return hmac.new(place.read_bytes(), content, sha256).hexdigest()


def keys(root: Path) -> dict[str, list[str]]:
    """Return the names of the files that have keys, by source."""
    named: dict[str, list[str]] = {}
    with suppress(FileNotFoundError):
        for folder in (root / KEYS).iterdir():
            if folder.is_dir():
                named[folder.name] = [key.name.removesuffix(".key") for key in folder.iterdir()]
    return named


def drop_key(root: Path, source: str, name: str) -> None:
    """Delete the key of a file by its name."""
    (root / KEYS / source / f"{name}.key").unlink(missing_ok=True)


def _key(root: Path, path: str) -> Path:
    """Return the place of a file's key: by its source and its name."""
    parts = path.split("/")
    return root / KEYS / parts[1] / f"{parts[-1]}.key"


def _encrypted(root: Path, path: str, lines: bytes) -> bytes:
    from pyrage import encrypt, x25519

    key = x25519.Identity.generate()
    there = _key(root, path)
    files.atomic_write(there, f"{key}\n".encode(), fsync=True, mode=0o600)
    content: bytes = encrypt(lines, [key.to_public()])
    return content


def _decrypted(root: Path, path: str, content: bytes) -> bytes:
    from pyrage import DecryptError, IdentityError, decrypt, x25519

    try:
        with _key(root, path).open("rb") as file:
            key = x25519.Identity.from_str(file.read(_KEY_BYTES).decode().strip())
    except FileNotFoundError as error:
        raise ObservationUnreadable(
            "The key of this content is not on this machine: keys of sources that forget are in no clone or backup."
        ) from error
    except (IdentityError, UnicodeDecodeError, OSError) as error:
        raise ObservationUnreadable(f"The key of {path} cannot be read: {error}.") from error
    try:
        lines: bytes = decrypt(content, [key])
    except DecryptError as error:
        raise Damaged(f"{path} cannot be decrypted with its key: {error}.", path=str(root / path)) from error
    return lines
