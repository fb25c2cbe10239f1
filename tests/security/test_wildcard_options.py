"""Options and folders by which an allowed program runs or writes more. Each line really makes the file `pwned`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kheish.domain.permissions import grant as permission_grant, remember as permission_remember
from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, decide
from kheish.errors import Invalid
from kheish.runtime import places

#: a user's own rules, and the command that gets more out of them
ATTACKS = {
    "git log *": "git log --output=pwned",
    "git diff*": "git diff --no-index --output=pwned a b",
    "git show *": "git show --output=pwned",
    "git format-patch *": "git format-patch -o pwned --root HEAD",
    "git archive *": "git archive -o pwned HEAD",
    "git grep *": "git grep -O'touch pwned;:' .",
    "git rebase *": "git rebase --root -x 'touch pwned'",
    "git -P *": "git -P -c alias.x='!touch pwned' x",
    "git branch *": "git branch --edit-description",
    "sort *": "sort -o pwned a",
    "sort -n *": "sort -n a -opwned",
    "uniq *": "uniq a pwned",
    "sed *": "sed 'w pwned' a",
    "sed -n *": "sed -n '1e touch pwned' a",
    "sed -e *": "sed -e p -e 'w pwned' a",
    "awk *": "awk 'BEGIN{system(\"touch pwned\")}'",
    "awk -F: *": "awk -F: '{print > \"pwned\"}' a",
    "find *": "find . -maxdepth 0 -fprint pwned",
    "find . *": "find . -maxdepth 0 -exec touch pwned \\;",
    "tar *": "tar -cf pwned a",
    "tar -cf /dev/null *": "tar -cf /dev/null a --checkpoint=1 --checkpoint-action=exec='touch pwned'",
    "rg *": "rg --pre ./evil x a",
    "python3 *": 'python3 -c \'open("pwned","w")\'',
    "python3 -m *": "python3 -m zipfile -c pwned a",
    "python3 -m json.tool *": "python3 -m json.tool j pwned",
    "perl *": "perl -e 'open(F, \">pwned\")'",
    "make *": "make SHELL=./evil",
    "make -s *": "make -s --eval='$(shell touch pwned)'",
    "env *": "env touch pwned",
    "xargs *": "xargs touch pwned",
    "tee *": "tee ../w/pwned",
    "node *": 'node -e \'require("fs").writeFileSync("pwned","")\'',
    "curl *": "curl -s -o pwned file:///etc/passwd",
    "git config *": "git config --file pwned a.b c",
    "xxd *": "xxd a pwned",
    # an option whose value may only be attached, or which this program does not have
    "git diff *": "git diff -U --output=pwned",
    "git log -5 *": "git log -5 --unified --output=pwned",
    "git show HEAD *": "git show HEAD --format --output=pwned",
    "git blame *": "git blame --abbrev --output=pwned a",
    "git reflog *": "git reflog --min-parents --output=pwned",
    "wget *": "wget -H --output-document=pwned http://127.0.0.1:9/",
}
#: what reads or runs more in the same ways, and makes no file `pwned` here
ALSO = {
    "pytest *": "pytest @args",
    "python3 -m pytest *": "python3 -m pytest @args",
    "wget -q *": "wget -q -m --use-askpass=./evil http://x",
    "curl *": "curl -s -H @b http://x",
    "curl -s *": "curl -s --header=@b http://x",
    "nm *": "nm @args",
    "readelf *": "readelf *.o",
    "mypy *": "mypy @args",
    "ruff check *": "ruff check @args",
    "git grep -n *": "git grep -n -e --open-files-in-pager=./evil x",
}
#: values that are numbers or come attached are the option's own in any case
STILL = {
    "git diff *": "git diff -U5 --unified=3 HEAD",
    "git log *": "git log -n 3 --since 2020-01-01 --format=%h --abbrev=8",
    "head *": "head -n -3 a",
    "cut *": "cut -d - -f 1 a",
    "find *": "find . -mtime -7 -name -x",
    "curl *": "curl -s -H 'Accept: text/html' http://x",
    "pytest tests *": "pytest tests -k 'a and b' -x",
    "grep *": "grep -A 3 -e x a",
}


def prepare(root: Path) -> None:
    root.mkdir()
    (root / "a").write_text("x\n")
    (root / "b").write_text("y\n")
    (root / "j").write_text("{}")
    (root / "Makefile").write_text("all:\n\techo hi\n")
    (root / "evil").write_text("#!/bin/sh\ntouch pwned\n")
    (root / "evil").chmod(0o755)
    run("git init -q . && git add a && git commit -qm x", root)


def run(command: str, root: Path) -> None:
    env = {
        "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(root.parent), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_EDITOR": "touch pwned; :",
    }  # fmt: skip
    words = ["bash", "--noprofile", "--norc", "-c", command]
    subprocess.run(words, cwd=root, env=env, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)


def verdict(command: str, *rules: Rule, workspace: Path = Path("/w"), mode: Any = "default", **more: Any) -> str:
    call = ToolCall(tool="bash", effect="effect", arguments={"command": command, **more})
    looked_up = places.look_up(workspace, permission_grant.folders(call))
    call = ToolCall(tool="bash", effect="effect", arguments=call.arguments, places=looked_up)
    facts = SandboxFacts(mode="ask", available=True)
    return decide(call, mode=mode, scopes=[("session", rules)], sandbox=facts, workspace=workspace).decision


def allow(match: str, workdir: str = ".") -> Rule:
    return Rule(tool="bash", match=match, decision="allow", workdir=workdir)


@pytest.mark.found("S5")
@pytest.mark.demand(16)
@pytest.mark.parametrize(("match", "command"), ATTACKS.items(), ids=ATTACKS)
def test_an_option_that_runs_or_writes_asks(match: str, command: str, tmp_path: Path) -> None:
    root = tmp_path / "w"
    prepare(root)
    if shutil.which(command.split()[0]) is not None:
        run(command, root)
        assert (root / "pwned").exists(), "the attack is real"

    assert verdict(command, allow(match), allow("cat *")) == "ask"
    assert verdict(command, allow(match), mode="dont_ask") == "deny"
    assert verdict(command, allow(command)) == "allow", "what is written exactly is allowed exactly"


@pytest.mark.demand(16)
@pytest.mark.parametrize(("match", "command"), ALSO.items(), ids=ALSO)
def test_a_file_of_options_asks(match: str, command: str) -> None:
    assert verdict(command, allow(match)) == "ask"


@pytest.mark.demand(16)
@pytest.mark.parametrize(("match", "command"), STILL.items(), ids=STILL)
def test_a_value_of_an_option_is_allowed(match: str, command: str) -> None:
    assert verdict(command, allow(match)) == "allow"


BARE = (
    "git init -q --bare sub; cd sub; git config core.bare false; git config core.worktree .; "
    "git config core.fsmonitor 'touch {}/pwned; false'; cd .."
)


@pytest.mark.demand(16)
@pytest.mark.parametrize(
    ("made", "command", "workdir"),
    [
        (BARE, "git status", "sub"),
        (BARE, "cd sub && git status", None),
        (BARE, "cd sub; git status", None),
        (f"{BARE}; mkdir sub/deep", "git status", "sub/deep"),
        (f"{BARE}; ln -s sub link", "git status", "link"),
        ("mkdir sub; cd sub; git init -q .; git config core.fsmonitor 'touch {}/pwned; false'", "git status", "sub"),
    ],
)
def test_git_in_another_repository_asks(made: str, command: str, workdir: str | None, tmp_path: Path) -> None:
    root = tmp_path / "w"
    prepare(root)
    run(made.format(root), root)
    run(f"cd {workdir or '.'} && {command}", root)
    assert (root / "pwned").exists(), "the attack is real"

    rules = [allow("git status*", "**"), allow("cd *")]
    more = {"workdir": workdir} if workdir else {}
    assert verdict(command, *rules, workspace=root, **more) == "ask"
    assert verdict("git status", *rules, workspace=root) == "allow"


@pytest.mark.found("S5")
def test_a_workspace_that_became_a_bare_repository_asks(tmp_path: Path) -> None:
    for name in ("objects", "refs"):
        (tmp_path / name).mkdir()
    assert verdict("git status", allow("git status*"), workspace=tmp_path) == "allow"
    (tmp_path / "HEAD").write_text("ref: refs/heads/x")
    assert verdict("git status", allow("git status*"), workspace=tmp_path) == "ask"


def test_a_rule_holds_in_the_folder_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/")

    def meets(command: str, rule: Rule, **more: Any) -> str:
        return verdict(command, rule, allow("cd *"), allow("ls *"), workspace=tmp_path, **more)

    assert meets("npm run x", allow("npm run *")) == "allow"
    assert meets("npm run x", allow("npm run *"), workdir="sub") == "ask"
    assert meets("npm run x", allow("npm run *"), workdir=str(tmp_path)) == "allow"
    assert meets("npm run x", allow("npm run *", "sub"), workdir="./sub/") == "allow"
    assert meets("npm run x", allow("npm run *", "sub")) == "ask"
    assert meets("npm run x", allow("npm run *", "sub/*"), workdir="sub/deep") == "allow"
    assert meets("cd sub && npm run x", allow("npm run *", "sub")) == "allow"
    assert meets("cd sub && npm run x", allow("npm run *")) == "ask"
    assert meets("cd sub; npm run x", allow("npm run *", "sub")) == "ask", "cd may fail"
    assert meets("cd sub && ls; npm run x", allow("npm run *", "sub")) == "ask", "and then it is not there"
    assert meets("cd sub && npm run x", allow("npm run *", "**")) == "allow"
    assert meets("cd $HOME && npm run x", allow("npm run *", "**")) == "ask"
    assert meets("npm run x", allow("npm run *", "**"), workdir="link") == "ask", "a link leads elsewhere"
    assert meets("npm run x", allow("npm run *", "**"), workdir="..") == "ask"
    assert meets("cd sub && ls -la", allow("true")) == "allow", "what only looks may look anywhere"
    assert meets("npm run x", allow("npm run x"), workdir="sub") == "ask"


@pytest.mark.parametrize(
    ("command", "match"),
    [
        ("python -m pip install x", None),
        ("python -m pip config list", "python -m pip config list"),
        ("git stash", "git stash"),
        ("git stash list", "git stash list *"),
        ("go vet ./...", "go vet ./..."),
        ("cargo check --all", "cargo check --all"),
        ("git log -5", "git log *"),
        (".venv/bin/python -m pytest -x tests", ".venv/bin/python -m pytest *"),
        ("uv run pytest -q", "uv run pytest *"),
        (".venv/bin/pytest -q", ".venv/bin/pytest *"),
        ("sort -o out in", "sort -o out in"),
        ("git log --output=x", "git log --output=x"),
        ("python /tmp/x.py", "python /tmp/x.py"),
        ("find . -name x", "find . -name x"),
        ("sed -n 1p f", "sed *"),
        ("cd sub", None),
    ],
)
def test_an_offered_pattern_is_no_wider_than_it_looks(command: str, match: str | None) -> None:
    if match is None:
        with pytest.raises(Invalid):
            permission_remember.rule("pattern", "bash", {"command": command}, "allow")
        return
    rule = permission_remember.rule("pattern", "bash", {"command": command, "workdir": "sub/x/.."}, "allow")
    assert (rule.match, rule.workdir) == (match, "sub")


@pytest.mark.parametrize("command", ["env", "FOO=1 make", "timeout 60 make test", "echo $X > f", "xargs rm < list"])
def test_what_a_rule_writes_out_is_allowed_exactly(command: str) -> None:
    assert verdict(command, allow(command)) == "allow"
    assert verdict(command + " x", allow(command)) == "ask"
    assert verdict(command, allow(command), Rule(tool="bash", match=command, decision="deny")) == "deny"
