"""Command lines against rules: what an allow covers, and that a deny is not dodged."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, Verdict, decide

WORKSPACE = Path("/srv/space")


def meets(command: str, *rules: Rule, mode: Any = "default", **arguments: Any) -> Verdict:
    call = ToolCall(tool="bash", effect="effect", arguments={"command": command, **arguments})
    sandbox = SandboxFacts(mode="required", available=True)
    return decide(call, mode=mode, scopes=[("session", rules)], sandbox=sandbox, workspace=WORKSPACE)


def allow(match: str | None = None, tool: str = "bash", *, network: bool = False) -> Rule:
    return Rule(tool=tool, match=match, decision="allow", network=network)


def deny(match: str, tool: str = "bash") -> Rule:
    return Rule(tool=tool, match=match, decision="deny")


ALLOWED = [allow("git status*"), allow("echo *"), allow("cat *"), allow("xargs *"), allow("find *"), allow("git log *")]


@pytest.mark.parametrize(
    "command",
    [
        "git status",
        "git status -s && echo done",
        "git status | cat -n; echo 'a; rm -rf x'",
        'echo "$HOME/x" ~/y $?',
        "cat *.py",
        "# look\ngit status # and see\n\ngit log\n",
        "git log \\\n  -3",
        "git status 2>&1 >/dev/null",
        "cat < notes.txt",
        "git log",
    ],
)
def test_a_line_is_allowed_if_rules_cover_every_command(command: str) -> None:
    assert meets(command, *ALLOWED).decision == "allow"


@pytest.mark.demand(16)
@pytest.mark.parametrize(
    "command",
    [
        "git status; rm x",
        "git status\nrm x",
        "git status & rm x",
        "git status || rm x",
        "git status $(rm x)",
        'git status "`rm x`"',
        "echo $(git status; rm x)",
        "cat <(rm x)",
        "cat <<E\n$(rm x)\nE",
        "echo x | xargs rm",
        "find . -exec rm {} ;",
        "find . -delete -execdir rm {} +",
        "git -c core.pager='rm x' log -p",
        "git --exec-path=. log",
        "PATH=. git status",
        "PATH=.; git status",
        "export PATH=.; git status",
        "for PATH in .; do git status; done",
        "git() { rm x; }; git status",
        "echo $UNKNOWN",
        'echo "$(git status -s)"',
        "cat <<'E'\n$(rm x)\nE",
        "(git status)",
        "git status &",
        "! git status",
        "git status {a,b}",
        "echo ${x:-$(rm x)}",
        "./git status",
        "'git status' x",
        "echo x > /etc/passwd",
        "echo x > ../out",
        "echo x >> ~/.bashrc",
        "echo x > $OUT",
        "cat < /etc/passwd",
        "echo x > out.txt",
        "eval 'git status'",
        "git status $(",
        "",
        "# git status",
    ],
)
def test_what_rules_do_not_cover_asks(command: str) -> None:
    verdict = meets(command, *ALLOWED)

    assert verdict.decision == "ask"
    assert meets(command, *ALLOWED, mode="dont_ask").decision == "deny"


@pytest.mark.demand(16)
@pytest.mark.parametrize(
    "command",
    [
        "git push",
        "git  push origin",
        "g'i't \"push\"",
        "\\git push",
        "/usr/bin/git push",
        "git -C x --no-pager push",
        "git -c a=b push",
        "ls; git push",
        "ls\ngit push",
        "echo $(git push)",
        "echo `git push`",
        "cat <(git push)",
        "cat <<E\n$(git push)\nE",
        "A=b git push",
        "env -i A=b git push",
        "sudo -u x git push",
        "nohup timeout 5 git push &",
        "echo origin | xargs git push",
        "find . -exec git push ;",
        "bash -c 'ls && git push'",
        "bash -c \"sh -c 'git push'\"",
        "if true; then git push; fi",
        "f() { git push; }; f",
        "eval 'git push'",
        "git push $(",
        "! git push",
        "time git push",
    ],
)
def test_a_denied_command_is_denied_wherever_it_stands(command: str) -> None:
    assert meets(command, deny("git push *"), allow(), mode="bypass").decision == "deny"


@pytest.mark.parametrize(
    "command",
    ["git $X", "$G push", "git $(echo push)", "echo push | xargs git", "bash x.sh", "git pus*", "git $'\\ux'"],
)
def test_what_may_be_denied_asks_though_all_of_bash_is_allowed(command: str) -> None:
    assert meets(command, allow()).decision == "allow"
    assert meets(command, allow(), deny("git push*")).decision == "ask"
    assert meets("ls *.py $X", allow(), deny("git push*")).decision == "allow"


WORDS = st.sampled_from(["git", "push", "ls", "'git' pu''sh", "$X", "*", "a b", '"git push"', "-c", "bash", "/bin/git"])
JOINS = st.sampled_from([" ", "; ", " && ", "\n", " | ", " $(", "`", " > ", " <<E\n", ") ", " xargs ", '"', "'", "\\"])


@pytest.mark.demand(16)
@given(st.lists(st.tuples(WORDS, JOINS), max_size=6), st.permutations([allow(), allow("*"), deny("git push*")]))
def test_a_denied_command_at_the_end_of_any_line_is_never_allowed(pieces: list[Any], rules: list[Rule]) -> None:
    command = "".join(word + join for word, join in pieces)

    assert meets(command + "\ngit push", *rules).decision != "allow" or "#" in command
    assert meets(command, *rules).decision in ("allow", "ask", "deny")


@pytest.mark.parametrize("command", ['git commit -m "$(cat <<E\nx\nE\n)"', 'git log --since="$(date +%F)"'])
def test_words_after_a_known_subcommand_are_told_apart_from_a_deny(command: str) -> None:
    assert meets(command, deny("git push*"), deny("rm *"), mode="bypass").decision == "allow"


def test_the_closest_rule_explains_why_it_does_not_allow() -> None:
    rules = [allow("git *"), allow("git commit *")]
    assert "(session rule 2)" in meets("git commit --no-verify", *rules).why
    assert "holds in . (workdir)" in meets("git commit -m x", *rules, workdir="src").why


def test_writing_inside_the_workspace_by_redirection_is_a_write() -> None:
    docs = allow("docs/**", "write_file")

    assert meets("echo x > docs/a", *ALLOWED, docs).decision == "allow"
    assert meets("echo x > a", *ALLOWED, docs, workdir="docs").decision == "allow"
    assert meets("echo x > docs/../a", *ALLOWED, docs).decision == "ask"
    assert meets("cd docs; echo x > docs/a", *ALLOWED, allow("cd *"), docs).decision == "ask"
    assert meets("echo x > a", *ALLOWED, mode="accept_edits").decision == "allow"
    assert meets("echo x > .git/hooks/x", *ALLOWED, mode="accept_edits").decision == "ask"
    assert meets("echo x > .env", allow(), deny("*.env", "write_file")).decision == "deny"


@pytest.mark.parametrize(
    "command", ["pwd\u3000", "\u00a0pwd", "pwd\r", "git -", "git - x", "git -- -x", "git '' x", "git *"]
)
def test_odd_words_are_neither_what_a_rule_writes_out_nor_an_error(command: str) -> None:
    assert meets(command, allow("pwd"), allow("git *")).decision == "ask"


def test_a_match_is_written_as_on_the_command_line() -> None:
    commit = allow("git commit -m 'fix it' *.py")

    assert meets('git commit -m "fix it" a.py', commit).decision == "allow"
    assert meets("git commit -m fix it a.py", commit).decision == "ask"
    assert meets("cat '*'", allow("cat '*'")).decision == "allow"
    assert meets("cat x", allow("cat '*'")).decision == "ask"
    assert meets("[ -f x ]", allow("[ -f x ]")).decision == "allow"


def test_the_network_needs_a_rule_that_says_so_for_every_command() -> None:
    rules = [allow("pip install *", network=True), allow("curl *", network=True), allow("echo *")]

    assert meets("pip install x | curl y", *rules).network
    assert not meets("pip install x; echo y", *rules).network
    assert not meets("make", *rules, mode="bypass").network
    asks = Rule(tool="bash", match="npm *", decision="ask", network=True)
    assert meets("npm install", asks).network and not meets("npm install; ls", asks).network


def test_what_patterns_allow_runs_as_they_read_it() -> None:
    rules = [allow("pip install *", network=True), allow("echo *")]
    asks = Rule(tool="bash", match="npm *", decision="ask", network=True)

    assert meets("pip install x; echo y", *rules).as_read
    assert meets("pip install x", rules[0], mode="bypass").as_read
    assert meets("pip install x", rules[0], allow()).as_read, "the network is for what the pattern is about"
    assert not meets("pip install x", allow("pip install *"), allow()).as_read, "a rule about all is about the text"
    assert meets("npm i", asks, mode="bypass").network and meets("npm i", asks, mode="bypass").as_read
    assert not meets("npm i $(x)", asks, mode="bypass").network
    assert not meets("make", mode="bypass").as_read and not meets("npm i", asks).as_read
    exact = Rule(tool="bash", match='{"command": "ls $(x)"}', exact=True, decision="allow")
    assert meets("ls $(x)", exact).decision == "allow" and not meets("ls $(x)", exact).as_read


@pytest.mark.parametrize(
    ("command", "rules"),
    [
        ("cd src && ls -la 2>&1 | tail -5", ("cd *", "ls*", "tail *")),
        ("ls -la", ("ls*",)),
        ("rg foo src", ("rg *",)),
        ("python -m pytest tests/a.py::test_b[x-1] -k 'a or b'", ("python -m pytest *",)),
        (".venv/bin/python -m pytest -x 2>/dev/null || true", (".venv/bin/python -m pytest*", "true")),
        ("git status --short; git diff HEAD~1 -- '*.py' | head -50", ("git *", "head *")),
        ('git commit -m "fix: it\'s done\n\nMore."', ("git commit *",)),
        ("# run the tests\npython3 -m unittest discover -s tests -v\n", ("python3 -m unittest*",)),
        ("find . -name '*.py' -not -path './.git/*' | sort | head", ("find *", "sort*", "head*")),
        ("grep -rn --include=*.py 'def .*(x)$' kheish/", ("grep *",)),
        ("sed -n '1,20p' a.py; echo \"exit: $?\"", ("sed -n *", "echo *")),
        ("wc -l *.py docs/[a-z]*.md ~/x", ("wc *",)),
    ],
)
def test_ordinary_lines_are_allowed_by_sensible_rules(command: str, rules: tuple[str, ...]) -> None:
    verdict = meets(command, *map(allow, rules))

    assert (verdict.decision, verdict.as_read) == ("allow", True), verdict.why
    assert meets(command, *map(allow, rules[1:])).decision == "ask"


def test_judging_takes_under_a_millisecond_once_a_command_is_known() -> None:
    rules = [*ALLOWED, *(deny(f"tool{number} *x*") for number in range(50))]
    command = "git status -s && cat a b c | cat -n | echo x"
    meets(command, *rules)

    best = min(_timed(command, rules) for _ in range(20))

    assert best < 0.002


def test_a_hostile_command_does_not_make_matching_slow() -> None:
    started = time.process_time()

    meets("xargs " + "a " * 45_000, allow("*a*a*a*b"), deny("*a*a*a*b"))
    meets("git " + "-c " * 30_000, allow("*a*a*a*b"), deny("*a*a*a*b"))

    for piece in ("a|", "a;", "<", ">a ", "$(", "a&&", "x=1 ", "cat <<X\n"):
        verdict = meets("echo " + piece * (70_000 // len(piece)), allow("*"), deny("git push *"), mode="dont_ask")
        assert verdict.decision == "deny" and verdict.why

    assert time.process_time() - started < 5


def _timed(command: str, rules: list[Rule]) -> float:
    started = time.process_time()
    meets(command, *rules)
    return time.process_time() - started
