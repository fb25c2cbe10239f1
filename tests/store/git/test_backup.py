"""Joining what another clone pushed: by tree, only people's files, only where nobody changed them here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kheish import ids
from kheish.store.git import backup, root_format
from kheish.store.git.repo import Repo
from tests.store.roots import git, make


class Clones:
    """A state root, another clone of it, and a bare remote between them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.other = make(folder), folder / "other"
        (self.root / "notes.md").write_text("one\n")
        git(self.root, "add", "notes.md")
        git(self.root, "commit", "-qm", "notes")
        git(folder, "clone", "-q", str(self.root), str(self.other))
        git(self.root, "remote", "add", "origin", str(self.other / ".git"))
        git(self.root, "update-ref", "refs/kheish/last", "HEAD")

    def there(self, **files: str | None) -> None:
        self._commit(self.other, files)
        git(self.root, "fetch", "-q", "origin")

    def here(self, **files: str | None) -> None:
        self._commit(self.root, files)
        git(self.root, "update-ref", "refs/kheish/last", "HEAD")

    def _commit(self, folder: Path, files: dict[str, str | None]) -> None:
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "edit")

    def plan(self, known: str | None = None) -> backup.Plan:
        return backup.plan(Repo(self.root), theirs="origin/main", known=known)

    def join(self, known: str | None = None) -> dict[str, Any]:
        repo = Repo(self.root)
        expected = self.plan(known).view()["changes"]
        answer, _ = backup.join(repo, theirs="origin/main", known=known, expected=expected, remote="origin")
        return answer


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    return Clones(tmp_path)


def test_edits_of_both_sides_are_one_commit_with_two_parents(clones: Clones) -> None:
    clones.there(**{"notes.md": None, "routes__new.yaml": "driver: scripted\n", "more.md": "# theirs\n"})
    clones.here(**{"personas__me.md": "I\n", "sessions__d__s__session.yaml": "a: 1\n"})
    head, theirs = git(clones.root, "rev-parse", "main"), git(clones.other, "rev-parse", "main")

    answer = clones.join()

    assert sorted(answer["paths"]) == ["more.md", "notes.md", "routes/new.yaml"]
    assert git(clones.root, "log", "-1", "--format=%P", "main") == f"{head} {theirs}"
    assert git(clones.root, "rev-parse", "main", "refs/kheish/last") == "\n".join([answer["commit"]] * 2)
    assert (clones.root / "more.md").read_text() == "# theirs\n" and not (clones.root / "notes.md").exists()
    assert (clones.root / "personas" / "me.md").read_text() == "I\n"
    git(clones.root, "reset", "-q")
    assert git(clones.root, "status", "--porcelain") == ""
    git(clones.root, "merge-base", "--is-ancestor", "origin/main", "main")


@pytest.mark.parametrize(
    ("here", "there", "why"),
    [
        ({"notes.md": "mine\n"}, {"notes.md": "theirs\n"}, "Changed here and there: notes.md."),
        ({"notes.md": None}, {"notes.md": "theirs\n"}, "Changed here and there: notes.md."),
        ({"x.md": "1"}, {"sessions__d__s__session.yaml": "a: 2\n"}, "sessions/d/s/session.yaml"),
        ({"deep": "a file\n"}, {"deep__file.md": "in a folder\n"}, "Changed here and there: deep/file.md."),
        ({"deep__file.md": "in a folder\n"}, {"deep": "a file\n"}, "Changed here and there: deep."),
    ],
)
def test_what_is_not_theirs_alone_is_refused(
    clones: Clones, here: dict[str, str | None], there: dict[str, str | None], why: str
) -> None:
    clones.here(**here)
    clones.there(**there)
    head = git(clones.root, "rev-parse", "main")
    found = clones.plan()
    assert found.verdict == "diverged" and why in found.why
    answer, _ = backup.join(Repo(clones.root), theirs="origin/main", known=None, expected={}, remote="origin")
    assert answer == {"again": True} and git(clones.root, "rev-parse", "main") == head


