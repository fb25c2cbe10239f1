"""What a call meets: rules, scopes, modes, the sandbox. Command lines have their own file."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st
from pydantic import ValidationError

from kheish import resources
from kheish.domain.permissions.decide import (
    PermissionsFile,
    Rule,
    SandboxFacts,
    ToolCall,
    Verdict,
    decide,
    explain,
    risk,
)

WORKSPACE = Path("/srv/space")
CONFINED = SandboxFacts(mode="ask", available=True)
EFFECTS = {
    "apply_patch": "write",
    "store_asset": "coordination",
    "read_file": "read",
    "grep_search": "read",
    "write_file": "write",
    "todo_write": "coordination",
}
STRICTNESS = {"allow": 0, "ask": 1, "deny": 2}


def rule(tool: str, decision: Any, match: str | None = None, **more: Any) -> Rule:
    return Rule(tool=tool, decision=decision, match=match, **more)


def meets(tool: str, arguments: dict[str, Any], *rules: Rule, mode: Any = "default", **more: Any) -> Verdict:
    session = more.pop("session", [])
    sandbox = more.pop("sandbox", CONFINED)
    call = ToolCall(tool=tool, effect=EFFECTS.get(tool, "effect"), arguments=arguments, **more)
    scopes = [("permissions.yaml", rules), ("session", session)]
    return decide(call, mode=mode, scopes=scopes, sandbox=sandbox, workspace=WORKSPACE)


@pytest.mark.parametrize(
    ("mode", "read", "todo", "write", "bash"),
    [
        ("default", "allow", "allow", "ask", "ask"),
        ("accept_edits", "allow", "allow", "allow", "ask"),
        ("plan", "allow", "allow", "deny", "deny"),
        ("dont_ask", "allow", "allow", "deny", "deny"),
        ("bypass", "allow", "allow", "allow", "allow"),
    ],
)
def test_where_no_rule_matches_the_mode_decides(mode: str, read: str, todo: str, write: str, bash: str) -> None:
    calls = {"read_file": {"path": "a"}, "todo_write": {}, "write_file": {"path": "a"}, "bash": {"command": "ls"}}
    found = [meets(tool, arguments, mode=mode) for tool, arguments in calls.items()]

    assert [verdict.decision for verdict in found] == [read, todo, write, bash]
    assert all(verdict.origin == f"mode {mode}" and verdict.rule is None for verdict in found[:2])


@pytest.mark.demand(16)
@given(st.permutations(["allow", "ask", "deny"]), st.integers(0, 3), st.sampled_from(["allow", "ask", "deny"]))
def test_deny_beats_ask_beats_allow_in_any_order_and_scope(decisions: list[Any], split: int, without: Any) -> None:
    rules = [rule("write_file", decision, "src/**") for decision in decisions if decision != without]

    verdict = meets("write_file", {"path": "src/a.py"}, *rules[:split], session=rules[split:])

    assert verdict.decision == max((item.decision for item in rules), key=STRICTNESS.__getitem__)
    assert verdict.rule is not None and verdict.rule["decision"] == verdict.decision


RULES = st.builds(
    Rule,
    tool=st.sampled_from(["*", "bash", "write_file", "read_file", "w*", "grep_search"]),
    decision=st.sampled_from(["allow", "ask", "deny"]),
    match=st.sampled_from([None, "*", "src/**", "*.env", "git *", "git push*", "echo *", "rm"]),
)
CALLS = st.one_of(
    st.tuples(st.just("bash"), st.sampled_from(["git push", "echo $X > a.env", "rm", "echo $(rm)", "a`", "sudo rm"])),
    st.tuples(st.sampled_from(["write_file", "read_file", "grep_search"]), st.sampled_from(["src/a", ".env", "b"])),
)


@pytest.mark.demand(16)
@given(
    CALLS,
    st.lists(RULES, max_size=4),
    RULES.filter(lambda found: found.decision != "allow"),
    st.sampled_from(["default", "accept_edits", "plan", "dont_ask", "bypass"]),
)
def test_a_rule_that_asks_or_denies_never_widens(call: Any, rules: list[Rule], more: Rule, mode: str) -> None:
    name = "command" if call[0] == "bash" else "path"
    before = meets(call[0], {name: call[1]}, *rules, mode=mode)

    after = meets(call[0], {name: call[1]}, *rules, session=[more], mode=mode)

    # A rule that asks can stand before a mode that denies; it never turns a denial by a rule around.
    if not (before.rule is None and before.decision == "deny" and more.decision == "ask"):
        assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]
    assert before.network or not after.network or more.network


@pytest.mark.parametrize(
    "path", ["secret/key", "./secret/key", "src/../secret/key", "/srv/space/secret//key", "x/.env", "secret"]
)
def test_a_denied_file_is_denied_however_it_is_spelled(path: str) -> None:
    denials = [rule("*", "deny", "secret/**"), rule("write_file", "deny", "*.env"), rule("write_file", "allow")]

    assert meets("write_file", {"path": path}, *denials).decision == "deny"


def test_a_link_is_judged_by_where_it_leads_and_by_its_name() -> None:
    rules = [rule("write_file", "allow", "docs/**"), rule("write_file", "deny", "secret/**")]

    assert meets("write_file", {"path": "docs/a"}, *rules, resolved=("docs/a",)).decision == "allow"
    assert meets("write_file", {"path": "docs/a"}, *rules, resolved=("src/a",)).decision == "ask"
    assert meets("write_file", {"path": "docs/a"}, *rules, resolved=("secret/a",)).decision == "deny"


@pytest.mark.parametrize(
    ("match", "path", "allowed"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/**", "src", False),
        ("src/*", "src/a/b.py", False),
        ("src/*.{py,pyi}", "src/a.pyi", True),
        ("*.md", "docs/deep/a.md", True),
        ("/a.md", "docs/a.md", False),
        ("src/", "src/a", True),
        ("/srv/space/src/**", "src/a", True),
        ("**", "../outside", False),
        ("**", "~/x", False),
    ],
)
def test_an_allow_covers_the_glob_and_no_more(match: str, path: str, allowed: bool) -> None:
    verdict = meets("write_file", {"path": path}, rule("write_file", "allow", match))

    assert (verdict.decision == "allow") == allowed


def test_a_search_that_may_reach_what_is_denied_asks() -> None:
    denial = rule("grep_search", "deny", "secret/**")

    assert meets("grep_search", {"pattern": "x"}, denial).decision == "ask"
    assert meets("grep_search", {"pattern": "x", "path": "src"}, denial).decision == "allow"
    assert meets("grep_search", {"pattern": "x", "path": "secret/a"}, denial).decision == "deny"


@pytest.mark.parametrize(
    ("url", "decision"),
    [
        ("https://docs.example.com/x", "allow"),
        ("https://DOCS.EXAMPLE.COM./x", "allow"),
        ("https://example.com.evil.org/", "ask"),
        ("https://docs.example.com@evil.org/", "deny"),
        ("https://evil.org\\@docs.example.com/", "deny"),
        ("https://bad.example.org/", "deny"),
        ("https://example.org/", "deny"),
    ],
)
def test_web_fetch_is_matched_by_host(url: str, decision: str) -> None:
    rules = [rule("web_fetch", "allow", "*.example.com"), rule("web_fetch", "deny", "*.example.org")]

    assert meets("web_fetch", {"url": url}, *rules).decision == decision


def test_mcp_tools_are_matched_by_equal_arguments() -> None:
    rules = [rule("mcp__chat__post", "allow", '{"to": "a", "n": 1}'), rule("mcp__chat__*", "deny", '{"to": "boss"}')]

    assert meets("mcp__chat__post", {"n": 1.0, "to": "a"}, *rules).decision == "allow"
    assert meets("mcp__chat__post", {"n": True, "to": "a"}, *rules).decision == "ask"
    assert meets("mcp__chat__post", {"n": 1, "to": "a", "urgent": True}, *rules).decision == "ask"
    assert meets("mcp__chat__post", {"to": "boss", "text": "hi"}, *rules).decision == "deny"


def test_without_bubblewrap_the_sandbox_mode_decides_over_rules() -> None:
    allow, deny = rule("bash", "allow", "ls*"), rule("bash", "deny", "rm*")
    modes: list[Any] = ["required", "ask", "off"]
    found = {
        (sandbox, mode): meets(
            "bash", {"command": "ls"}, allow, deny, mode=mode, sandbox=SandboxFacts(mode=sandbox, available=False)
        ).decision
        for sandbox, mode in product(modes, ["default", "dont_ask", "bypass"])
    }

    assert [found[sandbox, "default"] for sandbox in ("required", "ask", "off")] == ["deny", "ask", "allow"]
    assert [found["ask", mode] for mode in ("dont_ask", "bypass")] == ["deny", "allow"]
    assert found["required", "bypass"] == "deny"


def test_the_answer_says_why_and_where_the_rule_stands() -> None:
    verdict = meets(
        "bash", {"command": "git push"}, rule("w*", "allow"), rule("bash", "deny", "git push*", reason="no")
    )

    assert explain(verdict) == {
        "decision": "deny",
        "why": "denied by permissions.yaml rule 2 (bash: git push*, no)",
        "rule": {
            "tool": "bash",
            "match": "git push*",
            "exact": False,
            "decision": "deny",
            "workdir": ".",
            "network": False,
            "confined": False,
            "reason": "no",
        },
        "origin": "permissions.yaml rule 2",
        "network": False,
    }


@pytest.mark.parametrize(
    "bad",
    [
        {"rules": [{"tool": "b*sh", "decision": "allow"}]},
        {"rules": [{"tool": "mcp__a__b", "match": "x", "decision": "allow"}]},
        {"rules": [{"tool": "write_file", "match": "../x", "decision": "deny"}]},
        {"rules": [{"tool": "bash", "decision": "maybe"}]},
        {"taint": False},
        {"approvals": {"required": 3}},
        {"mdoe": "plan"},
    ],
)
def test_a_file_of_rules_that_cannot_mean_anything_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PermissionsFile.model_validate(bad)


def test_every_key_of_the_file_is_described() -> None:
    schema = PermissionsFile.model_json_schema()

    assert PermissionsFile().mode == "default"
    parts = [schema, *schema["$defs"].values()]
    assert all("description" in field for part in parts for field in part["properties"].values())


@pytest.mark.parametrize(
    ("tool", "command", "expected"),
    [
        ("bash", "python -m pytest -q 2>/dev/null", "medium"),
        ("bash", "make && rm -r build", "high"),
        ("bash", "timeout 5 curl example.com", "high"),
        ("bash", "git push", "high"),
        ("bash", "echo x > /etc/hosts", "high"),
        ("bash", "eval x", "high"),
        ("write_file", "", "medium"),
        ("read_file", "", "low"),
        ("mcp__a__b", "", "high"),
    ],
)
def test_risk_is_a_hint_by_effect_and_program(tool: str, command: str, expected: str) -> None:
    assert risk(ToolCall(tool=tool, effect=EFFECTS.get(tool, "effect"), arguments={"command": command})) == expected


@pytest.mark.parametrize(
    ("tool", "match", "ruled", "mode", "decision"),
    [
        ("read_file", "askme/**", "ask", "default", "ask"),
        ("read_file", "askme/**", "ask", "dont_ask", "deny"),
        ("read_file", "askme/**", "deny", "bypass", "deny"),
        ("read_*", None, "ask", "default", "ask"),
        ("read_file", "other/**", "deny", "default", "allow"),
        ("read_file", "askme/**", "allow", "default", "allow"),
    ],
)
def test_storing_a_file_is_judged_as_reading_it(
    tool: str, match: str | None, ruled: Any, mode: Any, decision: str
) -> None:
    rules = [rule(tool, ruled, match)]
    assert meets("store_asset", {"path": "askme/f.txt"}, *rules, mode=mode).decision == decision
    link = meets("store_asset", {"path": "link"}, *rules, mode=mode, resolved=("askme/f.txt",))
    assert link.decision == decision


PATCH = "--- a/docs/a\n+++ b/docs/a\n@@ -1 +1 @@\n-x\n+y\n--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+x\n"


@pytest.mark.parametrize(
    ("path", "rules", "decision"),
    [
        ("docs/b", [rule("apply_patch", "allow", "docs/**")], "allow"),
        ("src/b", [rule("apply_patch", "allow", "docs/**")], "ask"),
        ("src/b", [rule("write_file", "allow", "**")], "ask"),  # an allow is for its own tool
        ("secret/b", [rule("apply_patch", "allow"), rule("write_file", "deny", "secret/**")], "deny"),
        ("secret/b", [rule("apply_patch", "allow"), rule("edit_file", "ask", "secret/**")], "ask"),
        ("docs/b", [rule("apply_patch", "allow"), rule("edit_file", "deny", "secret/**")], "allow"),
    ],
)
def test_a_patch_meets_the_rules_by_every_file_in_it(path: str, rules: list[Rule], decision: str) -> None:
    assert meets("apply_patch", {"patch": PATCH.format(path)}, *rules).decision == decision
    resolved = ("docs/a", path)
    assert meets("apply_patch", {"patch": PATCH.format("docs/link")}, *rules, resolved=resolved).decision == decision


def test_a_patch_that_cannot_be_read_or_resolved_asks_where_a_rule_may_be_about_it() -> None:
    rules = [rule("apply_patch", "allow"), rule("write_file", "deny", "secret/**")]
    for arguments in ({"patch": "nonsense"}, {"patch": PATCH.format("docs/b")}):
        resolved = ("docs/a", "\0") if "docs" in arguments["patch"] else ()
        assert meets("apply_patch", arguments, *rules, resolved=resolved).decision == "ask"


@pytest.mark.parametrize(
    ("command", "decision"),
    [
        ("git status", "allow"),
        ("git log --oneline | head -3", "allow"),
        ("cd src && ls -la && rg -n TODO .", "allow"),
        ("find . -name '*.py'", "allow"),
        ("find . -delete", "ask"),
        ("git diff --output=x", "ask"),
        ("git branch new", "ask"),
        ("rg --pre x y", "ask"),
        ("ls > listing", "ask"),
        ("cat $(id)", "ask"),
        ("curl http://127.0.0.1", "ask"),
    ],
)
def test_a_new_state_root_allows_reading_in_the_sandbox(command: str, decision: str) -> None:
    file = PermissionsFile.model_validate(
        yaml.safe_load((resources.folder("state-template") / "permissions.yaml").read_text())
    )
    found = {
        (mode, available): meets(
            "bash", {"command": command}, *file.rules, sandbox=SandboxFacts(mode=mode, available=available)
        ).decision
        for mode, available in product(("required", "ask", "off"), (True, False))
    }
    assert [found["required", True], found["ask", True]] == [decision, decision]
    assert [found["ask", False], found["off", True], found["off", False]] == ["ask"] * 3
    assert found["required", False] == "deny"


@pytest.mark.parametrize("more", [{"tool": "read_file"}, {"decision": "deny"}, {"decision": "ask"}])
def test_only_a_rule_that_allows_a_command_is_for_confined_ones(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="confined"):
        Rule.model_validate({"tool": "bash", "decision": "allow", "confined": True, **more})
