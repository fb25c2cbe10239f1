"""Attacks on what the audit tells, with real daemons: by somebody who can write the state root, and who has no key."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from kheish.auth import audit
from tests.support.daemon import Daemon, git

WHO = ("-c", "user.name=mallory", "-c", "user.email=mallory@example.com")


def journal(root: Path) -> Path:
    return root / audit.JOURNAL / "000001.jsonl"


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with some entries in some commits, all of which are pushed, its remote beside it; not served any more."""
    folder = tmp_path_factory.mktemp("pushed")
    with Daemon.fresh(folder) as daemon:
        git(folder, "init", "-q", "--bare", "remote.git")
        assert daemon.cli("backup", "add", str(folder / "remote.git")).returncode == 0
        for name in ("ann", "bob", "eve"):
            daemon.client.tokens.create(name, "operator")
            daemon.quiet()
        assert daemon.cli("backup", "push").returncode == 0
        daemon.stop()
    return folder


@pytest.fixture
def served(pushed: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A copy of that for one attack."""
    shutil.copytree(pushed, tmp_path, symlinks=True, dirs_exist_ok=True)
    daemon = Daemon(tmp_path / "state", tmp_path / "work")
    git(daemon.root, "remote", "set-url", "origin", str(tmp_path / "remote.git"))
    yield daemon
    daemon.end()


def verify(daemon: Daemon, *more: str) -> tuple[int, str]:
    found = daemon.cli("audit", "verify", *more)
    return found.returncode, found.stdout + found.stderr


def change_a_line(root: Path) -> None:
    path = journal(root)
    path.write_text(path.read_text().replace("eve (operator)", "zoe (operator)"))


def change_the_last_line(root: Path) -> None:
    *lines, last = journal(root).read_text().splitlines(keepends=True)
    journal(root).write_text("".join([*lines, last.replace("eve", "zoe")]))


def cut_the_tail(root: Path) -> None:
    lines = journal(root).read_text().splitlines(keepends=True)
    journal(root).write_text("".join(lines[:-1]))


@pytest.mark.parametrize("attack", [change_a_line, change_the_last_line, cut_the_tail])
def test_a_tampered_audit_line(served: Daemon, attack: Callable[[Path], None]) -> None:
    good = verify(served)
    attack(served.root)
    git(served.root, *WHO, "commit", "-qam", "tidy up")

    bad = verify(served)

    assert good[0] == 0
    assert bad[0] == 1, bad


def test_a_cut_audit_tail_with_the_older_signature_is_found_by_where_it_was_pushed(
    served: Daemon, tmp_path: Path
) -> None:
    remote, clone = tmp_path / "remote.git", tmp_path / "clone"
    seqs = [orjson.loads(line)["seq"] for line in journal(served.root).read_text().splitlines()]
    heads = git(served.root, "log", "--format=%H", "--", audit.HEAD).split()
    older = next(
        one for one in heads if orjson.loads(git(served.root, "show", f"{one}:{audit.HEAD}"))["seq"] < seqs[-1]
    )
    signed = orjson.loads(git(served.root, "show", f"{older}:{audit.HEAD}"))
    git(served.root, "checkout", "-q", older, "--", audit.JOURNAL)
    git(served.root, *WHO, "commit", "-qam", "as it was")
    git(tmp_path, "clone", "-q", str(remote), str(clone))

    alone = verify(served)
    by_remote, by_clone = (verify(served, "--witness", str(path)) for path in (remote, clone))

    assert alone[0] == 0, "what was signed once, is: only a witness can tell"
    told = f"cut: The witness has {seqs[-1]} entries, and there are {signed['seq']}"
    for code, said in (by_remote, by_clone):
        assert (code, told in said) == (1, True), said


def test_a_witness_that_agrees_and_one_that_is_none(served: Daemon, tmp_path: Path) -> None:
    remote = str(tmp_path / "remote.git")
    ahead = served.start().client.tokens.create("dan", "reader")
    served.stop()

    good = verify(served, "--witness", remote)
    none = verify(served, "--witness", str(tmp_path))

    assert ahead and good[0] == 0 and f"Compared with the witness {remote}" in good[1], good
    assert (none[0], "is not a repository that a state root" in none[1]) == (2, True), none