def test_the_same_edit_on_both_sides_is_no_conflict(clones: Clones) -> None:
    clones.here(**{"notes.md": "two\n", "sessions__d__s__session.yaml": "a: 1\n"})
    clones.there(**{"notes.md": "two\n", "sessions__d__s__session.yaml": "a: 1\n", "more.md": "m\n"})
    assert clones.join()["paths"] == ["more.md"]


def test_a_link_is_not_taken(clones: Clones) -> None:
    (clones.other / "link").symlink_to("/etc/passwd")
    clones.there(**{"a.md": "a\n"})
    assert clones.plan().why == "Changed here and there: link."


def test_an_uncommitted_edit_is_not_overwritten_unless_it_is_the_same(clones: Clones) -> None:
    clones.there(**{"notes.md": "theirs\n", "new.md": "theirs\n"})
    (clones.root / "notes.md").write_text("not committed\n")
    (clones.root / "new.md").write_text("theirs\n")
    assert clones.join() == {"dirty": ["notes.md"]}
    assert (clones.root / "notes.md").read_text() == "not committed\n"
    (clones.root / "notes.md").write_text("theirs\n")
    assert "commit" in clones.join()


def test_a_merge_under_way_holds_it(clones: Clones) -> None:
    clones.there(**{"notes.md": "theirs\n"})
    (clones.root / ".git" / "MERGE_HEAD").write_text(git(clones.root, "rev-parse", "HEAD") + "\n")
    assert "merge is under way" in clones.join()["held"]
    assert (clones.root / "notes.md").read_text() == "one\n"


def test_another_incarnation_is_a_takeover_and_another_root_is_none(clones: Clones) -> None:
    mine = root_format.open_root(clones.root)
    new = root_format.Format(mine.version, mine.root_id, ids.new("inc"))
    clones.there(**{"format.yaml": root_format.format_file(new).decode(), "sessions__d__s__session.yaml": "a: 1\n"})
    found = clones.plan()
    assert found.verdict == "taken_over" and new.incarnation in found.why
    other = root_format.Format(mine.version, ids.new("root"), mine.incarnation)
    clones.there(**{"format.yaml": root_format.format_file(other).decode()})
    assert (clones.plan().verdict, "another state root" in clones.plan().why) == ("diverged", True)


def test_who_took_over_does_not_take_itself_for_taken_over(clones: Clones) -> None:
    mine = root_format.open_root(clones.root)
    new = root_format.Format(mine.version, mine.root_id, ids.new("inc"))
    clones.here(**{"format.yaml": root_format.format_file(new).decode()})
    clones.there(**{"notes.md": "theirs\n"})
    assert clones.plan().verdict == "join"
    clones.there(**{"sessions__d__s__session.yaml": "a: 1\n"})
    assert clones.plan().verdict == "diverged"


def test_history_that_was_rewritten_here_is_joined_to_what_was_pushed(clones: Clones) -> None:
    clones.here(**{"notes.md": "pushed\n", "sessions__d__s__session.yaml": "a: 1\n"})
    pushed = git(clones.root, "rev-parse", "HEAD")
    git(clones.root, "update-ref", "refs/remotes/origin/main", pushed)
    (clones.root / "notes.md").write_text("amended\n")
    git(clones.root, "commit", "-qa", "--amend", "-m", "amended")
    git(clones.root, "update-ref", "refs/kheish/last", "HEAD")
    assert clones.plan().verdict == "diverged"
    assert clones.join(known=pushed)["paths"] == []
    assert git(clones.root, "show", "main:notes.md") == "amended"
    git(clones.root, "merge-base", "--is-ancestor", pushed, "main")


def test_what_to_push_is_the_last_commit_where_the_branch_was_moved_off_it(clones: Clones) -> None:
    clones.here(**{"a.md": "a\n"})
    last = git(clones.root, "rev-parse", "HEAD")
    git(clones.root, "update-ref", "refs/heads/main", "HEAD~1")
    assert backup.tip(Repo(clones.root)) == {"commit": last}
    git(clones.root, "update-ref", "refs/heads/main", last)
    git(clones.root, "commit", "-q", "--allow-empty", "-m", "a person's")
    assert backup.tip(Repo(clones.root)) == {"commit": git(clones.root, "rev-parse", "HEAD")}
