"""Schemas: the same bytes for the same model, only what changed is written, drift is found."""

from __future__ import annotations

import json
from pathlib import Path

from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter

from kheish.config import Config
from kheish.domain.personas import Persona
from kheish.store.log.schema import drift, write_schemas

MODELS: dict[str, type[BaseModel] | TypeAdapter[object]] = {
    "kheish": Config,
    "persona": Persona,
    "numbers": TypeAdapter(list[int]),
}


def test_schemas_are_written_once_and_are_valid(tmp_path: Path) -> None:
    assert write_schemas(MODELS, tmp_path) == ["kheish", "numbers", "persona"]
    assert write_schemas(MODELS, tmp_path) == []
    for name in MODELS:
        schema = json.loads((tmp_path / f"{name}.schema.json").read_text())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"{name}.schema.json" and schema["title"]
        Draft202012Validator.check_schema(schema)


def test_defaults_fit_their_own_schema(tmp_path: Path) -> None:
    write_schemas(MODELS, tmp_path)
    schema = json.loads((tmp_path / "kheish.schema.json").read_text())
    Draft202012Validator(schema).validate(Config().model_dump())
    assert schema["properties"]["shutdown_grace"]["default"] == "10s"


def test_drift_names_what_is_missing_changed_or_left_over(tmp_path: Path) -> None:
    write_schemas(MODELS, tmp_path)
    (tmp_path / "persona.schema.json").write_text("{}")
    (tmp_path / "numbers.schema.json").unlink()
    (tmp_path / "gone.schema.json").write_text("{}")
    assert drift(MODELS, tmp_path) == ["gone", "numbers", "persona"]
    assert write_schemas(MODELS, tmp_path) == ["gone", "numbers", "persona"]
    assert drift(MODELS, tmp_path) == [] and not (tmp_path / "gone.schema.json").exists()
