"""Folders of skills that anybody may have written: nothing leads out of them, and nothing in them costs much."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kheish.beneath import NOTHING, Door
from kheish.runtime.skills import copies, scanning
from kheish.runtime.skills.catalog import Listing
from kheish.runtime.skills.copies import Copies
from tests.runtime.harness import Live, call, living
from tests.runtime.skills.test_use import front, put, texts, write


async def listing(it: Live) -> Listing:
    assert it.agent.skills is not None
    return await it.agent.skills.list_for(str(it.workspace))


async def test_what_is_no_plain_file_is_no_skill(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        place = it.workspace / ".claude/skills"
        write(place, "good")
        (place / "pipe").mkdir()
        os.mkfifo(place / "pipe/SKILL.md")
        (place / "folder/SKILL.md").mkdir(parents=True)
        (place / "out").mkdir()
        (place / "out/SKILL.md").symlink_to("/etc/passwd")
        (place / "etc").symlink_to("/etc")
        (place / "state").symlink_to(it.root)
        (place / "loop").symlink_to(place)
        (place / "odd").mkdir()
        (place / "odd/SKILL.md").write_bytes(b"\xff\xfe\x00")
        (place / os.fsdecode(b"caf\xe9")).mkdir()
        (place / os.fsdecode(b"caf\xe9") / "SKILL.md").write_text(front("cafe"))
        write(it.workspace / "real", "linked")
        (place / "linked").symlink_to("../../real/linked")
        (it.workspace / ".agents").symlink_to(".claude")  # as many repositories have it
        found = await listing(it)
        assert found.skills.keys() == {"good", "caf-xe9", "linked"} and not found.shadowed
        assert {problem.code for problem in found.problems} >= {"unreadable", "missing"}
        it.script(call("use_skill", name="caf-xe9"), {"text": "done"})
        await it.ask()
        assert "Do it." in texts(it)


async def test_a_linked_skill_has_the_name_of_its_link_and_follows_it(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        place = it.workspace / ".agents/skills"
        place.mkdir(parents=True)
        for version in ("v1", "v2"):
            write(it.workspace / f"store/{version}", "cur", front("cur", when_to_use=f"It is {version}."))
        (it.workspace / "store/current").symlink_to("v1")
        (place / "now").symlink_to("../../store/current/cur")
        (place / "later").symlink_to("../../missing")
        (found,) = (await listing(it)).skills.values()
        assert (found.name, found.dir, found.skill.when_to_use) == ("now", ".agents/skills/now", "It is v1.")
        os.utime(it.workspace / "store/v1/cur/SKILL.md", (1, 1))  # nothing is fresh, so that the search is kept
        (it.workspace / "store/current").unlink()
        (it.workspace / "store/current").symlink_to("v2")
        assert (await listing(it)).skills["now"].skill.when_to_use == "It is v2."
        write(it.workspace, "missing", front("missing"))
        assert (await listing(it)).skills.keys() == {"now", "later"}
        it.script(call("use_skill", name="now"), {"text": "done"})
        await it.ask()
        assert "from .agents/skills/now of the workspace" in texts(it)


async def test_the_exact_name_comes_before_one_that_only_becomes_it(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        for folder in ("Good", "good"):
            write(it.workspace / "skills", folder, front(folder, when_to_use=f"It is {folder}."))
        found = await listing(it)
        assert found.skills["good"].dir == "skills/good"
        (shadowed,) = found.shadowed
        assert (shadowed.dir, shadowed.shadowed_by) == ("skills/Good", "skills/good")


async def test_a_huge_file_and_many_files_cost_little(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        place = write(it.workspace / "skills", "big")
        with (place / "sparse.bin").open("wb") as file:
            file.truncate(1 << 30)
        (place / "data").mkdir()
        for number in range(3000):
            (place / f"data/{number}").touch()
        with write(it.workspace / "skills", "sparse").joinpath("SKILL.md").open("r+b") as file:
            file.truncate(1 << 30)
        began = time.process_time()
        found = await listing(it)
        assert found.skills.keys() == {"big", "sparse"}
        it.script(call("use_skill", name="big"), {"text": "done"})
        run = await it.ask()
        assert str(run.output) == "done" and time.process_time() - began < 20.0
        assert "Left out: sparse.bin" in texts(it) and "more than 2000 files" in texts(it)
        put(it, "own")
        (it.root / "skills/own/sparse.bin").touch()
        os.truncate(it.root / "skills/own/sparse.bin", 1 << 30)
        assert it.agent.skills is not None
        assert not (await it.agent.skills.read((await listing(it)).skills["own"])).is_whole


def test_a_search_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        write(tmp_path / "skills", f"s{number:02d}")
    deep = tmp_path / "skills/1/2/3/4/5"
    write(deep, "six")
    write(deep / "6", "seven")
    door = Door(tmp_path / "skills", NOTHING)
    assert {one.path for one in scanning.folder(door, scanning.Cache()).seen} >= {"s29", "1/2/3/4/5/six"}
    assert not [one for one in scanning.folder(door, scanning.Cache()).seen if one.path.endswith("seven")]
    monkeypatch.setattr(
        scanning._Budget, "__init__", lambda self: (setattr(self, "folders", 10), setattr(self, "entries", 99))[0]
    )
    scan = scanning.folder(door, scanning.Cache())
    assert len(scan.seen) < 10 and [problem.code for problem in scan.problems] == ["too_many"]


def test_an_unchanged_file_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "skills", "pdf") / "SKILL.md"
    os.utime(file, (1, 1))
    time.sleep(2 * scanning._RACY)
    door, cache = Door(tmp_path / "skills", NOTHING), scanning.Cache()
    first = scanning.folder(door, cache).seen
    assert scanning.folder(door, cache).seen[0] is first[0]
    file.write_text(front("pdf", "Other."))
    assert scanning.folder(door, cache).seen[0] is not first[0]


def test_a_copy_has_the_plain_files_and_nothing_else(tmp_path: Path) -> None:
    place = write(tmp_path, "pdf", **{"run.sh": "echo"})
    (place / "run.sh").chmod(0o755)
    (place / "link").symlink_to("/etc/passwd")
    (place / ".env").write_text("x")
    (place / "sub").mkdir()
    (place / "sub/a").write_text("a")
    store = Copies(tmp_path / "copies")
    content = store.make(Door(place, NOTHING))
    assert [one.path for one in content.files] == [".env", "SKILL.md", "run.sh", "sub/a"]
    assert content.left_out == ("link: is no plain file",)
    copy = store.place(content.digest)
    assert (copy / "run.sh").stat().st_mode & 0o777 == 0o555 and not (copy / "link").exists()
    assert store.make(Door(place, NOTHING)).digest == content.digest == copies.read(Door(place, NOTHING)).digest
    (place / "run.sh").chmod(0o644)  # no program any more
    assert store.make(Door(place, NOTHING)).digest != content.digest
    os.utime(copy, (1, 1))
    store.prune()
    assert not store.is_there(content.digest) and len(list((tmp_path / "copies").iterdir())) == 1
