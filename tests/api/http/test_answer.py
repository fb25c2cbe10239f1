"""Models of what callers get, made from the views of the domain."""

from __future__ import annotations

import orjson
import pytest
from pydantic import ValidationError

from kheish.api.http.answer import model_of, name_of
from kheish.domain.events import frozen
from kheish.domain.shown import View
from kheish.state.event import Arguments, Spilled, Text


@frozen
class PartView(View):
    """A part."""

    text: Text
    """What it says."""
    later: int = 0
    """Missing in documents of earlier versions."""


@frozen
class WholeView(View):
    """All of it."""

    parts: tuple[PartView, ...]
    first: PartView | None
    arguments: Arguments


def test_a_view_is_described_under_its_own_name_with_the_text_of_its_fields() -> None:
    schema = model_of(WholeView).model_json_schema(mode="serialization")

    assert (name_of(WholeView), schema["title"], schema["description"]) == ("Whole", "Whole", "All of it.")
    assert schema["required"] == ["parts", "first", "arguments"]
    part = schema["$defs"]["Part"]
    assert part["properties"]["text"] == {"description": "What it says.", "title": "Text", "type": "string"}
    assert part["required"] == ["text"], "a field with a default may be missing"


def test_payloads_are_whole_for_callers_though_a_view_may_hold_a_reference() -> None:
    kept = PartView(text=Spilled(sha256="a" * 64, bytes=20_000, preview="b"))
    view = WholeView(parts=(kept,), first=None, arguments={"a": 1})

    document = orjson.loads(orjson.dumps(view))

    assert list(document) == ["parts", "first", "arguments"]
    with pytest.raises(ValidationError):
        model_of(WholeView).model_validate(document)
    document["parts"][0]["text"] = "b" * 20_000
    assert model_of(WholeView).model_validate(document).model_dump(mode="json") == document
