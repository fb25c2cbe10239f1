"""Tags that somebody pushed to the backup's remote: bombs of trees, of text and of numbers; each is looked at once."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from kheish.errors import Invalid
from kheish.store import bounded
from kheish.store.git import tags
from kheish.store.git.repo import Repo
from tests.security.test_pulled_trees import FILE, FOLDER, blob, tree
from tests.store import roots
from tests.store.roots import git
from tests.support.daemon import until
from tests.system.conftest import Fresh, fresh  # noqa: F401  # the fixture

MANIFEST = b"title: T\nobjective: O\nphases: [{id: a, objective: o}]\n"
PATH = "playbooks/triage"


def bomb(root: Path, levels: int = 6) -> str:
    """A folder that stands for 10 to the power of `levels` files, and is a few hundred bytes."""
    inner = blob(root, b"x" * 5000)
    made = tree(root, *((FILE, f"f{at}", inner) for at in range(10)))
    for _ in range(levels - 1):
        made = tree(root, *((FOLDER, f"d{at}", made) for at in range(10)))
    return made


def deep(root: Path, levels: int) -> str:
    made = tree(root, (FILE, "f", blob(root, b"x")))
    for _ in range(levels):
        made = tree(root, (FOLDER, "d", made))
    return made


def tagged(root: Path, playbook: str, name: str, message: str = "m") -> str:
    """A tag on a commit that has this tree as the Playbook's folder."""
    top = tree(root, (FOLDER, "playbooks", tree(root, (FOLDER, "triage", playbook))))
    commit = git(root, "commit-tree", top, "-m", "evil")
    subprocess.run(["git", "tag", "-a", "-F", "-", name, commit], cwd=root, input=message.encode(), check=True)
    return commit


def folder(root: Path, *entries: tuple[str, str, str]) -> str:
    return tree(root, (FILE, "playbook.yaml", blob(root, MANIFEST)), *entries)


@pytest.mark.parametrize("kind", ["wide", "deep", "large"])
def test_a_folder_is_read_within_bounds(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = roots.make(tmp_path)
    monkeypatch.setattr(bounded, "MOST_BYTES", 20_000)
    large = tree(root, *((FILE, f"f{at}", blob(root, b"%d" % at * 5000)) for at in range(5)))
    inner = {"wide": bomb, "deep": lambda root: deep(root, bounded.MOST_DEPTH + 1), "large": lambda root: large}[kind]
    commit = tagged(root, folder(root, (FOLDER, "b", inner(root))), "playbook/triage/1.0.0")
    began = time.process_time()
    with pytest.raises(Invalid):
        tags.folder(Repo(root), rev=commit, path=PATH, file="playbook.yaml")
    assert time.process_time() - began < 5


def test_what_is_there_many_times_is_read_once_and_what_fits_is_whole(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    commit = tagged(root, folder(root, (FOLDER, "b", bomb(root, 3))), "playbook/triage/1.0.0")
    found = tags.folder(Repo(root), rev=commit, path=PATH, file="playbook.yaml")
    assert found is not None and len(found["files"]) == 1000 and len(set(found["files"].values())) == 1


def test_tags_of_tags_of_blobs_and_of_much_text_are_no_versions(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    tagged(root, folder(root), "good")
    tagged(root, folder(root), "long", "m" * 2_000_000)
    git(root, "tag", "-a", "-m", "m", "chain", "good")
    git(root, "tag", "-a", "-m", "m", "blob", blob(root, b"x"))
    found = {name: tags.described(Repo(root), name=name) for name in ("good", "long", "chain", "blob")}
    assert {name for name, one in found.items() if one and one["commit"]} == {"good"}


@pytest.mark.found("S9")
def test_a_bomb_delays_no_start_and_is_read_once(fresh: Fresh) -> None:  # noqa: F811
    daemon = fresh(routes={"hello": [{"text": "hi"}]})
    root = daemon.root
    with_bomb = tree(root, (FILE, "playbook.yaml", blob(root, MANIFEST)), (FOLDER, "b", bomb(root)))
    tagged(root, with_bomb, "playbook/triage/1.0.0")
    wrong = lambda: [one for one in daemon.client.problems()["items"] if one["code"] == "not_a_version"]  # noqa: E731
    (told,) = until(wrong, what="the problem")
    assert "too large" in told["message"]
    note = root / ".git/kheish/refused-tags.json"
    kept = until(lambda: note.exists() and note.read_bytes(), what="it is kept")
    written = note.stat().st_mtime_ns
    for _ in range(2):
        daemon.restart()
        assert [one["message"] for one in wrong()] == [told["message"]]
        assert (note.stat().st_mtime_ns, note.read_bytes()) == (written, kept), "it was not looked at again"
    git(root, "tag", "-d", "playbook/triage/1.0.0")
    until(lambda: not wrong(), what="the problem is gone with the tag")
    assert daemon.client.runs.start(daemon.client.sessions.create("s", route="hello")["session_id"], "x").run_id
