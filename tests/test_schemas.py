"""Schemas are generated: what lies in the tree is what the models say, and real files fit them."""

from __future__ import annotations

from pathlib import Path

import orjson
from jsonschema import Draft202012Validator

from kheish.domain import events
from kheish.generate import schemas
from kheish.state import encoding
from kheish.store.log.schema import drift

FOLDER = Path(__file__).parent.parent / "schemas"


def test_the_schemas_in_the_tree_are_those_of_the_models() -> None:
    assert drift(schemas.models(), FOLDER) == [], "run: make schemas"


def test_a_journal_line_fits_its_schema() -> None:
    draft = events.RunCompleted(output="done").on("fix-it", "run_1")
    line = encoding.encode(draft, 1, 1, "2026-11-22T12:00:00.123456Z", "sessions/2026-11-22/fix-it/journal", bytes)
    schema = orjson.loads((FOLDER / "journal-entry.schema.json").read_bytes())
    Draft202012Validator(schema).validate(orjson.loads(line.line))


def test_a_line_with_a_foreign_key_does_not_fit() -> None:
    schema = orjson.loads((FOLDER / "journal-entry.schema.json").read_bytes())
    line = {"v": 1, "n": 1, "seq": 1, "at": "x", "kind": "run.completed", "session": "s", "run": "r", "actor": "a"}
    assert not Draft202012Validator(schema).is_valid({**line, "data": {"output": "x"}, "extra": 1})
