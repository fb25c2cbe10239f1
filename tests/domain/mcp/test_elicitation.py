"""What servers ask, as questions, and the answers in their form."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.mcp import elicitation
from kheish.domain.mcp.elicitation import Asked, Unsupported


def form(required: tuple[str, ...] = (), **fields: Any) -> Asked:
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return Asked(at=0, key="k", params={"message": "Please.", "requestedSchema": schema})


def test_each_kind_of_field_is_an_item_with_its_choices() -> None:
    asked = form(
        ("name",),
        name={"type": "string", "title": "Name", "minLength": 2},
        age={"type": "integer", "maximum": 120},
        colour={"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}]},
        sizes={"type": "array", "items": {"enum": ["s", "m"]}},
        sure={"type": "boolean"},
    )
    name, age, colour, sizes, sure = elicitation.items("shop", asked)
    assert name.text.startswith("The MCP server shop asks: Please.") and name.free_text and not name.options
    assert age.free_text and [one.id for one in age.options] == ["-"]
    assert [one.label for one in colour.options] == ["Red", "Blue", "Leave it out"]
    assert sizes.multi_select and sure.id == "1.sure"
    answers = {
        "1.name": {"text": "Ann"}, "1.age": {"selected": ["-"]}, "1.colour": {"selected": ["1"]},
        "1.sizes": {"selected": ["0", "1"]}, "1.sure": {"selected": ["1"]},
    }  # fmt: skip
    content = {"name": "Ann", "colour": "b", "sizes": ["s", "m"], "sure": False}
    assert elicitation.result(asked, answers) == {"action": "accept", "content": content}


def test_what_a_server_suggests_is_shown_and_holds_without_an_answer() -> None:
    sizes = [{"const": "s", "title": "Small"}, {"const": "m", "title": "Medium"}]
    fields: dict[str, tuple[dict[str, Any], Any, str]] = {
        "name": ({"type": "string"}, "John", "John"),
        "age": ({"type": "integer", "minimum": 1}, 30, "30"),
        "score": ({"type": "number"}, 0, "0"),
        "sure": ({"type": "boolean"}, False, "No"),
        "size": ({"type": "string", "oneOf": sizes}, "m", "Medium"),
        "all": ({"type": "array", "items": {"anyOf": sizes}}, ["s"], "Small"),
    }
    asked = form(tuple(fields), **{name: {**field, "default": value} for name, (field, value, _) in fields.items()})
    shown = elicitation.items("shop", asked)
    assert [one.text.rpartition("Without an answer: ")[2] for one in shown] == [f"{one[2]}." for one in fields.values()]
    assert [one.label for one in shown[0].options] == ["John"]
    content = {name: value for name, (_, value, _) in fields.items()}
    assert elicitation.result(asked, {})["content"] == content
    assert elicitation.result(asked, {"1.name": {"selected": ["default"]}})["content"] == content
    assert elicitation.result(asked, {"1.sure": {"selected": ["0"]}})["content"] == content | {"sure": True}
    optional = form(name={"type": "string", "default": "John"})
    assert elicitation.result(optional, {"1.name": {"selected": ["-"]}})["content"] == {}


@pytest.mark.parametrize(
    "field",
    [
        {"type": "integer", "default": 2.5},
        {"type": "integer", "default": True},
        {"type": "number", "default": 5, "maximum": 4},
        {"type": "number", "default": float("inf")},
        {"type": "string", "default": 7},
        {"type": "string", "default": "long", "maxLength": 2},
        {"type": "string", "enum": ["a"], "default": "b"},
        {"type": "array", "items": {"enum": ["a"]}, "default": ["a", []]},
        {"type": "boolean", "default": "yes"},
    ],
)
def test_a_suggestion_that_does_not_fit_is_none(field: dict[str, Any]) -> None:
    (item,) = elicitation.items("shop", form(x=field))
    assert "Without an answer" not in item.text and "default" not in {one.id for one in item.options}
    assert elicitation.result(form(x=field), {})["content"] == {}


@pytest.mark.parametrize(
    ("field", "given", "why"),
    [
        ({"type": "integer"}, {"text": "2.5"}, "no whole number"),
        ({"type": "number"}, {"text": "nan"}, "no number"),
        ({"type": "integer", "minimum": 3}, {"text": "2"}, "at least 3"),
        ({"type": "string", "maxLength": 2}, {"text": "abc"}, "at most 2"),
        ({"type": "string"}, {}, "is required"),
        ({"type": "boolean"}, {"selected": ["-"]}, "is required"),
    ],
)
def test_answers_that_do_not_fit_are_named(field: dict[str, Any], given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        elicitation.result(form(("x",), x=field), {"1.x": given})


@pytest.mark.parametrize(
    "params",
    [
        {"requestedSchema": {"properties": {"x": {"type": "object"}}}},
        {"requestedSchema": {"properties": {f"x{n}": {"type": "string"} for n in range(21)}}},
        {"requestedSchema": "none"},
        {"mode": "url", "url": "javascript:alert(1)"},
        {"mode": "url", "url": "https://"},
    ],
)
def test_what_cannot_be_shown_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        elicitation.items("shop", Asked(at=0, key="k", params={"message": "m", **params}))


def test_a_page_is_confirmed_or_declined() -> None:
    asked = Asked(at=1, key="k", params={"mode": "url", "message": "Pay.", "url": "https://pay.example/a?b=c"})
    (item,) = elicitation.items("shop", asked)
    assert item.text.startswith("pay.example: the MCP server shop asks you to open") and item.id == "2.confirm"
    assert elicitation.result(asked, {"2.confirm": {"selected": ["yes"]}}) == {"action": "accept"}
    assert elicitation.result(asked, {"2.confirm": {"selected": ["no"]}}) == {"action": "decline"}


def test_strange_names_of_fields_have_ids_that_users_can_write() -> None:
    asked = form(**{"a b": {"type": "string"}, "a_b": {"type": "string"}, "é": {"type": "string"}})
    ids = [one.id for one in elicitation.items("shop", asked)]
    assert len(set(ids)) == 3 and all(id.isascii() and " " not in id for id in ids)
    answers = {id: {"text": str(at)} for at, id in enumerate(ids)}
    assert elicitation.result(asked, answers)["content"] == {"a b": "0", "a_b": "1", "é": "2"}
