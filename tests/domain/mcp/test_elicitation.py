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
