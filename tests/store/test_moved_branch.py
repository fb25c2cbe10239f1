"""A person moves the branch while the daemon serves: what is the daemon's is put back, the rest counts."""

from __future__ import annotations

from pathlib import Path

from kheish.store.git import cuts
from kheish.store.git.repo import Repo
from tests.store import roots
from tests.store.git.test_cuts import committed


def test_a_persons_commit_is_gone_on_top_of(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    committed(root, roots.cut(root, "a", 1))
    (root / "notes.md").write_text("mine\n")
    roots.git(root, "add", "notes.md")
    roots.git(root, "commit", "-qam", "my notes")
    theirs = roots.git(root, "rev-parse", "HEAD")

    answer = committed(root, roots.cut(root, "a", 2))

    assert answer["put_back"] == []
    assert roots.git(root, "rev-parse", "HEAD~1") == theirs
    assert roots.git(root, "show", "HEAD:notes.md") == "mine"


def test_a_commit_from_a_stale_index_loses_nothing(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    cuts.commit(Repo(root), roots.cut(root, "a", 1))  # the index stays behind
    (root / "kheish.yaml").write_text("# mine\n")
    roots.git(root, "commit", "-qam", "mine")
    assert "sessions" not in roots.git(root, "ls-tree", "--name-only", "HEAD")

    answer = committed(root, roots.cut(root, "b", 2))

    assert sorted(answer["put_back"]) == [
        "sessions/2026-11-22/a/journal/000001.jsonl",
        "sessions/2026-11-22/a/session.yaml",
    ]
    assert roots.git(root, "show", "HEAD:kheish.yaml") == "# mine"
    assert roots.git(root, "status", "--short") == ""


def test_what_a_person_committed_of_journals_beyond_the_cut_is_left_for_the_next(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    committed(root, roots.cut(root, "a", 1))
    frame = roots.cut(root, "a", 2)
    grown, _ = roots.journal(root, "a", 3)
    begun, _ = roots.journal(root, "b", 2)
    roots.git(root, "add", "-A")
    roots.git(root, "commit", "-qm", "all that is there")

    answer = committed(root, frame)

    assert answer["put_back"] == []
    assert roots.git(root, "show", f"HEAD:{grown}").count("\n") == 1
    assert begun not in roots.git(root, "ls-tree", "-r", "--name-only", "HEAD")
    assert (root / begun).read_text().count("\n") == 2


def test_a_reset_hard_is_put_back_in_tree_and_work_tree(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    committed(root, roots.cut(root, "a", 1))
    committed(root, roots.cut(root, "a", 2))
    committed(root, roots.cut(root, "b", 3))
    roots.git(root, "reset", "-q", "--hard", "HEAD~2")
    assert not (root / "sessions/2026-11-22/b").exists()

    answer = committed(root, {"cut": {"n_from": 4, "n_to": 3}})

    assert len(answer["put_back"]) == 4
    assert (root / "sessions/2026-11-22/b/session.yaml").read_text() == "session_id: b\nlast_n: 3\n"
    assert (root / "sessions/2026-11-22/a/journal/000001.jsonl").read_text().count("\n") == 2
    assert roots.git(root, "log", "-1", "--format=%B") == "put back 4 files"  # no events that it would be the first of
    assert roots.git(root, "status", "--short") == ""


def test_an_amended_commit_with_all_in_it_is_taken(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    committed(root, roots.cut(root, "a", 1))
    roots.git(root, "commit", "-q", "--amend", "-m", "said better")

    answer = committed(root, {"cut": {"n_from": 1, "n_to": 1}})

    assert answer["put_back"] == []
    assert answer["commit"] == roots.git(root, "rev-parse", "HEAD") == roots.git(root, "rev-parse", "refs/kheish/last")
    assert roots.git(root, "log", "-1", "--format=%s") == "said better"


def test_files_that_git_took_away_come_back_on_request(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    committed(root, roots.cut(root, "a", 2))
    record, journal = "sessions/2026-11-22/a/session.yaml", "sessions/2026-11-22/a/journal/000001.jsonl"
    (root / record).write_text("changed\n")
    with (root / journal).open("a") as file:
        file.write('{"v":1,"n":3}\n')

    assert cuts.put_back(Repo(root), [record, journal, "kheish.yaml"]) == [record]

    assert (root / record).read_text() == "session_id: a\nlast_n: 2\n"
    assert (root / journal).read_text().count("\n") == 3
