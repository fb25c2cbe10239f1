"""Inputs of Flows: every error at once, defaults, and texts that are filled in once and never again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from kheish.domain.flows import inputs as flow_inputs
from kheish.domain.playbooks.manifest import Playbook
from kheish.errors import Invalid
from tests.support.flowing import manifest

INPUTS: dict[str, Any] = {
    "service": {"type": "string", "required": True, "minLength": 2},
    "count": {"type": "integer", "default": 3, "maximum": 9},
    "note": {"type": "string"},
    "hosts": {"type": "array", "items": {"type": "string"}, "default": []},
}


def playbook() -> Playbook:
    return manifest(inputs=INPUTS)


def test_defaults_are_filled_in_and_what_is_not_given_is_left_out() -> None:
    assert flow_inputs.complete(playbook(), {"service": "api"}) == {"service": "api", "count": 3, "hosts": []}
    given = {"service": "api", "count": 5, "note": "", "hosts": ["a"]}
    assert flow_inputs.complete(playbook(), given) == given


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({}, ["/inputs/service"]),
        ({"service": 3, "count": "3"}, ["/inputs/service", "/inputs/count"]),
        ({"servce": "api", "count": 10}, ["/inputs/servce", "/inputs/service", "/inputs/count"]),
        ({"service": "a", "hosts": ["x", 3, None]}, ["/inputs/service", "/inputs/hosts/1", "/inputs/hosts/2"]),
        ({"service": None}, ["/inputs/service"]),
        ({"service": "x" * 70_000}, ["/inputs"]),
    ],
)
def test_every_error_is_told_at_once(given: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        flow_inputs.complete(playbook(), given)
    assert [one.path for one in refused.value.errors] == paths


def test_texts_are_filled_in_and_only_what_the_playbook_knows() -> None:
    inputs = {"service": "api", "hosts": ["a", "b"], "count": 3}
    text = "{{inputs.service}} {{ inputs.hosts }} {{inputs.count}} [{{inputs.note}}] {{inputs.other}} {{input}}"
    assert flow_inputs.filled(text, inputs, INPUTS) == 'api ["a","b"] 3 [] {{inputs.other}} {{input}}'
    assert flow_inputs.filled({"a": ["{{inputs.service}}", 3]}, inputs, INPUTS) == {"a": ["api", 3]}


@given(st.lists(st.sampled_from(["{{inputs.service}}", "{{inputs.note}}", "{{", "}}", "inputs.", "note", " ", "x"])))
def test_what_an_input_says_is_never_filled_in(parts: list[str]) -> None:
    said = "".join(parts)
    inputs = {"service": said, "note": "SECRET"}
    assert flow_inputs.filled("<{{inputs.service}}>", inputs, INPUTS) == f"<{said}>"
