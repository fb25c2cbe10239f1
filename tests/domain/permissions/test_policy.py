"""What is added to rules and modes only narrows: policies, taint, and rules that answers leave reach no further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kheish.domain.events import ToolPolicy
from kheish.domain.permissions import policy as permission_policy, remember as permission_remember
from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, Verdict, decide
from tests.domain.permissions.test_decide import CALLS, EFFECTS, RULES, STRICTNESS

MODES = st.sampled_from(["default", "accept_edits", "plan", "dont_ask", "bypass"])
GLOBS = st.lists(st.sampled_from(["bash", "write_*", "*", "read_file", "b?sh", "[gr]*"]), max_size=3).map(tuple)
POLICIES = st.lists(st.builds(ToolPolicy, origin=st.just("playbook"), allow=st.none() | GLOBS, deny=GLOBS), max_size=3)


def verdict(call: Any, rules: list[Rule], mode: Any, available: bool = True, **more: Any) -> Verdict:
    tool, word = call
    given = ToolCall(tool=tool, effect=EFFECTS.get(tool, "effect"), arguments={"command": word, "path": word})
    facts = SandboxFacts(mode="ask", available=available)
    return decide(given, mode=mode, scopes=[("x", rules)], sandbox=facts, workspace=Path("/srv/space"), **more)


@pytest.mark.demand(16)
@given(CALLS, st.lists(RULES, max_size=4), MODES, st.booleans(), POLICIES)
def test_a_policy_only_narrows(call: Any, rules: list[Rule], mode: str, available: bool, policies: Any) -> None:
    before, after = (verdict(call, rules, mode, available, policies=given) for given in ((), policies))
    assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]
    assert before.network or not after.network
    if permission_policy.leaves(policies, call[0]):
        assert after == before
    else:
        assert (after.decision, after.origin) == ("deny", "playbook")


@given(CALLS, st.lists(RULES, max_size=4), MODES)
def test_taint_only_narrows(call: Any, rules: list[Rule], mode: str) -> None:
    before, after = (verdict(call, rules, mode, tainted_by=given) for given in (None, "web_fetch"))
    assert STRICTNESS[after.decision] >= STRICTNESS[before.decision] or mode == "bypass"
    if call[0] == "bash" and mode != "bypass":
        assert after.decision != "allow"


@given(CALLS, CALLS, st.lists(RULES, max_size=4), MODES)
def test_an_exact_rule_allows_its_own_call_and_no_other(mine: Any, other: Any, rules: list[Rule], mode: str) -> None:
    arguments = {"command": mine[1], "path": mine[1]}
    mine_only = permission_remember.rule("exact", mine[0], arguments, "allow")
    if other != mine:
        assert verdict(other, [*rules, mine_only], mode).decision == verdict(other, rules, mode).decision
    before = verdict(mine, rules, mode)
    denied = before.rule is not None and before.decision == "deny"
    assert not denied or verdict(mine, [*rules, mine_only], mode).decision == "deny", "deny beats what is remembered"


@pytest.mark.parametrize(
    ("allow", "deny", "tool", "left"),
    [
        (None, (), "bash", True),
        ((), (), "read_file", False),
        (("read_*",), (), "read_file", True),
        (("read_*",), (), "grep_search", False),
        (None, ("mcp__*",), "mcp__github__search", False),
        (("*",), ("bash",), "shell_task_start", False),  # not in the background either
        (("bash",), (), "shell_task_start", False),
        (("READ_FILE",), (), "read_file", False),
    ],
)
def test_what_a_policy_leaves(allow: Any, deny: Any, tool: str, left: bool) -> None:
    policy = ToolPolicy(origin="playbook triage@1.0.0, phase fix", allow=allow, deny=deny)
    assert permission_policy.leaves([policy], tool) is left
    refused = permission_policy.refusal([policy], tool)
    assert (refused is None) is left
    assert left or (refused is not None and refused.origin == policy.origin and policy.origin in refused.why)
