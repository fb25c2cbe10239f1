"""Command lines are read as bash reads them, or not at all."""

from __future__ import annotations

import pytest

from kheish.jobs import shellwords


def texts(command: str) -> list[str]:
    line = shellwords.parse(command)
    assert line.unreadable is None, line.unreadable
    return [simple.text for simple in line.simple]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("git status --short | grep x && ls; pwd", ["git status --short", "grep x", "ls", "pwd"]),
        ("git status\nrm -rf /", ["git status", "rm -rf /"]),
        ("""'g'"i"t st\\atus $'a\\tb'""", ["git status a\tb"]),
        ("git \\\n  status # rm x", ["git status"]),
        ('echo "a $(rm -rf x)"', ['echo "a $(rm -rf x)"', "rm -rf x"]),
        ("echo `rm x`", ["echo `rm x`", "rm x"]),
        ("diff <(ls a) >(tee b)", ["diff <(ls a) >(tee b)", "ls a", "tee b"]),
        ("(cd a; ls) & { pwd; }", ["cd a", "ls", "pwd"]),
        ("f() { rm x; }; f", ["rm x", "f"]),
        ("for i in $(id); do rm $i; done", ["id", "rm $i"]),
        ("if ls; then rm x; else cat y; fi", ["ls", "rm x", "cat y"]),
        ("case $(id) in a) rm y;; esac", ["id", "rm y"]),
        ("while read a; do rm x; done < list", ["read a", "rm x"]),
        ("! ls || time rm x &", ["ls", "time rm x"]),
        ("cat <<EOF | rm x\nhi $(id)\nEOF\npwd", ["cat", "rm x", "id", "pwd"]),
        ("cat <<'EOF'\n$(rm x)\nEOF\n", ["cat"]),
        ('cat <<< "$(id)"', ["cat", "id"]),
        ("A=$(id) B=c ls", ["ls", "id"]),
        ("echo ${x:-$(id)}", ["echo ${x:-$(id)}", "id"]),
        ("[[ -f $(id) ]] && ls", ["[[ -f $(id) ]]", "id", "ls"]),
        ("echo a#b; rm x", ["echo a#b", "rm x"]),
        ("export A=b", ["export A=b"]),
        ("X=1; ls", ["X=1", "ls"]),
    ],
)
def test_every_command_is_seen(command: str, expected: list[str]) -> None:
    assert texts(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        'echo "unterminated',
        "eval ls",
        "e'v'al ls",
        "source x",
        ". ./x",
        "alias ls=rm",
        "trap 'rm x' EXIT",
        "echo ${x:-`id`}",
        "cat <<EOF\n`rm x`\nEOF\n",
        "cat <<EOF\nEO\\\nF\nrm x\nEOF\n",
        "cat <<EOF",
        "sh <<EOF -c x\nEOF\n",
        "cat <<EOF;rm x\nEOF\n",
        "git > x rm -rf /",
        "gi\\\nt status",
        "ls\r\nrm x",
        "echo `echo \\`rm x\\``",
        "echo $((a['$(rm x)']))",
        "(( x = 1 ))",
        "for ((i=0;i<3;i++)); do ls; done",
        "[[ $x -eq 1 ]]",
        "[ -v 'a[$(rm x)]' ]",
        "printf -v 'a[$(rm x)]' y",
        "a['$(rm x)']=1",
        "echo ${x@P} ${!x}",
        "echo @(a|b)",
        "exec 3<>/dev/tcp/host/1",
        "cat < /dev/tcp/host/1",
        "/bin/r* x",
        "'git status' x",
        "((((" * 100,
        "$(" * 150 + "ls" + ")" * 150,
        "ls \ud800",
    ],
)
def test_what_bash_may_read_otherwise_is_unreadable(command: str) -> None:
    assert shellwords.parse(command).unreadable


def test_words_say_what_is_not_known() -> None:
    # when
    line = shellwords.parse('A=b GIT_PAGER="rm x" git "$x" *.py ~/f {a,b} \'*\' "\\$x"')

    # then
    (simple,) = line.simple
    assert simple.assignments == ("A=b", 'GIT_PAGER="rm x"')
    assert [word.dynamic for word in simple.words] == [False, True, False, True, True, False, False]
    assert [word.glob for word in simple.words] == [False, False, True, False, False, False, False]
    assert simple.words[-1].text == "$x"
    assert simple.dynamic
    assert shellwords.parse("$x a").simple[0].words[0].dynamic


def test_redirections_name_their_file() -> None:
    # when
    line = shellwords.parse("{ ls > a 2>&1; pwd; } &>> 'b c' < in; echo >| $x; ls 2>/dev/null >&2; ls > ~/x; >d")

    # then
    assert line.unreadable is None
    assert [(redirect.target, redirect.writes) for redirect in line.redirections] == [
        ("a", True),
        ("b c", True),
        ("in", False),
        (None, True),
        ("/dev/null", True),
        (None, True),
        ("d", True),
    ]
    assert [redirect.dynamic for redirect in line.redirections].count(True) == 2


@pytest.mark.parametrize(
    "command",
    [
        "xargs rm", "env A=b rm x", "sudo rm", "/usr/bin/env rm", "nohup rm x", "timeout 5 rm", "command rm",
        "exec rm", "sh -c 'rm x'", "bash", "find . -name x -exec rm {} ';'", "find . $x", "git -c a=b status",
        "git -C x -c a=b log", "git --exec-path=x y", "git rebase -ix ls", "git clone --upload-p x y",
        "git bisect run x", "git $x", "tar xIf cmd a", "tar --use-compress-prog=x a", "$x y",
        "sort --compress-program x", "git rebase $x",
        "rsync -ae cmd x y", "\\xargs rm", "busybox rm", "time rm",
    ],
)  # fmt: skip
def test_commands_that_run_others_are_told(command: str) -> None:
    (simple,) = shellwords.parse(command).simple
    assert shellwords.runs_others(simple)


@pytest.mark.parametrize(
    "command",
    ["git status", "git push -u origin main", "git switch -c x", "git commit -m -c", "find . -name '*.py'", "ls -x",
     "tar xzf a.tar", "python x.py", "git log --oneline -- *.py", 'git commit -m "$x"', "git log $x"],
)  # fmt: skip
def test_ordinary_commands_are_not(command: str) -> None:
    (simple,) = shellwords.parse(command).simple
    assert not shellwords.runs_others(simple)
