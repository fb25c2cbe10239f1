"""The names of servers' tools, and the scopes that leave them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from kheish.domain.events import Scope
from kheish.domain.mcp import names
from kheish.domain.permissions import policy
from kheish.domain.permissions.rules import Placed, Rule


@given(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,100}", fullmatch=True), st.text(min_size=1, max_size=128))
def test_a_name_for_a_model_is_legal_and_its_own(server: str, tool: str) -> None:
    name = names.model_name(server, tool)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert names.model_name(server, f"{tool}x") != name
    assert names.server_of(names.true_name(server, tool)) == server


def test_a_plain_name_stays_as_it_is() -> None:
    assert names.model_name("github", "create_issue") == "mcp__github__create_issue"
    assert names.model_name("a.b", "c") != names.model_name("a-b", "c") != names.model_name("a_b", "c")


def scope(**lists: tuple[str, ...]) -> Scope:
    return Scope(origin="test", allow=lists.get("allow"), deny=lists.get("deny", ()))


@pytest.mark.parametrize(
    ("lists", "leaves", "may"),
    [
        ({}, True, True),
        ({"allow": ("mcp__github__*",)}, True, True),
        ({"allow": ("mcp:github",)}, True, True),
        ({"allow": ("mcp:*",)}, True, True),
        ({"allow": ("*",)}, True, True),
        ({"allow": ("mcp__github__other",)}, False, True),
        ({"allow": ("github",)}, False, False),
        ({"allow": ("mcp__git__*", "read_*")}, False, False),
        ({"deny": ("github",)}, False, False),
        ({"deny": ("mcp:github",)}, False, False),
        ({"deny": ("mcp__github__*",)}, False, False),
        ({"deny": ("mcp__github__add",)}, False, True),
        ({"deny": ("mcp__other__*",)}, True, True),
    ],
)
def test_scopes_name_tools_and_servers(lists: dict[str, tuple[str, ...]], leaves: bool, may: bool) -> None:
    assert policy.leaves([scope(**lists)], "mcp__github__add") is leaves
    assert policy.may_leave([scope(**lists)], "github") is may


def test_a_rule_may_name_any_tool_of_a_server() -> None:
    name = names.true_name("a.b", "files/read all: now")
    assert Placed(Rule(tool=name, match="{}", exact=True, decision="allow"), "").concerns(name)
    assert Placed(Rule(tool="mcp__a.b__*", decision="deny"), "").concerns(name)
    with pytest.raises(ValueError, match="pattern"):
        Rule(tool="read file", decision="allow")
