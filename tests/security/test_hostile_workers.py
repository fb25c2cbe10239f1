"""A hostile worker: what its repository and its results may hold runs nothing here and writes nothing outside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kheish.beneath import Door
from kheish.errors import Invalid, KheishError
from kheish.runtime.workers import depot as depots, returning
from kheish.runtime.workers.depot import Depot, check_path
from tests.runtime.workers.test_depot import Pair, carry


def git(folder: Path, *words: str, given: bytes | None = None) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], input=given, capture_output=True, check=True)
    return done.stdout.decode().strip()


class Attack(Pair):
    """A worker that answers with any tree."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.outside = root / "outside"
        self.outside.mkdir()
        (self.here / "a").write_text("a")
        (self.here / "folder").mkdir()
        (self.here / "folder/f").write_text("f")
        self.push()

    def blob(self, content: bytes) -> str:
        return git(self.far.path, "hash-object", "-w", "--stdin", given=content)

    def tree(self, *entries: tuple[str, str, str]) -> str:
        """A tree with any names: git mktree checks none of them."""
        kinds = {"40000": "tree", "160000": "commit"}
        lines = [f"{mode} {kinds.get(mode, 'blob')} {id}\t{name}" for mode, name, id in entries]
        return git(self.far.path, "mktree", "--missing", "-z", given="\0".join(lines).encode() + b"\0")

    def answer(self, tree: str) -> returning.Returned:
        """Take in a tree as a result."""
        assert self.base is not None
        commit = git(self.far.path, *_WHO, "commit-tree", tree, "-p", self.base, "-m", "x")
        carry(self.far, self.near, commit, self.base)
        result = self.near.commit(tree, self.base)
        return returning.apply(self.near, Door(self.here), self.base, result)


_WHO = ("-c", "user.name=x", "-c", "user.email=x@x")


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    return Attack(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../../x", ".git/config", "a/.GIT/hooks/x", ".git", "a//b", "/etc/x", ".", "git~1/config",
        ".g\u200cit/config", ".git /x", ".git./x", ".git::$INDEX_ALLOCATION/x", ".kheish/x",
    ],
)  # fmt: skip
def test_paths_that_no_workspace_may_get(path: str) -> None:
    with pytest.raises(Invalid):
        check_path(path)


@pytest.mark.parametrize("name", [".git", "..", ".", ".GIT", "git~1", ".kheish"])
def test_a_tree_with_a_hostile_name_is_refused_as_a_whole(attack: Attack, name: str) -> None:
    hook = attack.tree(("100755", "post-checkout", attack.blob(b"#!/bin/sh\ntouch /tmp/ran\n")))
    with pytest.raises(KheishError):
        attack.answer(attack.tree(("100644", "a", attack.blob(b"changed")), ("40000", name, hook)))
    assert (attack.here / "a").read_text() == "a", "nothing of it is written"


def test_links_out_of_the_workspace_are_refused(attack: Attack) -> None:
    same = git(attack.far.path, "rev-parse", f"{attack.base}:a")
    folder = git(attack.far.path, "rev-parse", f"{attack.base}:folder")
    targets = {"l1": "/etc/passwd", "l2": "../outside", "l3": "folder/../../outside", "l4": ".git/config", "l5": "a"}
    links = [("120000", name, attack.blob(target.encode())) for name, target in targets.items()]
    done = attack.answer(attack.tree(("100644", "a", same), ("40000", "folder", folder), *links))
    assert sorted(done.refused) == ["l1", "l2", "l3", "l4"] and done.written == ["l5"]
    assert os.readlink(attack.here / "l5") == "a"


def test_a_link_that_appears_here_meanwhile_leads_nowhere(attack: Attack) -> None:
    (attack.there / "folder/f").write_text("changed")
    (attack.there / "folder/new").write_text("new")
    (attack.here / "folder/f").unlink()
    (attack.here / "folder").rmdir()
    (attack.here / "folder").symlink_to(attack.outside)
    (attack.outside / "f").write_text("f")
    done = attack.pull()
    assert done.conflicts == ["folder/f", "folder/new"] and not done.written
    assert os.listdir(attack.outside) == ["f"] and (attack.outside / "f").read_text() == "f"


def test_odd_modes_and_repositories_in_it(attack: Attack) -> None:
    same = git(attack.far.path, "rev-parse", f"{attack.base}:a")
    folder = git(attack.far.path, "rev-parse", f"{attack.base}:folder")
    inner = attack.tree(("160000", "sub", "1" * 40), ("100644", "a", same), ("40000", "folder", folder))
    done = attack.answer(inner)
    assert list(done.refused) == ["sub"] and not (attack.here / "sub").exists()


@pytest.mark.parametrize("mode", ["104755", "100666"])
def test_a_mode_that_makes_a_file_run_as_its_owner_is_never_given(attack: Attack, mode: str) -> None:
    folder = git(attack.far.path, "rev-parse", f"{attack.base}:folder")
    try:
        attack.answer(attack.tree((mode, "a", attack.blob(b"changed")), ("40000", "folder", folder)))
    except KheishError:
        assert (attack.here / "a").read_text() == "a"
    else:
        assert (attack.here / "a").stat().st_mode & 0o7022 == 0


def test_hooks_filters_and_attributes_of_the_worker_run_nothing(attack: Attack, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = f"#!/bin/sh\ntouch {ran}\ncat\n"
    (attack.there / ".git/hooks").mkdir(parents=True)
    (attack.there / ".git/config").write_text(f'[filter "x"]\n\tclean = "touch {ran}; cat"\n\trequired = true\n')
    for name in ("pre-commit", "post-checkout", "post-index-change"):
        (attack.there / f".git/hooks/{name}").write_text(program)
        (attack.there / f".git/hooks/{name}").chmod(0o755)
    (attack.there / ".gitattributes").write_text("* filter=x diff=x merge=x\n")
    (attack.there / "a").write_text("changed")
    done = attack.pull()
    assert not ran.exists() and sorted(done.written) == [".gitattributes", "a"]
    assert not (attack.here / ".git").exists()


@pytest.mark.parametrize("setting", ["update = !touch /tmp/ran", "url = -u./x", "path = -x"])
def test_modules_that_would_run_a_program_are_refused(attack: Attack, setting: str) -> None:
    (attack.there / ".gitmodules").write_text(f'[submodule "x"]\n\t{setting}\n')
    with pytest.raises(KheishError, match="gitmodules"):
        attack.pull()
    assert not (attack.here / ".gitmodules").exists()


def test_a_result_that_unpacks_to_too_much_is_refused(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depots, "MOST_FILE", 1024 * 1024)
    (attack.there / "bomb").write_bytes(bytes(20 * 1024 * 1024))
    with pytest.raises(Invalid, match="too large"):
        attack.pull()
    assert not (attack.here / "bomb").exists()


def test_a_pack_over_the_limit_is_refused_before_it_is_read(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depots, "MOST_PACK", 10_000)
    (attack.there / "noise").write_bytes(os.urandom(50_000))
    with pytest.raises(KheishError, match="maximum"):
        attack.pull()


@pytest.mark.parametrize("id", ["--output=/tmp/x", "HEAD", "refs/heads/main", "1" * 39, ""])
def test_an_id_that_is_no_id_reaches_no_git(attack: Attack, id: str) -> None:
    near: Depot = attack.near
    for call in (near.tree_of, lambda one: near.changes(attack.base or "", one), lambda one: near.pack(one, None)):
        with pytest.raises(Invalid):
            call(id)
