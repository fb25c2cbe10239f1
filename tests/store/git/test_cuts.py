from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import Invalid, StoreFailed
from kheish.store import files
from kheish.store.git import cuts
from kheish.store.git.repo import Repo
from kheish.store.git.staging import Index
from tests.store import roots


def committed(root: Path, frame: dict[str, Any]) -> dict[str, Any]:
    answer, changes = cuts.commit(Repo(root), frame)
    if changes:
        Index(root).update(changes)
    return answer


def test_a_commit_holds_the_cut_and_nothing_above(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    frame = roots.cut(root, "fix-it", 3, trailers={"Kheish-Session": ["fix-it"]})
    path = next(iter(frame["journals"]))
    with (root / path).open("a") as file:
        file.write('{"v":1,"n":4}\n')

    answer = committed(root, frame)

    assert roots.git(root, "rev-parse", "HEAD", "refs/kheish/last").split() == [answer["commit"]] * 2
    assert roots.git(root, "show", f"HEAD:{path}").count("\n") == 2
    assert roots.git(root, "show", "HEAD:sessions/2026-11-22/fix-it/session.yaml") == "session_id: fix-it\nlast_n: 3"
    message = roots.git(root, "log", "-1", "--format=%B%an/%cn")
    assert message == "run completed: fix-it\n\nKheish-Session: fix-it\nKheish-Events: 3-3\nKheish daemon/Kheish daemon"
    assert roots.git(root, "status", "--short") == f"M {path}"
    assert roots.git(root, "fsck") == ""


def test_a_journal_that_is_not_as_the_cut_says_is_not_committed(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    frame = roots.cut(root, "fix-it", 3)
    path = next(iter(frame["journals"]))
    before = (root / path).read_text()
    (root / path).write_text(before.replace('"n":2', '"n":5'))

    assert committed(root, frame)["short"] == [path]

    (root / path).write_text(before)
    assert "commit" in committed(root, frame)


def test_no_commit_takes_an_entry_away_whatever_the_cut_says(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    first = committed(root, roots.cut(root, "fix-it", 3))
    frame = roots.cut(root, "fix-it", 2)

    answer = committed(root, frame)

    assert answer["short"] == list(frame["journals"])
    assert roots.git(root, "rev-parse", "HEAD") == first["commit"]


def test_what_git_has_lost_of_a_journal_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    frame = roots.cut(root, "fix-it", 3)
    committed(root, frame)
    blob = roots.git(root, "rev-parse", f"HEAD:{next(iter(frame['journals']))}")
    (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    assert "commit" in committed(root, roots.cut(root, "fix-it", 4))


def test_the_same_cut_again_makes_no_second_commit(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    frame = roots.cut(root, "fix-it", 3)

    first, second = committed(root, frame), committed(root, frame)

    assert first["commit"] == second["commit"]
    assert roots.git(root, "status", "--short") == ""


def test_a_removed_record_leaves_tree_and_folder(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    ask: list[Any] = ["pending/approvals/appr_1.yaml", {"approval_id": "appr_1"}, "decision:\nreason:\n"]
    committed(root, roots.cut(root, "a", 1, pending=[ask], files=[["sessions/2026-11-22/b/x.txt", "text"]]))
    assert (root / ask[0]).read_text().endswith("decision:\nreason:\n")

    committed(root, roots.cut(root, "a", 2, pending=[[ask[0], None, ""]], deletes=["sessions/2026-11-22/b/x.txt"]))

    assert not (root / ask[0]).exists() and not (root / "sessions/2026-11-22/b").exists()
    assert "appr_1" not in roots.git(root, "ls-files") and "/b/" not in roots.git(root, "ls-tree", "-r", "HEAD")
    assert roots.git(root, "status", "--short") == ""


def test_an_answer_that_a_person_began_is_not_overwritten(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    ask: list[Any] = ["pending/approvals/appr_1.yaml", {"approval_id": "appr_1"}, "decision:\nreason:\n"]
    committed(root, roots.cut(root, "a", 1, pending=[ask]))
    (root / ask[0]).write_text("approval_id: appr_1\ndecision: allow\nreason:\n")

    committed(root, roots.cut(root, "a", 2, pending=[ask]))

    assert "allow" in (root / ask[0]).read_text()


def test_a_persons_edit_is_a_commit_of_its_own(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    roots.git(root, "config", "user.name", "Pat")
    roots.git(root, "config", "user.email", "pat@example.org")
    (root / "routes/local.yaml").write_text("driver: scripted\n")
    (root / ".env").write_text("SECRET=1\n")
    (root / "README.md").write_text("mine\n")
    (root / "permissions.yaml").unlink()

    committed(root, roots.cut(root, "a", 1, edits=["routes/local.yaml", "README.md", "permissions.yaml"]))

    edit = roots.git(root, "log", "-1", "--format=%s|%an|%cn", "--name-status", "HEAD~1")
    assert edit == (
        "edit: routes/local.yaml, permissions.yaml|Pat|Kheish daemon\n\nD\tpermissions.yaml\nA\troutes/local.yaml"
    )
    assert roots.git(root, "status", "--short") == "M README.md\n?? .env"


def test_a_short_journal_is_reported_and_nothing_is_committed(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    frame = roots.cut(root, "a", 3)
    path = next(iter(frame["journals"]))
    (root / path).write_text('{"v":1,"n":1}\n')
    before = roots.git(root, "rev-parse", "HEAD")

    answer = committed(root, frame)

    assert answer["short"] == [path] and "held" in answer
    assert roots.git(root, "rev-parse", "HEAD") == before
    assert not (root / "sessions/2026-11-22/a/session.yaml").exists()


def test_a_path_through_a_link_is_refused(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "flows").symlink_to(outside)

    with pytest.raises(Invalid, match="symbolic link"):
        committed(root, roots.cut(root, "a", 1, records=[["flows/x.yaml", {"a": 1}]]))
    assert list(outside.iterdir()) == []


def test_an_object_that_a_person_s_git_packs_at_that_moment_is_no_failed_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = roots.make(tmp_path)
    fsync = files.fsync_file

    def late(path: Path) -> None:
        if path.exists():
            roots.git(root, "gc", "--quiet", "--prune=now")
        fsync(path)

    monkeypatch.setattr(files, "fsync_file", late)
    repo = Repo(root)
    repo.blob(b"unreachable, so that gc takes it away\n")
    repo.sync()

    monkeypatch.undo()
    assert "commit" in committed(root, roots.cut(root, "fix-it", 3))


def test_an_object_that_cannot_be_fsynced_is_a_failed_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = roots.make(tmp_path)

    def failing(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(files, "fsync_file", failing)
    with pytest.raises(StoreFailed, match="cannot be made durable"):
        committed(root, roots.cut(root, "fix-it", 3))
