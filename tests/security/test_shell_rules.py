"""Ways round the rules for commands. Each line really makes the file `pwned` when bash runs it; none may be allowed.

The rules are those of an operator who means well: ordinary programs are allowed, `touch` is denied.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, decide

#: `EXAMPLES=20000 python -m pytest tests/security/test_shell_rules.py -k pieces` searches longer
EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
ALLOWED = ("echo *", "ls*", "cat *", "git status*", "git log*", "printf *", "true", "test *", "[ *", "cd *", "pwd", ":")
RULES = [Rule(tool="bash", match=match, decision="allow") for match in ALLOWED]
DENIED = Rule(tool="bash", match="touch *", decision="deny")

ATTACKS = {
    "quotes in the name": 't"ou"ch pwned',
    "quotes round the name": "'touch' pwned",
    "a backslash in the name": "to\\uch pwned",
    "ansi quotes": "$'touch' pwned",
    "ansi escapes": "$'\\x74ouch' pwned",
    "a continuation in the name": "to\\\nuch pwned",
    "a path": "/usr/bin/touch pwned",
    "a pattern as the name": "/usr/bin/touc? pwned",
    "braces": "{touch,pwned}",
    "a variable as the name": "x=touch; $x pwned",
    "an empty expansion before it": "$nothing touch pwned",
    "command substitution": "echo $(touch pwned)",
    "backticks": "echo `touch pwned`",
    "nested substitution": 'echo "$(echo $(touch pwned))"',
    "substitution in an assignment": "x=$(touch pwned) echo hi",
    "substitution in a default": "echo ${x:-$(touch pwned)}",
    "substitution in a subscript": 'echo "${x[$(touch pwned)]}"',
    "arithmetic": "echo $(( x[$(touch pwned)] ))",
    "arithmetic by a name": "x='a[$(touch pwned)]'; echo $((x))",
    "a test that evaluates": "x='a[$(touch pwned)]'; [[ $x -eq 1 ]]; :",
    "prompt expansion": "x='$(touch pwned)'; echo ${x@P}",
    "a semicolon": "echo hi; touch pwned",
    "a newline": "echo hi\ntouch pwned",
    "and": "true && touch pwned",
    "or": "! true || touch pwned",
    "in the background": "true & touch pwned",
    "a pipe": "echo hi | touch pwned",
    "a pipe with stderr": "echo hi |& touch pwned",
    "a subshell": "(touch pwned)",
    "a group": "{ touch pwned; }",
    "a condition": "if touch pwned; then true; fi",
    "a loop": "for x in 1; do touch pwned; done",
    "a case": "case x in x) touch pwned;; esac",
    "a negation": "! touch pwned",
    "an env prefix": "X=1 touch pwned",
    "env": "env touch pwned",
    "another PATH": "mkdir b; ln -s /usr/bin/touch b/ls; PATH=$PWD/b ls pwned",
    "a git variable": "git init -q .; GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.fsmonitor "
    "GIT_CONFIG_VALUE_0='touch pwned' git status",
    "an alias": "shopt -s expand_aliases\nalias ls='touch pwned'\nls",
    "a function": "echo() { touch pwned; }; echo hi",
    "a heredoc": "cat <<X\n$(touch pwned)\nX",
    "a heredoc for a shell": "bash <<X\ntouch pwned\nX",
    "a here-string for a shell": "bash <<< 'touch pwned'",
    "process substitution": "cat <(touch pwned)",
    "process substitution to write": "echo hi > >(touch pwned; cat >/dev/null); wait",
    "xargs": "echo pwned | xargs touch",
    "find -exec": "find . -maxdepth 0 -exec touch pwned \\;",
    "find -execdir": "find . -maxdepth 0 -execdir touch pwned \\;",
    "git -c alias": "git -c alias.x='!touch pwned' x",
    "git -c fsmonitor": "git init -q .; git -c core.fsmonitor='touch pwned' status",
    "eval": "eval 'touch pwned'",
    "bash -c": "bash -c 'touch pwned'",
    "a trap": "trap 'touch pwned' EXIT; true",
    "command": "command touch pwned",
    "exec": "exec touch pwned",
    "timeout": "timeout 5 touch pwned",
    "time": "time touch pwned",
    "coproc": "coproc touch pwned; wait",
    "source": ". <(echo touch pwned)",
    "mapfile": "mapfile -C 'touch pwned; :' -c 1 < /etc/passwd",
    "an escape after a newline": "git status\n\\touch pwned",
    "a heredoc that the end of the text ends": "x=touch; git status <<X\n$x\n`touch pwned`",
    "a newline after =~": "git status =~\ntouch pwned",
    "a loop that sets PATH": "mkdir b; ln -s /usr/bin/touch b/ls; for \\\nPATH in $PWD/b; do ls pwned; done",
    "an option that is printed": "mkdir b; ln -s /usr/bin/touch b/ls; printf $(echo -v) PATH %s $PWD/b; ls pwned",
    "an option by a pattern": "mkdir b; >-v; ln -s /usr/bin/touch b/ls; printf -[v] PATH %s $PWD/b; ls pwned",
    "a test that evaluates what is printed": "test -v \"$(printf 'x\\133$(touch pwned)]')\"",
    "a test that evaluates its literal": "test -v 'x[$(touch pwned)]'",
    "a redirection that goes on": ">&2$$$!x touch pwned",
    "a redirection of both that goes on": "&>a$?$!#b touch pwned",
    "the last word of before": "echo touch; $_ pwned",
    "an ansi quote that the parser ends early": "echo $'\\'' ; touch pwned #'",
    "a heredoc with a continued end": "cat <<X\nX\\\n\nX\ntouch pwned",
    "a pipe from a heredoc": "cat <<X | bash\ntouch pwned\nX",
    "a here-string with a substitution": "cat <<< $(touch pwned)",
    "select": "select x in a; do touch pwned; break; done <<< 1",
    "a case in a substitution": "echo $(case x in x) touch pwned;; esac)",
    "a comment in a substitution": "echo $(echo # )\ntouch pwned)",
    "old arithmetic": "echo $[x[$(touch pwned)]]",
    "an array": "x=($(touch pwned)); echo",
    "indirection": "x='y[$(touch pwned)]'; echo ${!x}",
    "a redirection": "echo hi > pwned",
    "an appending redirection": "echo hi >> pwned",
    "a redirection that opens for both": "cat <> pwned",
}


def verdict(command: str, *more: Rule, mode: Any = "default") -> str:
    call = ToolCall(tool="bash", effect="effect", arguments={"command": command})
    facts = SandboxFacts(mode="ask", available=True)
    scopes = [("permissions.yaml", [*RULES, *more])]
    return decide(call, mode=mode, scopes=scopes, sandbox=facts, workspace=Path("/w")).decision


@pytest.mark.found("S2")
@pytest.mark.demand(16)
@pytest.mark.parametrize("command", ATTACKS.values(), ids=ATTACKS)
def test_shell_rule_bypass(command: str, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    words = ["bash", "--noprofile", "--norc", "-c", command]
    subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, timeout=20, check=False)
    assert (tmp_path / "pwned").exists(), "the attack is real: bash does it"

    assert verdict(command) == "ask"
    assert verdict(command, DENIED) in ("deny", "ask")
    assert verdict(command, DENIED, mode="dont_ask") == "deny"


@pytest.mark.parametrize("command", ["echo hi", "ls -la; pwd", "git status -s && git log -1", "cat a | cat -"])
def test_what_the_rules_are_for_is_still_allowed(command: str) -> None:
    assert verdict(command, DENIED) == "allow"


PIECES = [
    "echo hi", "ls", "; ", "\n", " && ", "| ", "$(", ")", "`", '"', "'", "{ ", "; }", "\\", "${x", "}", "<<X\n",
    "\nX\n", "touch pwned", "#", "&", "<(", "(", " ", "x=", "$x", "[[ ", " ]]", "<<'X'\n", "\r", "$'", "!",
    "case x in ", ") ", ";;", " esac", "{", ",", "eval ", "cat ", "<<-X\n", "\t", "~", "*", "$((", "))", ":", "-", "=",
    ">&2", "2>&1", "|&", "@P}",
]  # fmt: skip


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=12))
def test_no_line_of_pieces_that_makes_the_file_is_allowed(
    tmp_path_factory: pytest.TempPathFactory, pieces: Any
) -> None:
    command = "".join(pieces)
    if verdict(command) != "allow":
        return
    folder = tmp_path_factory.mktemp("w")
    words = ["bash", "--noprofile", "--norc", "-c", command]
    subprocess.run(words, cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=20, check=False,
                   stdin=subprocess.DEVNULL)  # fmt: skip
    assert not (folder / "pwned").exists(), f"allowed, and yet it did: {command!r}"
