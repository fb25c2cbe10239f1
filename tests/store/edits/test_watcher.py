"""The watcher: whatever an editor does, one report with the final content; what is no change gives none."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kheish.store.edits.watcher import QUIET, Watcher
from tests.support import saving

FOLDERS = ("personas", "routes", "playbooks")


class Reports:
    """What the watcher told, in order; `next` waits for one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def next(self) -> frozenset[str]:
        return await asyncio.wait_for(self.queue.get(), 8)

    async def none_but(self, root: Path, marker: str) -> None:
        """Nothing is reported until a later change of `marker` is."""
        (root / marker).write_text("marker")
        assert await self.next() == {marker}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "personas").mkdir()
    (tmp_path / "routes").mkdir()
    (tmp_path / "personas" / "a.md").write_text("old")
    (tmp_path / "kheish.yaml").write_text("")
    return tmp_path


@pytest.fixture
async def reports(root: Path) -> AsyncIterator[Reports]:
    told = Reports()
    watcher = Watcher(root, FOLDERS, ["kheish.yaml"], told.queue.put_nowait, asyncio.get_running_loop())
    await watcher.start()
    assert watcher.mode == "events", watcher.reason
    yield told
    await watcher.stop()


FINAL = "new\nin three\nlines\n"


@pytest.mark.parametrize("save", saving.ALL.values(), ids=saving.ALL)
async def test_an_edit_is_reported_once(root: Path, reports: Reports, save: saving.Save) -> None:
    path = root / "personas" / "a.md"
    read = asyncio.get_running_loop().create_future()

    async def first() -> None:
        read.set_result((await reports.next(), path.read_text()))

    waiting = asyncio.create_task(first())
    await asyncio.to_thread(save, path, FINAL)
    assert await read == ({"personas/a.md"}, FINAL), "told when all of it is there"
    await waiting
    await reports.none_but(root, "kheish.yaml")


async def test_a_slow_writer_is_reported_when_it_closes(root: Path, reports: Reports) -> None:
    path = root / "routes" / "slow.yaml"
    with path.open("w") as file:
        for _ in range(2):
            file.write("part\n")
            file.flush()
            with pytest.raises(TimeoutError):  # more silence than the quiet time, but the file is open
                await asyncio.wait_for(reports.queue.get(), 0.6)
    assert await reports.next() == {"routes/slow.yaml"}
    await reports.none_but(root, "kheish.yaml")


async def test_what_is_no_change_is_not_reported(root: Path, reports: Reports) -> None:
    path = root / "personas" / "a.md"
    path.read_text()
    os.utime(path)
    path.chmod(0o600)
    path.write_text("old")  # the same content again
    for name in (".x", "x~", "x.tmp", "x.part", ".a.md.swp", "4913", "#x#"):
        (root / "personas" / name).write_text("scratch")
    (root / "unknown.txt").write_text("not watched")
    await reports.none_but(root, "kheish.yaml")


async def test_what_is_no_plain_file_is_reported_once_and_never_read(root: Path, reports: Reports) -> None:
    (root / "personas" / "link.md").symlink_to("a.md")
    os.mkfifo(root / "personas" / "pipe.md")
    with (root / "routes" / "huge.yaml").open("wb") as file:
        file.truncate(20 * 1024**3)

    assert await reports.next() == {"personas/link.md", "personas/pipe.md", "routes/huge.yaml"}
    await reports.none_but(root, "kheish.yaml")


async def test_what_changes_together_is_one_set(root: Path, reports: Reports) -> None:
    (root / "personas" / "a.md").rename(root / "personas" / "b.md")
    (root / "routes" / "r.yaml").write_text("driver: openai")
    assert await reports.next() == {"personas/a.md", "personas/b.md", "routes/r.yaml"}
    (root / "personas" / "b.md").unlink()
    assert await reports.next() == {"personas/b.md"}


async def test_new_folders_are_covered(root: Path, reports: Reports) -> None:
    triage = root / "playbooks" / "triage"  # neither was there at the start
    triage.mkdir(parents=True)
    (triage / "playbook.yaml").write_text("title: one")
    assert await reports.next() == {"playbooks/triage/playbook.yaml"}
    (triage / "playbook.yaml").write_text("title: two")
    assert await reports.next() == {"playbooks/triage/playbook.yaml"}
    os.rename(triage, root / "playbooks" / "other")
    moved = {"playbooks/triage/playbook.yaml", "playbooks/other/playbook.yaml"}
    assert await reports.next() == moved


