"""`docs/reference/` says what the code says: `python -m kheish.generate.reference` writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kheish import config, errors
from kheish.api.operations import OPERATIONS
from kheish.domain import events
from kheish.generate import reference
from kheish.offline import model_fields


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


def test_that_the_pages_are_as_the_code_has_it(pages: dict[str, str]) -> None:
    there = {path.name: path.read_text() for path in reference.FOLDER.glob("*.md")}
    old = [name for name in {*pages, *there} if pages.get(name) != there.get(name)]
    assert not old, f"run: python -m kheish.generate.reference ({', '.join(old)})"


@pytest.mark.found("C6")
def test_that_nothing_is_left_out(pages: dict[str, str]) -> None:
    assert all(f"`{one.method} {one.path}`" in pages["api.md"] for one in OPERATIONS)
    assert all(f"## {kind}\n" in pages["events.md"] for kind in events.kinds())
    assert all(f"`{name}`" in pages["configuration.md"] for name in config.environment_names())
    assert f"`{errors.RunStateConflict.code}` | 409 | 4 | runs" in pages["errors.md"]
    heads = re.findall(r"^## kheish (\w+)", pages["cli.md"], re.MULTILINE)
    assert {"init", "serve", "run", "approvals", "doctor"} <= set(heads)


def test_that_main_writes_what_changed_and_only_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference.main(tmp_path)
    (tmp_path / "cli.md").write_text("old")
    capsys.readouterr()
    reference.main(tmp_path)
    assert capsys.readouterr().out == "cli.md is written.\n"


def test_that_a_schema_of_others_gives_rows_whatever_it_holds() -> None:
    """A tool may come with any JSON Schema: one within itself, with true for a type, or with odd references."""
    node = {"properties": {"child": {"$ref": "#/$defs/Node"}, "many": {"type": "array", "items": True}}}
    fields = {
        "node": {"$ref": "#/$defs/Node"},
        "anything": True,
        "list": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        "either": {"anyOf": [True, {"$ref": "#/definitions/Gone"}]},
    }
    rows = list(model_fields.schema_rows({"properties": fields, "required": ["node"], "$defs": {"Node": node}}))
    assert [".".join(row.path) for row in rows] == [
        "node.child", "node.many", "anything", "list", "list[].child", "list[].many", "either",
    ]  # fmt: skip
    assert [row.type for row in rows[:3]] == ["mapping", "list", "anything"]
