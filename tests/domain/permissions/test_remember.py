"""Rules that answers leave: what each way to remember covers, what it does not, and where none is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kheish.domain.permissions import remember as permission_remember
from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, decide
from kheish.errors import Invalid

CONFINED = SandboxFacts(mode="ask", available=True)


def verdict(rule: Rule, tool: str, mode: Any = "default", effect: str = "effect", **arguments: Any) -> str:
    call = ToolCall(tool=tool, effect=effect, arguments=arguments)
    scopes = [("session", [rule])]
    return decide(call, mode=mode, scopes=scopes, sandbox=CONFINED, workspace=Path("/w")).decision


@pytest.mark.found("C8")
@pytest.mark.parametrize(
    ("command", "match", "more", "other"),
    [
        ("git status -s", "git status *", "git status --long src", "git stash"),
        ("python3 -m pytest -q tests", "python3 -m pytest *", "python3 -m pytest", "python3 -m pip install x"),
        ("python manage.py check", "python manage.py *", "python manage.py test", "python other.py"),
        ("ls -la", "ls *", "ls src", "lsof"),
        ("make test", "make test", "make test", "make test deploy"),
        ("npm run build", "npm run build", "npm run build", "npm run deploy"),
        ("find . -name x", "find . -name x", "find . -name x", "find . -delete"),
        ("git config x y", "git config x y", "git config x y", "git config x y z"),
        ("echo 'a b'", "echo *", "echo $(ls)", "echo a; id"),
        ("touch 'a b'", "touch 'a b'", "touch a\\ b", "touch a b"),
    ],
)
def test_the_pattern_of_a_command(command: str, match: str, more: str, other: str) -> None:
    rule = permission_remember.rule("pattern", "bash", {"command": command, "description": "x"}, "allow")
    assert rule.match == match and match in str(rule.reason)
    wanted = "ask" if "$(" in more else "allow"  # what is inside is a command of its own
    assert verdict(rule, "bash", command=command) == "allow"
    assert verdict(rule, "bash", command=more) == wanted
    assert verdict(rule, "bash", command=other) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf build", "git push origin", "curl http://x", "sudo ls", "cat a | wc", "a && b",
        "echo hi > f", "cat < f", "echo $HOME", "ls *.py", "FOO=1 ls", "bash -c ls", "xargs ls", "find . -exec id ;",
        "git -c core.pager=id log", "env", "'", "cat <(ls)", "echo `id`", "export A=1", "pip install x", "",
        "alias a=b",
    ],
)  # fmt: skip
def test_no_pattern_is_made_of_what_reaches_further(command: str) -> None:
    with pytest.raises(Invalid) as refused:
        permission_remember.rule("pattern", "bash", {"command": command}, "allow")
    assert refused.value.errors[0].path == "/remember"
    assert permission_remember.suggested("bash", {"command": command})["pattern"] is None


@pytest.mark.parametrize("command", ["rm -rf build && make", "echo $HOME > f", "'", "for x in a; do id; done"])
def test_exactly_this_command_and_no_other(command: str) -> None:
    rule = permission_remember.rule("exact", "bash", {"command": command, "description": "x", "timeout": 9}, "allow")
    assert verdict(rule, "bash", command=command, description="another", timeout=5) == "allow"
    assert verdict(rule, "bash", command=command + " ") == "ask"
    assert verdict(rule, "bash", command=command, workdir="sub") == "ask"
    assert verdict(rule, "shell_task_start", command=command) == "ask", "the background is another tool"
    denied = permission_remember.rule("exact", "bash", {"command": command}, "deny")
    assert verdict(denied, "bash", mode="bypass", command=command) == "deny"


@pytest.mark.parametrize(
    ("path", "match", "other"),
    [("docs/a.md", "docs/*.md", "docs/sub/b.md"), ("a.py", "./*.py", "x/a.py"), ("x/.env", "x/.env", "x/b.env")],
)
def test_the_pattern_of_a_file(path: str, match: str, other: str) -> None:
    rule = permission_remember.rule("pattern", "write_file", {"path": path, "content": "1"}, "allow")
    assert rule.match == match
    assert verdict(rule, "write_file", effect="write", path=path, content="2") == "allow"
    assert verdict(rule, "write_file", effect="write", path=other, content="2") == "ask"


def test_pages_and_other_tools() -> None:
    rule = permission_remember.rule("pattern", "web_fetch", {"url": "https://docs.example.org/a"}, "allow")
    assert verdict(rule, "web_fetch", url="https://docs.example.org/b") == "allow"
    assert verdict(rule, "web_fetch", url="https://evil.example.org/b") == "ask"
    exact = permission_remember.rule("exact", "mcp__a__b", {"x": 1}, "allow")
    assert [verdict(exact, "mcp__a__b", **given) for given in ({"x": 1}, {"x": 2}, {"x": 1, "y": 1})] == [
        "allow", "ask", "ask",
    ]  # fmt: skip
    for tool, arguments in (("mcp__a__b", {"x": 1}), ("write_file", {"path": "*/x"}), ("web_fetch", {"url": "x"})):
        with pytest.raises(Invalid):
            permission_remember.rule("pattern", tool, arguments, "allow")
