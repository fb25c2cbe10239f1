"""Commits and tags that no git command makes, pushed by somebody: forged event numbers, encodings that there are not,
times beyond all calendars, names of ours. The daemon goes on, starts again, and believes none of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kheish.store.git import history, tags
from kheish.store.git.repo import Repo
from tests.store.git.test_backup import Clones
from tests.store.roots import git
from tests.support.daemon import until
from tests.support.pulled import Shared

DAEMON = b"Kheish daemon <daemon@kheish.invalid> 4000000000 +0000"
PLAIN = b"Ada <ada@example.org> 1700000000 +0000"
DRAFT = "title: T\nobjective: o\nphases: [{id: a}]\n"


def raw(folder: Path, kind: str, *lines: bytes) -> str:
    """An object of git as it stands here, whatever git thinks of it."""
    words = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    done = subprocess.run(words, cwd=folder, input=b"\n".join(lines), capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(folder: Path, message: bytes, *, by: bytes = PLAIN, extra: tuple[bytes, ...] = ()) -> str:
    """A commit on top of the branch with the same files, which then is the branch."""
    tree, head = (git(folder, "rev-parse", rev).encode() for rev in ("HEAD^{tree}", "HEAD"))
    headers = (b"tree " + tree, b"parent " + head, b"author " + by, b"committer " + by, *extra)
    made = raw(folder, "commit", *headers, b"", message)
    git(folder, "update-ref", "refs/heads/main", made)
    return made


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    return Clones(tmp_path)


@pytest.mark.parametrize("by", [PLAIN, DAEMON])
@pytest.mark.parametrize("number", [b"6", b"9223372036854775807"])
def test_a_commit_that_says_which_events_it_holds(clones: Clones, by: bytes, number: bytes) -> None:
    commit(clones.other, b"x\n\nKheish-Session: s\nKheish-Events: 1-" + number, by=by)
    clones.there(**{"notes.md": "theirs\n"})
    found = clones.plan()
    assert (found.verdict, found.changes) == ("diverged", {}) and "Kheish-Events" in found.why


def test_a_number_that_no_daemon_gave_counts_for_nothing(clones: Clones) -> None:
    """Of a clone, and where a person has pulled it: the next number would not fit into the index."""
    repo = Repo(clones.root)
    before = history.last(repo)
    made = commit(clones.root, b"x\n\nKheish-Events: 1-9223372036854775807")
    git(clones.root, "update-ref", "refs/kheish/last", made)
    after = history.last(repo)
    assert before is not None and after is not None and after["n"] == before["n"]
    assert history.resolve(repo, rev="HEAD")["n"] == before["n"]
    assert "9223372036854775807" not in str(history.marks(repo, rev="HEAD"))


@pytest.mark.parametrize(
    ("by", "extra", "message"),
    [
        (PLAIN, (b"encoding no-such-encoding",), b"x"),
        (PLAIN, (b"encoding utf-16",), b"\xff"),
        (b"\xff\xfe <\xff> 1700000000 +0000", (), b"\xff\xfe"),
        (b"Ada <a@b> 9223372036854775807 +0000", (), b"x"),
        (b"Ada <a@b> 253402300800 +0000", (), b"x"),
        (b"Ada <a@b> -1 +0000", (), b"x"),
    ],
)
def test_a_commit_that_cannot_be_read_as_it_says(
    clones: Clones, by: bytes, extra: tuple[bytes, ...], message: bytes
) -> None:
    commit(clones.other, message, by=by, extra=extra)
    clones.there(**{"notes.md": "theirs\n"})
    assert clones.join()["paths"] == ["notes.md"]
    repo = Repo(clones.root)
    for one in history.log(repo):
        assert 0 <= one["time"] <= 253_402_300_799
        str(one).encode()  # no half of a surrogate pair
    assert history.last(repo) is not None and history.resolve(repo, rev="HEAD")["n"] >= 0
    history.marks(repo, rev="HEAD")
    history.covering(repo, time=1_800_000_000)


def test_a_tag_that_is_no_text(clones: Clones) -> None:
    head = git(clones.root, "rev-parse", "HEAD").encode()
    for number, tagger in enumerate((b"\xff <\xfe> 1 +0000", b"Ada <a@b> 1 +0000")):
        lines = (b"object " + head, b"type commit", b"tag x", b"tagger " + tagger, b"", b"\xff\xfe")
        git(clones.root, "update-ref", f"refs/tags/playbook/p/1.0.{number}", raw(clones.root, "tag", *lines))
        found = tags.described(Repo(clones.root), name=f"playbook/p/1.0.{number}")
        assert found is not None and found["commit"] == head.decode()


def test_a_daemon_that_fetched_such_tags_starts_again_and_takes_nobody_for_its_tagger(tmp_path: Path) -> None:
    with Shared.fresh(tmp_path, routes={"echo": {"driver": "scripted", "script": {"echo": True}}}) as shared:
        daemon = shared.daemon
        shared.push({"playbooks/p/playbook.yaml": DRAFT})
        head = git(shared.there, "rev-parse", "HEAD").encode()
        names = (b"\xff", b"token:local", b"daemon", b"A\x1b[2Jda", b"Ada")
        for number, who in enumerate(names):
            tagger = b"tagger " + who + b" <a@b> 1 +0000"
            made = raw(shared.there, "tag", b"object " + head, b"type commit", b"tag x", tagger, b"", b"\xff\xfe")
            git(shared.there, "update-ref", f"refs/tags/playbook/p/1.0.{number}", made)
        git(shared.there, "push", "-q", "origin", "--tags")
        daemon.client.sessions.create("s")
        daemon.client.backup()
        found = until(lambda: len(items := daemon.client.playbooks.versions("p")["items"]) == len(names) and items)
        assert [one["published_by"] for one in reversed(found)] == ["\ufffd", "git", "git", "git", "Ada"]
        daemon.restart()
        assert len(daemon.client.playbooks.versions("p")["items"]) == len(names)
