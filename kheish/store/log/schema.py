"""JSON Schemas of all files, generated from the models, for editors, documentation and a drift test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from kheish.store.files import atomic_write

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SUFFIX = ".schema.json"

Model = type[BaseModel] | TypeAdapter[Any]


def render(name: str, model: Model) -> bytes:
    """Return the schema as the content of `<name>.schema.json`: the same bytes for the same model."""
    if isinstance(model, TypeAdapter):
        schema = model.json_schema(mode="validation")
    else:
        schema = model.model_json_schema(mode="validation")
    schema = {"title": name, **schema, "$schema": DIALECT, "$id": name + SUFFIX}
    return (json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def drift(models: Mapping[str, Model], folder: Path) -> list[str]:
    """Return the names whose file in `folder` is missing, outdated, or without a model."""
    files = {path.name.removesuffix(SUFFIX): path for path in folder.glob("*" + SUFFIX)}
    stale = files.keys() - models.keys()
    wrong = {
        name for name, model in models.items() if name not in files or files[name].read_bytes() != render(name, model)
    }
    return sorted(stale | wrong)


def write_schemas(models: Mapping[str, Model], folder: Path) -> list[str]:
    """Update `folder` to match the models; return the names of the written and removed files. Raises OSError."""
    changed = drift(models, folder)
    for name in changed:
        path = folder / (name + SUFFIX)
        if name in models:
            atomic_write(path, render(name, models[name]), fsync=False)
        else:
            path.unlink()
    return changed
