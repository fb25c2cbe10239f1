"""Files in folders of Definitions that look like one, and are not read: each has one problem, and nothing is silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.people import ECHO, desk

SKILL = "---\nname: x\ndescription: d\n---\nDo it.\n"
SCHEDULE = "every: 1d\nstart: {session: s, input: {content: hello}}\n"
#: a file that is not read, with words of its problem and what it should be
MISPLACED: tuple[tuple[str, str, str | None], ...] = (
    ("schedules/nightly", "ends in .yaml", "nightly.yaml"),
    ("schedules/sub/x.yaml", "sub-folder", "schedules/x.yaml"),
    ("schedules/a/b/c/x.yml", "sub-folder", "schedules/x.yaml"),
    ("schedules/dir.yaml/x", "is a folder", None),
    ("schedules/x.json", "ends in .yaml", "x.yaml"),
    ("schedules/x.yml", "not read", "x.yaml"),
    ("personas/reviewer", "ends in .md", "reviewer.md"),
    ("personas/reviewer.yaml", "ends in .md", "reviewer.md"),
    ("personas/team/reviewer.md", "sub-folder", "personas/reviewer.md"),
    ("routes/sub/x.yaml", "sub-folder", "routes/x.yaml"),
    ("channels/sub/x.yaml", "sub-folder", "channels/x.yaml"),
    ("projects/shop", "ends in .yaml", "shop.yaml"),
    ("mcp/sub/x.yaml", "sub-folder", "mcp/x.yaml"),
    ("skills/lower/skill.md", "name it SKILL.md", "SKILL.md"),
    ("skills/group/nested/SKILL.md", "sub-folder", "skills/nested"),
    ("skills/one.md", "a skill is a folder", "one/SKILL.md"),
    ("skills/My Skill/SKILL.md", "name the folder my-skill", "my-skill"),
    ("playbooks/group/nested/playbook.yaml", "sub-folder", "playbooks/nested"),
    ("playbooks/one/Playbook.yaml", "name it playbook.yaml", "playbook.yaml"),
)
#: files that belong to users: nothing is said about them
BESIDE = (
    "schedules/README.md", "schedules/notes.txt", "routes/notes.md", "personas/avatar.png", "mcp/server.py",
    "mcp/node_modules/a/package.json", "mcp/Makefile", "routes/LICENSE", "skills/README.md", "skills/ok/a/SKILL.md",
    "skills/ok/skill.md", "skills/ok/scripts/a.yaml", "schedules/.draft.yaml", "schedules/x.yaml~",
)  # fmt: skip


@pytest.mark.found("B7")
@pytest.mark.parametrize(("path", "words", "meant"), MISPLACED, ids=[path for path, _, _ in MISPLACED])
async def test_a_file_that_is_not_read_has_one_problem(
    tmp_path: Path, path: str, words: str, meant: str | None
) -> None:
    text = {"skills": SKILL, "routes": ECHO}.get(path.partition("/")[0], SCHEDULE)
    async with desk(tmp_path, {"routes/a.yaml": ECHO, path: text}) as d:  # from while no daemon ran
        (first,) = d.problems.list()
        assert (first["path"], first["suggestion"]) == (path, meant) and words in first["message"]
        await d.edit({path: None})
        assert d.problems.list() == []
        await d.edit({path: text})
        (again,) = d.problems.list()
        assert {**again, "since": ""} == {**first, "since": ""}


async def test_files_beside_definitions_are_the_users_own(tmp_path: Path) -> None:
    files = {"routes/a.yaml": ECHO, "skills/ok/SKILL.md": SKILL.replace("x", "ok"), **dict.fromkeys(BESIDE, "text\n")}
    async with desk(tmp_path, files) as d:
        assert d.problems.list() == []
        await d.edit({"skills/ok/SKILL.md": None})
        assert {one["path"] for one in d.problems.list()} == {"skills/ok/a/SKILL.md", "skills/ok/skill.md"}
        await d.edit({"skills/ok/SKILL.md": files["skills/ok/SKILL.md"]})
        assert d.problems.list() == []


async def test_a_skill_whose_name_differs_by_case_is_told_which_is_there(tmp_path: Path) -> None:
    async with desk(tmp_path, {"skills/good/SKILL.md": SKILL.replace("x", "good")}) as d:
        await d.edit({"skills/Good/SKILL.md": SKILL})
        (problem,) = d.problems.list()
        assert problem["path"] == "skills/Good/SKILL.md" and "'good' already" in problem["message"]
        assert problem["suggestion"] is None and list(d.state.definitions.by_kind["skills"]) == ["good"]


async def test_a_script_that_a_route_names_may_lie_in_a_sub_folder(tmp_path: Path) -> None:
    files = {
        "routes/a.yaml": "driver: scripted\nscript: talk/one.yaml\n",
        "routes/talk/one.yaml": "turns: [{text: x}]\n",
    }
    async with desk(tmp_path, files) as d:
        assert d.problems.list() == []


async def test_a_schedule_of_an_unknown_playbook_is_taken_with_a_warning(tmp_path: Path) -> None:
    schedule = "every: 1d\nstart:\n  flow: {playbook: triaje}\n"
    draft = (Path(__file__).parents[2] / "examples/playbooks/incident-triage/playbook.yaml").read_text()
    async with desk(tmp_path, {"schedules/a.yaml": schedule}) as d:
        (problem,) = d.problems.list()
        assert (problem["code"], problem["severity"], problem["line"]) == ("dangling_reference", "warning", 3)
        assert "triaje" in problem["message"] and "a" in d.state.definitions.by_kind["schedules"]
        await d.edit({"playbooks/triaje/playbook.yaml": draft})
        assert not any(one["path"] == "schedules/a.yaml" for one in d.problems.list())


async def test_a_persona_with_a_missing_skill_is_taken_with_a_warning(tmp_path: Path) -> None:
    persona = "---\ndefault_skills: [good, goof]\n---\nBe brief.\n"
    skill = SKILL.replace("x", "good")
    async with desk(tmp_path, {"skills/good/SKILL.md": skill, "personas/p.md": persona}) as d:
        (problem,) = d.problems.list()
        assert (problem["path"], problem["line"], problem["severity"]) == ("personas/p.md", 2, "warning")
        assert problem["suggestion"] == "good" and "workspace" in problem["message"]
        await d.edit({"kheish.yaml": "skills: {workspace: off}\n"})
        await d.edit({"personas/p.md": persona + "Be kind.\n"})
        assert "it is not loaded" in d.problems.list()[0]["message"]
        await d.edit({"skills/goof/SKILL.md": SKILL.replace("x", "goof")})
        assert d.problems.list() == []
