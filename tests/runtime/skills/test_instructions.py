"""Project instructions: one file of each folder, from the top of the repository down to the workspace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kheish.domain.permissions.rules import PermissionsFile
from kheish.runtime.project import folders, instructions
from kheish.runtime.project.instructions import Instructions
from tests.runtime.harness import Live, living


async def read(it: Live, workspace: Path | None = None) -> Instructions | None:
    it.agent.stopping.set()
    session = f"s{len(it.state.sessions)}"
    it.session(session, workspace=workspace or it.workspace)
    return await instructions.read(it.state, it.submit_run(session_id=session))


async def test_each_folder_has_one_file_and_the_nearest_comes_last(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        near = it.workspace / "a/b"
        near.mkdir(parents=True)
        (it.workspace / ".git").mkdir()
        (tmp_path / "AGENTS.md").write_text("Outside of the repository.")
        (it.workspace / "AGENTS.md").write_text("Top.")
        (it.workspace / "CLAUDE.md").write_text("Not this one.")
        (it.workspace / "a/CLAUDE.md").write_text("Between.")
        (near / "AGENTS.override.md").write_text("Near.")
        (near / "AGENTS.md").write_text("Not that one.")
        found = await read(it, near)
        assert found is not None and found.paths == ("../../AGENTS.md", "../CLAUDE.md", "AGENTS.override.md")
        assert found.text == (
            "From ../../AGENTS.md:\n\nTop.\n\nFrom ../CLAUDE.md:\n\nBetween.\n\nFrom AGENTS.override.md:\n\nNear."
        )
        alone = await read(it)
        assert alone == Instructions("Top.", ("AGENTS.md",))


async def test_without_a_repository_only_the_workspace_counts(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        (it.workspace / "a").mkdir()
        (it.workspace / "AGENTS.md").write_text("Top.")
        assert await read(it, it.workspace / "a") is None


async def test_all_files_have_32_kib_and_the_nearest_has_room_first(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        near = it.workspace / "a"
        near.mkdir()
        (it.workspace / ".git").mkdir()
        (it.workspace / "AGENTS.md").write_text("t" * 30_000)
        (near / "AGENTS.md").write_text("n" * 20_000)
        found = await read(it, near)
        assert found is not None and "n" * 20_000 in found.text
        assert found.text.count("t") < 32 * 1024 - 20_000 + 100 and "left out" in found.text
        (near / "AGENTS.md").write_text("n" * 50_000)
        found = await read(it, near)
        assert found is not None and found.paths == ("AGENTS.md",) and len(found.text) < 33 * 1024


async def test_a_file_that_has_no_room_at_all_is_named_with_a_note(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        near = it.workspace / "a"
        near.mkdir()
        (it.workspace / ".git").mkdir()
        (it.workspace / "AGENTS.md").write_text("Use tabs.")
        (near / "AGENTS.md").write_text("n" * 32 * 1024)
        found = await read(it, near)
        assert found is not None and found.paths == ("../AGENTS.md", "AGENTS.md")
        assert found.text.startswith("From ../AGENTS.md:\n\n[… the rest is left out") and "tabs" not in found.text
        assert found.text.endswith("From AGENTS.md:\n\n" + "n" * 32 * 1024)


async def test_links_and_odd_files_above_are_treated_as_in_the_workspace(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        near = it.workspace / "a"
        near.mkdir()
        (it.workspace / ".git").mkdir()
        (it.workspace / "docs").mkdir()
        (it.workspace / "docs/x.md").write_text("Linked.")
        (it.workspace / "AGENTS.md").symlink_to("docs/x.md")
        os.mkfifo(near / "AGENTS.override.md")
        (near / "AGENTS.md").symlink_to("/etc/passwd")
        (near / "CLAUDE.md").symlink_to("../docs/x.md")  # out of the workspace, in the repository
        found = await read(it, near)
        assert found is not None and found.text.count("Linked.") == 2


@pytest.mark.parametrize("match", ["AGENTS.md", "**/AGENTS.md", "*"])
async def test_a_rule_that_denies_reading_applies_in_each_folder(tmp_path: Path, match: str) -> None:
    async with living(tmp_path) as it:
        near = it.workspace / "a"
        near.mkdir()
        (it.workspace / ".git").mkdir()
        (it.workspace / "AGENTS.md").write_text("Top.")
        (near / "AGENTS.md").write_text("Near.")
        rules = [{"tool": "read_file", "match": match, "decision": "deny"}]
        it.state.definitions.permissions = PermissionsFile.model_validate({"rules": rules})
        assert await read(it, near) is None


def test_a_repository_of_somebody_else_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a"
    inner.mkdir()
    (tmp_path / ".git").mkdir()
    assert folders._top(inner) == tmp_path
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    stat = os.lstat

    class Foreign:
        st_uid = 4712

    monkeypatch.setattr(os, "lstat", lambda path: Foreign() if str(path).endswith("/.git") else stat(path))
    assert folders._top(inner) is None


async def test_a_link_does_not_reach_gits_own_files(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        near = it.workspace / "sub"
        near.mkdir()
        (it.workspace / ".git").mkdir()
        (it.workspace / ".git/config").write_text("url = https://user:ghp_secret@host")
        (it.workspace / "AGENTS.md").write_text("Top.")
        (near / "AGENTS.md").symlink_to("../.git/config")
        found = await read(it, near)
        assert found is not None and "Top." in found.text and "ghp_secret" not in found.text
