"""Definitions that callers put: checked, written, and in force before the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kheish.authoring.editor import Editor
from kheish.errors import DefinitionReferenced, InvalidDefinition, NotFound, PreconditionFailed
from kheish.store.edits.watcher import Watcher
from kheish.store.files import blob_id
from tests.daemon.people import ECHO, Desk, desk

YAML, JSON = "application/yaml", "application/json"
RAW = b"# mine\ndriver: scripted\nscript: {echo: true}  # says it\n"


def editor(d: Desk, seen: list[frozenset[str]] | None = None) -> tuple[Editor, Watcher]:
    told = (seen if seen is not None else []).append
    watcher = Watcher(d.root, ("routes", "personas"), ("kheish.yaml",), told, asyncio.get_running_loop())
    return Editor(d.state, d.adopting, watcher), watcher


async def test_put_is_in_force_at_once_byte_for_byte_and_no_edit_of_a_person(tmp_path: Path) -> None:
    seen: list[frozenset[str]] = []
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        edit, watcher = editor(d, seen)
        await watcher.start()
        assert await edit.put("routes", "b", RAW, YAML, if_match=None, by="token:x") is True
        assert await edit.put("routes", "b", RAW + b"\n", YAML, if_match=blob_id(RAW), by="token:x") is False
        assert (d.root / "routes/b.yaml").read_bytes() == RAW + b"\n"
        assert d.state.definitions.get("routes", "b").raw == RAW + b"\n" and d.state.durable_n == d.state.n
        assert [one.change for one in d.told] == ["added", "changed"] and set(d.handed_on) == {"routes/b.yaml"}

        d.write("routes/c.yaml", ECHO)  # a person's: only this is reported
        async with asyncio.timeout(10):
            while not seen:  # noqa: ASYNC110 - the watcher calls back
                await asyncio.sleep(0.01)
        await watcher.stop()
        assert seen == [frozenset({"routes/c.yaml"})]


async def test_json_becomes_yaml_without_what_is_the_default_anyway(tmp_path: Path) -> None:
    async with desk(tmp_path, {}) as d:
        edit, _ = editor(d)
        body = b'{"driver": "openai", "model": "1.10", "max_retries": 4, "api_base": null, "timeout": "5s"}'
        await edit.put("routes", "a", body, JSON, if_match=None, by="x")
        await edit.put("personas", "p", b'{"display_name": "Pat", "body": "Be brief."}', JSON, if_match=None, by="x")
        assert (d.root / "routes/a.yaml").read_text() == "driver: openai\nmodel: '1.10'\ntimeout: 5s\n"
        assert (d.root / "personas/p.md").read_text() == "---\ndisplay_name: Pat\n---\nBe brief.\n"
        assert d.state.definitions.routes["a"].model == "1.10"


async def test_what_is_wrong_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    async with desk(tmp_path, {}) as d:
        edit, _ = editor(d)
        for raw, media in (
            (b"driver: openai\nmodell: x\n", YAML),
            (b'{"driver": "nope"}', JSON),
            (b"turns: [{text: x}]\n", YAML),
            (b"driver: openai\nmodel: m\nfallbacks: [b]\n", YAML),
        ):
            with pytest.raises(InvalidDefinition) as caught:
                await edit.put("routes", "a", raw, media, if_match=None, by="x")
            assert caught.value.extra["problems"]
        assert not (d.root / "routes").exists() and d.routes() == set() and d.wrong() == []


async def test_if_match_guards_what_lies_there_even_where_it_is_wrong(tmp_path: Path) -> None:
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        edit, _ = editor(d)
        await d.edit({"routes/a.yaml": "driver: [half an edit\n"})
        for etag in (blob_id(ECHO.encode()), "0" * 40):
            with pytest.raises(PreconditionFailed) as caught:
                await edit.put("routes", "a", RAW, YAML, if_match=etag, by="x")
            assert caught.value.extra["etag"] == blob_id(b"driver: [half an edit\n")
        with pytest.raises(PreconditionFailed):
            await edit.put("routes", "new", RAW, YAML, if_match="*", by="x")
        await edit.put("routes", "a", RAW, YAML, if_match="*", by="x")
        assert d.wrong() == [] and d.state.definitions.get("routes", "a").raw == RAW


async def test_delete_asks_who_refers(tmp_path: Path) -> None:
    async with desk(tmp_path, {"kheish.yaml": "default_route: a\n", "routes/a.yaml": ECHO, "routes/b.yaml": ECHO}) as d:
        edit, _ = editor(d)
        with pytest.raises(DefinitionReferenced) as caught:
            await edit.delete("routes", "a", if_match=None, by="x")
        assert caught.value.extra["referenced_by"] == ["kheish.yaml"]
        with pytest.raises(PreconditionFailed):
            await edit.delete("routes", "b", if_match="0" * 40, by="x")
        await edit.delete("routes", "b", if_match=blob_id(ECHO.encode()), by="x")
        with pytest.raises(NotFound):
            await edit.delete("routes", "b", if_match=None, by="x")
        assert d.routes() == {"a"} and (d.root / "routes/a.yaml").exists() and not (d.root / "routes/b.yaml").exists()


async def test_validate_says_what_would_be_wrong_and_changes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        edit, _ = editor(d)
        raw = b"driver: openai\nmodel: m\nfallbacks: [a, b]\n"
        found = await edit.validate("routes", "a", raw, YAML)
        assert [(one["line"], one["column"], one["code"]) for one in found] == [
            (3, 13, "reference_cycle"), (3, 16, "dangling_reference"),
        ]  # fmt: skip
        assert await edit.validate("routes", None, RAW, YAML) == []
        assert d.routes() == {"a"} and d.told == [] and d.wrong() == []


async def test_a_save_between_the_precondition_and_the_write_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = ECHO + "# saved by a person\n"
    async with desk(tmp_path, {"routes/a.yaml": ECHO}) as d:
        edit, _ = editor(d)
        check = d.adopting.check

        async def saved_meanwhile(*given: Any) -> Any:
            outcome = await check(*given)
            d.write("routes/a.yaml", theirs)
            return outcome

        monkeypatch.setattr(d.adopting, "check", saved_meanwhile)
        etag = blob_id(ECHO.encode())
        for act in (
            lambda: edit.put("routes", "a", RAW, YAML, if_match=etag, by="x"),
            lambda: edit.delete("routes", "a", if_match=etag, by="x"),
        ):
            d.write("routes/a.yaml", ECHO)
            with pytest.raises(PreconditionFailed) as refused:
                await act()
            assert refused.value.extra["etag"] == blob_id(theirs.encode())
            assert (d.root / "routes/a.yaml").read_text() == theirs
            assert d.state.definitions.get("routes", "a").raw == ECHO.encode()
        d.write("routes/a.yaml", ECHO)
        await edit.put("routes", "a", RAW, YAML, if_match=None, by="x")
        assert (d.root / "routes/a.yaml").read_bytes() == RAW
