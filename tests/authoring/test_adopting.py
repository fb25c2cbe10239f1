"""What people write takes effect as sets; what is wrong changes nothing, and is listed with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.auth import redaction
from kheish.domain.scripts import Script
from tests.daemon.people import ECHO, desk, opened

OPENAI = "driver: openai\nmodel: m\n"


async def test_three_mistakes_have_their_places_and_the_last_valid_version_stays(tmp_path: Path) -> None:
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        bad = "driver: opnai\nmodell: m\nmax_retries: many\n"
        assert await d.edit({"routes/a.yaml": bad}) == []

        found = [(one["line"], one["column"], one["suggestion"]) for one in d.problems.list()]
        assert found == [(1, 9, "openai"), (2, 1, "model"), (3, 14, None)]
        assert d.state.definitions.routes["a"].driver == "scripted"
        assert d.state.definitions.status(d.state.definitions.get("routes", "a"), {}, {})["state"] == "invalid"

        assert await d.edit({"routes/a.yaml": OPENAI}) == ["routes/a.yaml"]
        assert d.wrong() == [] and d.handed_on == ["routes/a.yaml"]
        assert d.state.definitions.routes["a"].driver == "openai"
        assert [(one.id, one.change, one.fields) for one in d.told] == [("a", "changed", ("driver", "model", "script"))]


async def test_the_same_content_again_is_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        await d.edit({"routes/a.yaml": ECHO})
        assert d.told == []


async def test_removing_what_others_refer_to_keeps_it_and_says_who(tmp_path: Path) -> None:
    async with desk(tmp_path, {"kheish.yaml": "default_route: a\n", "routes/a.yaml": ECHO, "routes/b.yaml": ECHO}) as d:
        assert await d.edit({"routes/a.yaml": None, "routes/b.yaml": None}) == ["routes/b.yaml"]
        assert d.routes() == {"a"}
        [problem] = d.problems.list()
        assert problem["code"] == "definition_referenced" and "kheish.yaml" in problem["message"]
        status = d.state.definitions.status(d.state.definitions.get("routes", "a"), {}, {})
        assert (status["state"], status["observed_digest"], status["bindings"]) == ("deleted", None, ["kheish.yaml"])

        # when nobody refers to it any more, the removal takes effect
        assert await d.edit({"kheish.yaml": "shutdown_grace: 2s\n"}) == ["kheish.yaml", "routes/a.yaml"]
        assert d.routes() == set() and d.wrong() == []


async def test_a_rename_and_its_reference_are_one_set(tmp_path: Path) -> None:
    async with desk(tmp_path, {"kheish.yaml": "default_route: a\n", "routes/a.yaml": ECHO}) as d:
        edited = {"kheish.yaml": "default_route: b\n", "routes/a.yaml": None, "routes/b.yaml": ECHO}
        assert await d.edit(edited) == sorted(edited)
        assert d.routes() == {"b"} and d.wrong() == []
        assert d.state.definitions.config.default_route == "b"
        assert {(one.path, one.change) for one in d.told} == {
            ("kheish.yaml", "changed"), ("routes/a.yaml", "removed"), ("routes/b.yaml", "added"),
        }  # fmt: skip


async def test_dangling_references_and_rounds_are_refused(tmp_path: Path) -> None:
    async with desk(tmp_path, {"routes/first.yaml": OPENAI, "routes/second.yaml": OPENAI}) as d:
        await d.edit({"kheish.yaml": "shutdown_grace: 2s\ndefault_route: frist\n"})
        assert d.wrong() == [("kheish.yaml", 2, 16, "dangling_reference")]
        assert d.problems.list()[0]["suggestion"] == "first"
        for name in ("a/b", "../first", "/etc/passwd", "first/"):  # names that no file can have
            await d.edit({"kheish.yaml": f"default_route: {name}\n"})
            assert d.wrong() == [("kheish.yaml", 1, 16, "dangling_reference")], name

        await d.edit({"kheish.yaml": "default_route: first\n"})
        round_ = {
            f"routes/{a}.yaml": f"{OPENAI}fallbacks: [{b}]\n" for a, b in (("first", "second"), ("second", "first"))
        }
        assert await d.edit(dict(round_)) == []
        assert d.wrong() == [
            ("routes/first.yaml", 3, 13, "reference_cycle"), ("routes/second.yaml", 3, 13, "reference_cycle"),
        ]  # fmt: skip
        assert d.state.definitions.routes["first"].fallbacks == ()


async def test_a_route_takes_its_script_from_a_file(tmp_path: Path) -> None:
    route, script = "driver: scripted\nscript: talk/one.yaml\n", "turns: [{text: hello}]\n"
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        await d.edit({"routes/a.yaml": route})
        assert d.wrong() == [("routes/a.yaml", 2, 9, "dangling_reference")]

        assert await d.edit({"routes/talk/one.yaml": script}) == ["routes/a.yaml", "routes/talk/one.yaml"]
        used = d.state.definitions.routes["a"].script
        assert isinstance(used, Script) and used.turns[0].text == "hello"
        assert d.state.definitions.get("routes", "a").value.script == "talk/one.yaml"

        await d.edit({"routes/talk/one.yaml": "turns: [{txt: hello}]\n"})
        assert ("routes/talk/one.yaml", 1, 10, "unknown_key") in d.wrong()
        assert d.state.definitions.routes["a"].script == used

        await d.edit({"routes/talk/one.yaml": "turns: [{text: bye}]\n"})
        assert d.wrong() == [] and d.told[-1].fields == ("script",)
        await d.edit({"routes/a.yaml": "driver: scripted\nscript: ../kheish.yaml\n"})
        assert d.wrong() == [("routes/a.yaml", 2, 9, "dangling_reference")]


async def test_names_that_are_no_ids(tmp_path: Path) -> None:
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        await d.edit(
            {"routes/A.yaml": ECHO, "routes/My Route.yaml": ECHO, "routes/x.yml": ECHO, "routes/README.md": "#"}
        )
        assert [(path, code) for path, _, _, code in d.wrong()] == [
            ("routes/A.yaml", "bad_name"), ("routes/My Route.yaml", "bad_name"), ("routes/x.yml", "bad_name"),
        ]  # fmt: skip
        assert d.routes() == {"a"} and "only by case" in d.problems.list()[0]["message"]


async def test_a_start_takes_up_what_was_edited_and_keeps_the_last_commit_of_what_is_wrong(tmp_path: Path) -> None:
    commits = {"routes/a.yaml": ECHO.encode(), "routes/b.yaml": ECHO.encode(), "routes/gone.yaml": ECHO.encode(),
               "routes/kept.yaml": ECHO.encode(), "kheish.yaml": b"default_route: kept\n"}  # fmt: skip
    for path, text in {"a": "driver: [\n", "b": OPENAI, "c": OPENAI}.items():
        (tmp_path / "routes").mkdir(exist_ok=True)
        (tmp_path / f"routes/{path}.yaml").write_text(text)
    (tmp_path / "kheish.yaml").write_text("default_route: kept\n")
    async with opened(tmp_path, commits) as d:
        assert d.routes() == {"a", "b", "c", "kept"}
        assert d.handed_on == ["routes/b.yaml", "routes/c.yaml", "routes/gone.yaml"]
        assert [(path, code) for path, _, _, code in d.wrong()] == [
            ("routes/a.yaml", "syntax"), ("routes/kept.yaml", "definition_referenced"),
        ]  # fmt: skip
        assert len(d.told) == 3
        await d.state.durable()
    async with opened(tmp_path, commits) as again:  # the commit was not made yet: told once, handed on again
        assert again.told == [] and again.handed_on == ["routes/b.yaml", "routes/c.yaml", "routes/gone.yaml"]


async def test_the_environment_wins_and_late_settings_warn(tmp_path: Path) -> None:
    async with desk(tmp_path, {"kheish.yaml": ""}, {"KHEISH_MEMORY__RUN_RECORDS": "off"}) as d:
        await d.edit(
            {"kheish.yaml": "retention: {idempotency: 8d}\nbind: 127.0.0.1:9\nmemory: true\nconcurrency: {runs: 3}\n"}
        )
        config = d.state.definitions.config
        assert (config.memory.run_records, config.concurrency.runs) == ("off", 3)
        late = ("kheish.yaml", 2, 7, "takes_effect_at_start")
        assert d.wrong() == [("kheish.yaml", 1, 13, "not_in_this_version"), late]
        assert {one["severity"] for one in d.problems.list()} == {"warning"}


async def test_manual_leaves_committing_to_the_person(tmp_path: Path) -> None:
    async with desk(tmp_path, {"kheish.yaml": "edits: {commit: manual}\n"}) as d:
        await d.edit({"routes/a.yaml": ECHO})
        assert d.routes() == {"a"} and d.handed_on == []


@pytest.mark.found("B6")
async def test_a_link_is_no_definition(tmp_path: Path) -> None:
    async with desk(tmp_path / "root", {"routes/a.yaml": ECHO}) as d:
        (tmp_path / "outside.yaml").write_text(ECHO)
        (d.root / "routes/b.yaml").symlink_to(tmp_path / "outside.yaml")
        await d.adopting.take(frozenset({"routes/b.yaml"}))
        assert d.routes() == {"a"} and d.wrong() == [("routes/b.yaml", None, None, "unreadable")]


async def test_a_file_that_holds_a_secret_is_not_taken_and_not_committed_and_its_place_is_told(tmp_path: Path) -> None:
    script = "driver: scripted\nscript: texts/a.yaml\n"
    files = {"routes/a.yaml": OPENAI, "routes/b.yaml": script, "routes/texts/a.yaml": "turns: [{text: hi}]\n"}
    async with desk(tmp_path, files) as d:
        d.state.scrub = redaction.scrubber({"openai.prod": "sk-0123456789"})
        pasted = {
            "routes/a.yaml": OPENAI + "api_base: https://x.example/?k=sk-0123456789\n",
            "routes/new.yaml": "# sk-0123456789\n" + ECHO,
            "routes/texts/a.yaml": "turns:\n- text: say sk-0123456789\n",
        }
        assert await d.edit(pasted) == [] and d.handed_on == []
        places = [("routes/a.yaml", 3, 32), ("routes/new.yaml", 1, 3), ("routes/texts/a.yaml", 2, 13)]
        assert [one for one in d.wrong() if one[3] == "secret_in_file"] == [(*at, "secret_in_file") for at in places]
        assert d.routes() == {"a", "b"} and d.state.definitions.routes["a"].api_base is None
        assert "sk-0123456789" not in str(d.problems.list())

        await d.edit({"routes/a.yaml": OPENAI, "routes/new.yaml": ECHO, "routes/texts/a.yaml": "turns: [{text: ho}]\n"})
        assert d.wrong() == [] and d.routes() == {"a", "b", "new"}