async def test_a_replaced_folder_is_watched_again(root: Path, reports: Reports) -> None:
    (root / "personas").rename(root / "away")
    assert await reports.next() == {"personas/a.md"}
    (root / "personas").mkdir()
    (root / "personas" / "c.md").write_text("1")
    assert await reports.next() == {"personas/c.md"}
    (root / "personas" / "c.md").write_text("2")
    assert await reports.next() == {"personas/c.md"}


async def test_the_daemon_announces_its_own_writes(root: Path) -> None:
    told = Reports()
    watcher = Watcher(root, FOLDERS, ["kheish.yaml"], told.queue.put_nowait, asyncio.get_running_loop())
    await watcher.start()
    watcher.expect("personas/a.md", hashlib.sha256(b"mine").hexdigest())
    (root / "personas" / "a.md").write_bytes(b"mine")
    await told.none_but(root, "kheish.yaml")
    (root / "personas" / "a.md").write_bytes(b"a person's")
    assert await told.next() == {"personas/a.md"}
    watcher.expect("personas/a.md", None)
    (root / "personas" / "a.md").unlink()
    (root / "kheish.yaml").write_text("debug: off")
    assert await told.next() == {"kheish.yaml"}
    await watcher.stop()


async def test_refs_have_their_own_report(root: Path) -> None:
    heads = root / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main")
    told, refs = Reports(), Reports()
    loop = asyncio.get_running_loop()
    watcher = Watcher(root, FOLDERS, [], told.queue.put_nowait, loop, on_refs=refs.queue.put_nowait)
    await watcher.start()
    (root / ".git" / "index").write_text("no ref")
    (heads / "main.lock").write_text("1" * 40)
    (heads / "main.lock").rename(heads / "main")
    (root / ".git" / "refs" / "tags" / "playbook").mkdir(parents=True)
    (root / ".git" / "refs" / "tags" / "playbook" / "v1").write_text("2" * 40)
    seen = await refs.next()
    if len(seen) == 1:  # the new folder of tags may be found a look later
        seen |= await refs.next()
    assert seen == {".git/refs/heads/main", ".git/refs/tags/playbook/v1"}
    assert told.queue.empty()
    await watcher.stop()


@pytest.fixture
def quick_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the time that a file must be quiet where the watcher polls."""
    monkeypatch.setitem(QUIET, "polling", QUIET["polling"] / 10)


@pytest.mark.usefixtures("quick_polling")
async def test_polling_finds_the_same(root: Path) -> None:
    told = Reports()
    loop = asyncio.get_running_loop()
    watcher = Watcher(root, FOLDERS, ["kheish.yaml"], told.queue.put_nowait, loop, mode="polling")
    await watcher.start()
    assert watcher.mode == "polling"
    (root / "personas" / "a.md").write_text("new")
    (root / "kheish.yaml").unlink()
    await watcher.rescan()
    assert await told.next() == {"personas/a.md", "kheish.yaml"}
    await watcher.stop()
    await watcher.rescan()  # a stopped watcher answers at once


@pytest.mark.usefixtures("quick_polling")
async def test_without_events_it_says_so_and_polls(root: Path) -> None:
    import watchdog.observers  # noqa: F401  (an import needs descriptors too)

    told = Reports()
    watcher = Watcher(root, FOLDERS, [], told.queue.put_nowait, asyncio.get_running_loop())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no descriptor is free for inotify
    try:
        await watcher.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert watcher.mode == "polling"
    assert watcher.reason is not None and "Errno 24" in watcher.reason
    (root / "routes" / "r.yaml").write_text("driver: openai")
    assert "routes/r.yaml" in await told.next()
    await watcher.stop()


async def test_a_caller_that_does_not_wait_for_its_scan_stops_nothing(root: Path, reports: Reports) -> None:
    """A stop cancels requests in the middle of a scan; the thread goes on for the others."""
    watcher = Watcher(root, FOLDERS, ["kheish.yaml"], lambda _: None, asyncio.get_running_loop())
    await watcher.start()
    for _ in range(20):
        asking = asyncio.create_task(watcher.rescan())
        await asyncio.sleep(0)  # its message is under way
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await asyncio.wait_for(watcher.rescan(), 10)

    thread = watcher._thread
    assert thread is not None and thread.is_alive()
    await watcher.stop()
