from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kheish.errors import NotFound
from kheish.store import pipes
from kheish.store.git.gitworker import Worker
from tests.store import roots

#: six moments; `make crash` has a kill at each write, rename, commit and reference
KILLS = 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return roots.make(tmp_path)


@pytest.fixture
async def child(root: Path) -> AsyncIterator[pipes.Child]:
    child = roots.worker(root)
    await child.start()
    yield child
    await child.close()


async def clean(root: Path, rest: str = "") -> None:
    """Wait until `git status` shows nothing but `rest`, two seconds at most."""
    async with asyncio.timeout(2):
        while roots.git(root, "--no-optional-locks", "status", "--short") != rest:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_status_is_clean_soon_after_the_last_commit(root: Path, child: pipes.Child) -> None:
    for entries in range(1, 6):
        answer = await child.request("commit", **roots.cut(root, "a", entries))
        assert answer["n_to"] == entries

    await clean(root)
    assert roots.git(root, "rev-list", "--count", "HEAD") == "6"


async def test_the_past_can_be_asked_for(root: Path, child: pipes.Child) -> None:
    record = "sessions/2026-11-22/a/session.yaml"
    first = await child.request("commit", **roots.cut(root, "a", 1, trailers={"Kheish-Run": ["r1", "r2"]}))
    await child.request("commit", **roots.cut(root, "b", 2))

    newest, older = await child.request("log", limit=2)
    assert (newest["message"], older["message"]) == ("run completed: b", "run completed: a")
    assert older["trailers"] == {"Kheish-Run": ["r1", "r2"], "Kheish-Events": ["1-1"]}
    assert [one["commit"] for one in await child.request("log", paths=[record])] == [first["commit"]]
    assert (await child.request("last"))["n"] == 2
    assert (await child.request("read", rev=first["commit"], path=record))["text"] == "session_id: a\nlast_n: 1\n"
    assert [one["name"] for one in await child.request("show_tree", rev="HEAD", path="sessions/2026-11-22")] == [
        "a",
        "b",
    ]
    assert len(await child.request("changed_since", commit=first["commit"])) == 2
    ids = await child.request("blob_id", path=record)
    assert ids["work"] == ids["head"] == roots.git(root, "rev-parse", f"HEAD:{record}")
    with pytest.raises(NotFound):
        await child.request("read", rev="nothing", path=record)
    with pytest.raises(NotFound):
        await child.request("read", rev="HEAD", path="sessions/none")


async def test_what_a_person_staged_stays_staged(root: Path, child: pipes.Child) -> None:
    (root / "notes.md").write_text("staged\n")
    roots.git(root, "add", "notes.md")
    await child.request("commit", **roots.cut(root, "a", 1))
    await clean(root, "A  notes.md")

    assert roots.git(root, "diff", "--cached", "--name-only") == "notes.md"


async def test_a_killed_worker_leaves_what_the_next_goes_on_with(root: Path, child: pipes.Child) -> None:
    for step in range(1, 1 + KILLS):
        journals = dict(roots.journal(root, f"s{step}-{number}", step) for number in range(60))
        cut = {"cut": {"n_from": step, "n_to": step}, "message": f"step {step}", "journals": journals}
        await child.request("head")
        asked = asyncio.create_task(child.request("commit", **cut))
        await asyncio.sleep(0.008 * (step % 6))  # a different moment in each round
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await asyncio.wait([asked])
        await child.respawn()
        answer = asked.result() if asked.exception() is None else await child.request("commit", **cut)
        assert answer["n_to"] == step

    await clean(root)
    assert list((root / ".git").rglob("*.lock")) == [root / ".git/kheish/worker.lock"]
    assert roots.git(root, "fsck", "--full", "--no-dangling") == ""
    subjects = roots.git(root, "log", "--format=%s").split("\n")
    assert subjects == [*(f"step {step}" for step in range(KILLS, 0, -1)), "new state root"]


async def test_half_moved_refs_are_finished_at_the_next_start(root: Path, child: pipes.Child) -> None:
    old = roots.git(root, "rev-parse", "HEAD")
    new = (await child.request("commit", **roots.cut(root, "a", 1)))["commit"]
    await child.close()
    roots.git(root, "update-ref", "refs/heads/main", old)
    (root / f".git/kheish/moving.{old}.{new}").touch()

    await child.start()

    assert await child.request("head") == {"commit": new, "last": new}
    await clean(root)


async def test_a_new_worker_waits_for_the_old_one(root: Path, child: pipes.Child) -> None:
    await child.request("head")
    second = roots.worker(root)
    await second.start()
    waiting = asyncio.create_task(second.request("head"))

    done, _ = await asyncio.wait([waiting], timeout=0.4)
    assert not done
    await child.close()

    assert (await waiting)["commit"]
    await second.close()


async def test_a_damaged_index_is_put_aside_and_made_again(root: Path, child: pipes.Child) -> None:
    await child.request("commit", **roots.cut(root, "a", 1))
    await clean(root)
    (root / ".git/index").write_bytes(b"rubbish")

    await child.request("commit", **roots.cut(root, "a", 2))
    assert await child.request("sync_index")
    await clean(root)

    (root / ".git/index").write_bytes(b"rubbish again")
    await child.respawn()
    await child.request("commit", **roots.cut(root, "b", 3))
    assert await child.request("sync_index")
    await clean(root)
    assert (root / ".git/kheish/index.damaged").exists()


async def test_a_branch_that_was_deleted_is_made_again_whole(root: Path, child: pipes.Child) -> None:
    await child.request("commit", **roots.cut(root, "a", 1))
    await clean(root)
    roots.git(root, "update-ref", "-d", "refs/heads/main")

    answer = await child.request("commit", **roots.cut(root, "a", 2))

    assert "format.yaml" in answer["put_back"]
    assert "last_n: 2" in roots.git(root, "show", "HEAD:sessions/2026-11-22/a/session.yaml")


def test_what_a_person_committed_meanwhile_is_not_taken_back_by_the_index(root: Path) -> None:
    """The daemon commits an edit; before the index has heard of it, a person commits the file as it was before."""
    worker = Worker(root)
    (root / "kheish.yaml").write_text("# edited\n")
    worker.commit(**roots.cut(root, "a", 1, edits=["kheish.yaml"]))
    roots.git(root, "commit", "-qm", "mine")
    assert roots.git(root, "show", "HEAD:kheish.yaml") != "# edited"

    assert worker.sync_index()

    assert roots.git(root, "diff", "--cached", "--name-only", "--", "kheish.yaml") == ""
