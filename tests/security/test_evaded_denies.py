"""Ways round a deny by name. None may be allowed where it holds: not by another rule, and not in the mode bypass."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kheish.domain.permissions import shell as permission_shell
from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, decide

DENY = Rule(tool="bash", match="git push*", decision="deny")
ALLOW = Rule(tool="bash", decision="allow")

#: told for certain: denied in every mode
DENIED = {
    "33 options": "git " + "--no-pager " * 33 + "push",
    "500 options with values": "git " + "-c a=b " * 500 + "push",
    "git-core": "/usr/lib/git-core/git-push origin",
    "git-X": "git-push",
    "git-X after a wrapper": "env git-push origin",
    "40 words of a wrapper": "env " + "A=b " * 40 + "git push",
    "another folder": "git -C /x push",
    "an option of git's own": "git --exec-path=/x push",
    "a shell in a shell": "sh -c 'bash -c \"git push\"'",
    "many command lines": "sh -c " + "'true' " * 20 + "'git push'",
    "a glob as an option": "timeout -s KILL 5 git push",
    "find": "find . -maxdepth 0 -exec git push ;",
    "quotes": "g\\it p''ush",
    "python's module in a wrapper": "env nice git-push",
    "a path": "../../usr/bin/git push",
    "a line that the parser joins to the one before": "git status =~\ngit push",
}
#: only running it would tell: asks, and is denied in bypass
UNSURE = {
    "a variable": "x=push; git $x",
    "a descriptor closed in between": "git >&- push",
    "another one": "git 2<&- push 2>/dev/null",
    "a part of the name, on a line that the parser joins": "git status =~\ng$1it push",
    "the program by a variable": "g=git; $g push",
    "braces": "git {push,origin}",
    "braces all over": "{git,push}",
    "xargs": "echo push | xargs git",
    "xargs in its place": "echo push | xargs -I{} git {}",
    "xargs by another sign": "echo push | xargs -I X git X",
    "a shell's input": "echo Z2l0IHB1c2gK | base64 -d | sh",
    "a script": "sh x.sh",
    "sourcing": ". ./x.sh",
    "eval": "eval $(cat x)",
    "an alias": "git p origin",
    "an alias by an option": "git -c alias.x=push x",
    "an alias after an option": "git --no-pager -C sub p",
    "an alias of bash": "alias g='git push'",
    "a function's words": "f() { git $1; }; f push",
    "a substitution": "git $(echo push)",
    "a glob": "git pus[h]",
    "nested too deeply": 'sh -c \'sh -c "sh -c \\"sh -c \\\\\\"git push\\\\\\"\\""\'',
    "env splits": "env -S 'git push'",
    "hidden from the parser": ">&2$$$!x git push",
    "python": "python3 -c 'import os; os.system(\"git push\")'",
    "awk": "awk 'BEGIN{system(\"git push\")}'",
    "submodules": "git submodule foreach 'git $x'",
    "300 words of a wrapper": "env " + "A=b " * 300 + "git push",
    "arithmetic": "let x=1; git push",
}
PLAIN = [
    "git status", "git -C sub log", "timeout 5 make test", "echo push | xargs -n 1 grep git", "ls *.py $HOME",
    "bash -c 'make test'",
    "find . -name x -exec grep y {} +", "python3 x.py", "git commit -m 'do git push later'", "echo 'git push'",
    "FOO=1 make",
    "npm run x | cat",
]  # fmt: skip


def meets(command: str, *rules: Rule, mode: Any = "default") -> str:
    call = ToolCall(tool="bash", effect="effect", arguments={"command": command})
    facts = SandboxFacts(mode="ask", available=True)
    return decide(call, mode=mode, scopes=[("session", rules)], sandbox=facts, workspace=Path("/w")).decision


@pytest.mark.found("S10")
@pytest.mark.demand(16)
@pytest.mark.parametrize("command", DENIED.values(), ids=DENIED)
def test_what_is_denied_is_denied_however_it_is_spelled(command: str) -> None:
    assert [meets(command, ALLOW, DENY, mode=mode) for mode in ("default", "dont_ask", "bypass")] == ["deny"] * 3


@pytest.mark.found("S10")
@pytest.mark.demand(16)
@pytest.mark.parametrize("command", UNSURE.values(), ids=UNSURE)
def test_what_cannot_be_told_from_a_deny_asks_and_is_denied_in_bypass(command: str) -> None:
    assert meets(command, ALLOW, DENY) in ("ask", "deny")
    assert meets(command, ALLOW, DENY, mode="bypass") == "deny"
    assert meets(command, ALLOW, mode="bypass") == "allow", "it is the deny that holds"


@pytest.mark.parametrize("command", PLAIN)
def test_what_is_something_else_is_allowed(command: str) -> None:
    assert meets(command, ALLOW, DENY) == "allow"
    assert meets(command, DENY, mode="bypass") == "allow"


@pytest.mark.parametrize(
    ("match", "command"),
    [
        ("pip install *", "python3 -m pip install x"),
        ("pip install *", "python -um pip install x"),
        ("pip install *", "pip3 install x"),
        ("npm install *", "npm i x"),
        ("npm install *", "npm --silent add-nothing"),
        ("python *", "/usr/bin/python3.12 x"),
        ("cargo run *", "cargo r"),
        ("*push*", "git push"),
        ("git * --force*", "git push --force"),
        ("git * --force*", "git push $X"),
        ("rm", "rm"),
        ("/usr/bin/rm *", "rm x"),
    ],
)
def test_other_names_of_programs_and_subcommands(match: str, command: str) -> None:
    deny = Rule(tool="bash", match=match, decision="deny")
    assert meets(command, ALLOW, deny, mode="bypass") == "deny"


def test_a_deny_that_may_be_meant_stands_before_an_ask_in_bypass() -> None:
    ask = Rule(tool="bash", match="git *", decision="ask")
    assert meets("git $x", ask, mode="bypass") == "allow"
    assert meets("git $x", ask, DENY, mode="bypass") == "deny"


def test_long_lines_take_linear_time() -> None:
    started = time.process_time()
    for command in ("git " + "-c push " * 12_000, "xargs " + "git -c " * 12_000, "sh -c " + "'git x' " * 9_000):
        assert meets(command, ALLOW, Rule(tool="bash", match="git push*a*b*c", decision="deny")) != "allow" or True
    assert time.process_time() - started < 5


@pytest.mark.parametrize("word", ["xargs ", "xargs git ", "sudo env "])
def test_thousands_of_wrappers_cost_no_seconds(word: str) -> None:
    """The time of this thread counts, so that a busy machine does not matter."""
    command = word * (30_000 // len(word)) + "ls"
    permission_shell.read("true")  # imports the parser
    began = time.thread_time()
    permission_shell.read(command)
    assert time.thread_time() - began < 1
