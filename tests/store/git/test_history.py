"""Revisions, the commits of events, and folders that a cut takes away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kheish.errors import Invalid, NotFound
from kheish.store import pipes
from kheish.store.git import revisions
from kheish.store.git.revisions import Event, Name, Seq, Time
from kheish.store.log.index import Reader, Writer
from tests.store import roots


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return roots.make(tmp_path)


@pytest.fixture
async def child(root: Path) -> AsyncIterator[pipes.Child]:
    child = roots.worker(root)
    await child.start()
    yield child
    await child.close()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("17", Event(17)),
        ("n:17", Event(17)),
        ("seq:3", Seq(3)),
        ("@{1970-01-01T00:01:00Z}", Time(60.0)),
        ("@{1970-01-02}", Time(86400.0)),
        ("abc1234", Name("abc1234")),
        ("HEAD~2", Name("HEAD~2")),
        ("playbook/x/1.0", Name("playbook/x/1.0")),
    ],
)
def test_what_people_write_for_a_moment(text: str, meant: revisions.Revision) -> None:
    assert revisions.parse(text) == meant


@pytest.mark.parametrize(
    "text", ["", "-x", ":/fix", "HEAD^{/fix}", "a..b", "@{soon}", "a b", "x" * 300, "a;rm", "$(x)"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        revisions.parse(text)


async def test_a_revision_tells_its_commit_and_event(root: Path, child: pipes.Child) -> None:
    first = await child.request("commit", **roots.cut(root, "a", 3))
    await child.request("commit", **roots.cut(root, "b", 7))
    roots.git(root, "tag", "-a", "v1", first["commit"], "-m", "x")
    (root / "notes.md").write_text("mine\n")
    roots.git(root, "add", "notes.md")
    roots.git(root, "commit", "-qm", "a person's")

    assert (await child.request("resolve", rev="v1"))["n"] == 3
    assert (await child.request("resolve", rev=first["commit"][:10]))["commit"] == first["commit"]
    assert (await child.request("resolve", rev="HEAD"))["n"] == 7  # a person's commit holds what the one before does
    with pytest.raises(NotFound):
        await child.request("resolve", rev="nothing")


async def test_which_commit_holds_an_event_from_git_and_from_the_index(root: Path, child: pipes.Child) -> None:
    answers = [await child.request("commit", **roots.cut(root, "a", n)) for n in (3, 7, 9)]
    commits = [one["commit"] for one in answers]
    page = await child.request("marks", rev="HEAD", limit=2)
    rest = await child.request("marks", rev=page["next"], limit=2)
    marks = page["marks"] + rest["marks"]
    assert ([n for n, _, _ in marks], rest["next"]) == ([9, 7, 3], None)
    assert [[one["n_to"], one["commit"], one["time"]] for one in reversed(answers)] == marks
    assert (await child.request("marks", rev="HEAD", until=commits[1]))["marks"] == marks[:1]

    writer = Writer(root / ".kheish" / "index.sqlite")
    writer.mark(marks)
    rows = [(n, "j", n, "s" if n in (2, 8) else "t", None, "x", "{}") for n in range(1, 11)]
    writer.apply(rows, [], 10)
    writer.close()
    reader = Reader(root / ".kheish" / "index.sqlite")
    for n, commit in ((1, commits[0]), (3, commits[0]), (4, commits[1]), (9, commits[2])):
        found = reader.covering(n)
        assert found is not None and found[1] == commit
        assert (await child.request("covering", n=n))[1] == commit
    assert reader.covering(10) is None and await child.request("covering", n=10) is None
    assert [mark[1] for mark in reader.commits_of("s", below=None, limit=9)] == [commits[2], commits[0]]
    assert [mark[1] for mark in reader.commits_of("s", below=7, limit=9)] == [commits[0]]
    newest = reader.commit_at(2**40)
    assert newest is not None and newest[1] == commits[2] and reader.commit_at(0) is None


async def test_a_removed_folder_is_gone_from_tree_and_index(root: Path, child: pipes.Child) -> None:
    await child.request("commit", **roots.cut(root, "a", 1))
    kept = await child.request("commit", **roots.cut(root, "b", 2))
    stray = root / "sessions/2026-11-22/a/spill/x"
    stray.parent.mkdir()
    stray.write_text("not committed yet")

    gone = {"cut": {"n_from": 3, "n_to": 3}, "message": "deleted", "removes": ["sessions/2026-11-22/a"]}
    answer = await child.request("commit", **gone)
    await child.request("sync_index")

    assert not (root / "sessions/2026-11-22/a").exists()
    assert "sessions/2026-11-22/b/session.yaml" in roots.git(root, "ls-files")
    assert roots.git(root, "status", "--porcelain") == ""
    assert await child.request("find", rev=kept["commit"], under="sessions", name="a") == "sessions/2026-11-22/a"
    assert await child.request("find", rev=answer["commit"], under="sessions", name="a") is None
