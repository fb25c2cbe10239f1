"""The identity of a user's daemons and the recipients of each root, made once, whatever asks first."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kheish.errors import Invalid
from kheish.store import secrets


def test_the_first_users_at_once_get_the_same_identity(tmp_path: Path) -> None:
    root, path = tmp_path / "root", tmp_path / "config" / "identity.txt"
    (root / "secrets").mkdir(parents=True)

    def seal(number: int) -> bytes:
        return secrets.seal(b"%d" % number, secrets.own_recipients(root, path))

    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(seal, range(16)))

    identity = secrets.read_identity(path)
    assert [secrets.unseal(raw, identity) for raw in sealed] == [b"%d" % number for number in range(16)]
    assert len(secrets.recipients(root)) == 1


def test_another_root_of_the_user_has_the_same_recipient(tmp_path: Path) -> None:
    roots, path = [tmp_path / "one", tmp_path / "two"], tmp_path / "identity.txt"
    for root in roots:
        (root / "secrets").mkdir(parents=True)
    first = secrets.own_recipients(roots[0], path)
    text = path.read_text()

    assert secrets.own_recipients(roots[1], path) == first and path.read_text() == text
    (roots[1] / secrets.RECIPIENTS).write_text(f"# ours\n{first[0]}\n")
    assert secrets.own_recipients(roots[1], path) == first
    assert (roots[1] / secrets.RECIPIENTS).read_text() == f"# ours\n{first[0]}\n", "no recipient of a person goes"


def test_the_public_key_of_an_ssh_identity_is_for_a_person_to_add(tmp_path: Path) -> None:
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "secrets").mkdir()
    with pytest.raises(Invalid, match="add the public key of the ssh key"):
        secrets.own_recipients(tmp_path, key)
