"""The matrix of permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kheish.domain.permissions.matrix import Terms, rows
from kheish.domain.permissions.rules import Rule, SandboxFacts

SANDBOX = SandboxFacts(mode="off", available=True)


def row(tool: str, effect: str, *rules: Rule, mode: Any = "default") -> dict[str, Any]:
    (found,) = rows({tool: effect}, Terms(mode, (("permissions.yaml", rules),), SANDBOX, Path("/work")))
    return found


def test_a_rule_for_all_calls_decides() -> None:
    found = row("bash", "effect", Rule(tool="bash", match="rm *", decision="deny"), Rule(tool="*", decision="allow"))
    assert (found["decision"], found["origin"]) == ("allow", "permissions.yaml rule 2")
    assert found["conditional"] == [
        {"tool": "bash", "match": "rm *", "decision": "deny", "origin": "permissions.yaml rule 1"}
    ]


def test_without_a_rule_the_mode_decides() -> None:
    assert row("write_file", "write")["decision"] == "ask"
    assert row("write_file", "write", mode="accept_edits")["decision"] == "allow"
    assert row("write_file", "write", mode="plan")["decision"] == "deny"
    assert row("read_file", "read")["origin"] == "mode default"
