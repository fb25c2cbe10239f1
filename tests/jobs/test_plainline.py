"""The plain subset: what is in it and how it is read, what is not, and that its re-emission means the same."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from kheish.jobs import plainline, plainrun
from kheish.jobs.plainwords import Piece, PlainWord, SimplePlain


def plain(command: str) -> plainline.Plain:
    read = plainline.read(command)
    assert isinstance(read, plainline.Plain), read.why
    return read


@pytest.mark.parametrize(
    ("command", "words", "operators"),
    [
        ("git status --short | grep x && ls; pwd", ["git status --short", "grep x", "ls", "pwd"], "| && ;"),
        ("git status\nls\n\n", ["git status", "ls"], ";"),
        ("""'g'"i"t st\\atus a' 'b""", ["git status a b"], ""),
        ("git \\\n  status # rm x", ["git status"], ""),
        ("cd x && pytest -q 2>&1 | tail -5", ["cd x", "pytest -q", "tail -5"], "&& |"),
        ("python -m pytest tests/a.py::test_b", ["python -m pytest tests/a.py::test_b"], ""),
        ("git stash show stash@{0}", ["git stash show stash@{0}"], ""),
        ("grep 'a$' \"b$\" c$ 'it'\\''s'", ["grep a$ b$ c$ it's"], ""),
        ('git commit -m "one: `x`\n"'.replace("`", "\\`"), ["git commit -m one: `x`\n"], ""),
        ("[ -f x ] || echo a#b", ["[ -f x ]", "echo a#b"], "||"),
        ("find . -name '*.py' -newer a", ["find . -name *.py -newer a"], ""),
        ("git diff HEAD~1..HEAD^ -- :/a", ["git diff HEAD~1..HEAD^ -- :/a"], ""),
    ],
)
def test_what_is_plain_is_read(command: str, words: list[str], operators: str) -> None:
    read = plain(command)

    assert [one.text for one in read.commands] == words
    assert " ".join(read.operators) == operators
    assert plain(plainrun.emit(read)) == read, "the re-emission is read as the same"


@pytest.mark.parametrize(
    "command",
    [
        "git status\n\\touch x",
        "git status <<X\n$x\n`touch x`",
        "git status =~\ntouch x",
        "for \\\nPATH in a; do ls; done",
        "printf $(echo -v) PATH x",
        "printf -[v] PATH x",
        "test -v \"$(printf 'x\\133$(touch y)]')\"",
        "ls >&2$$$!x touch y",
        "ls &>a$?$!#b touch y",
        "ls -$HOME",
        "ls -*",
        "$HOME/x",
        "l? x",
        "l''s *(a)",
        "ls $'a' $\"b\"",
        "ls $[1] $((1)) ${x:-a} $x $_ $1 $@ $$ $!",
        "ls ~root",
        "ls a=~/x b:~/y",
        "ls {a..c}",
        "A=b ls",
        "A=b",
        "ls & pwd",
        "ls |& cat",
        "ls ;; pwd",
        "ls ; ; pwd",
        "ls &&",
        "&& ls",
        "> a",
        "ls > a b",
        "ls > $HOME/x",
        "ls > *",
        "ls 3> x",
        "ls 2>&3",
        "ls >&x",
        "ls 2>&-",
        "ls <> x",
        "cat < /dev/tcp/h/1",
        "cat <<< x",
        "cat <(ls)",
        "cd x > y",
        "(ls)",
        "{ ls; }",
        "! ls",
        "time ls",
        "if ls; then pwd; fi",
        "[[ -f x ]]",
        "f() { ls; }",
        "eval ls",
        "e'v'al ls",
        ". ./x",
        "command ls",
        "export A=b",
        "read PATH",
        "set -f",
        "-x",
        "'a b'",
        "''",
        "ls 'a",
        'ls "a',
        "ls \\",
        "l\\\ns",
        "ls\r",
        "ls \x1b[0m",
        "ls\u00a0-l",
        "ls a\u2028b",
        "ls \ud800",
        "ls a\u202eb",
        "",
        "# ls",
        "ls [a-z",
        "ls [[:alpha:]]",
        "ls " + "a" * plainline.MAX_BYTES,
        "ls;" * (plainline.MAX_COMMANDS + 1),
    ],
)
def test_what_is_not_plain_is_refused(command: str) -> None:
    read = plainline.read(command)

    assert isinstance(read, plainline.Refusal) and read.why


def test_open_words_say_what_is_known() -> None:
    (command,) = plain('ls --include=*.py "$HOME"/a src/[ab]?.c ~/x "n: $?" \'*\'').commands

    assert [word.is_open for word in command.words] == [False, True, True, True, True, True, False]
    assert [word.has_glob for word in command.words] == [False, True, False, True, False, False, False]
    assert [word.known for word in command.words] == ["ls", "--include=", "", "src/", "", "n: ", "*"]
    assert command.plain_words[1:4] == ("--include=\0.py", "\0/a", "src/\0\0.c")


def run(command: str | plainline.Plain, folder: Path) -> subprocess.CompletedProcess[str]:
    line = plain(command) if isinstance(command, str) else command
    argv = plainrun.argv(line, root=str(folder), path_of=lambda target: target)
    env = {"PATH": "/usr/bin:/bin", "HOME": "/home of/x", "LANG": "C.UTF-8"}
    return subprocess.run(
        argv, cwd=folder, env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False
    )


@pytest.mark.found("S2")
def test_what_runs_means_what_was_read(tmp_path: Path) -> None:
    for name in ("-v", "b.py", "a.py", ".h.py"):
        (tmp_path / name).touch()

    done = run("printf '[%s]' \"$HOME\"/a ~ *.py '*' * a$ 'it'\\''s' 'é' '' && false || echo \" $?\" # x", tmp_path)
    assert done.stdout == "[/home of/x/a][/home of/x][a.py][b.py][*][a.py][b.py][a$][it's][é][] 1\n", done.stderr
    assert run("printf -v PATH x; ls -d . | cat; exit 3", tmp_path).returncode == 3
    assert "not found" not in run("printf -v PATH x; ls", tmp_path).stderr, "printf is the program"


@pytest.mark.parametrize(
    "words",
    [
        ("test", "-v", "a[$(touch pwned)]"),
        ("[", "-v", "a[$(touch pwned)]", "]"),
        ("printf", "-v", "a[$(touch pwned)]", "x"),
        ("eval", "touch pwned"),
        ("read", "a[$(touch pwned)]"),
        ("echo", "$(touch pwned)", "`touch pwned`", "';touch pwned;'", '";touch pwned;"', "\\", "\ntouch pwned"),
        ("echo", "<(touch pwned)", "&", "touch", "pwned", "#", "\n"),
    ],
)
def test_no_word_is_code_even_if_reading_let_it_through(words: tuple[str, ...], tmp_path: Path) -> None:
    command = SimplePlain(tuple(PlainWord((Piece("literal", word),)) for word in words))

    done = run(plainline.Plain((command,), ()), tmp_path)

    assert not (tmp_path / "pwned").exists()
    assert words[0] != "echo" or done.stdout == " ".join(words[1:]) + "\n"


def test_redirections_open_what_was_judged(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "docs/l").symlink_to("../src/y")
    (tmp_path / "g").symlink_to("src")

    done = run(
        "echo one > docs/a && echo two >> docs/a; cat < docs/a | tr o 0; : > docs/b; pwd &> 'docs/c d'", tmp_path
    )
    assert (done.stdout, done.stderr) == ("0ne\ntw0\n", "")
    assert (tmp_path / "docs/b").read_text() == "" and (tmp_path / "docs/c d").read_text() == f"{tmp_path}\n"
    assert run("ls nothing > docs/e 2>&1 || echo failed", tmp_path).stdout == "failed\n"
    assert "nothing" in (tmp_path / "docs/e").read_text()

    refused = run("echo x > docs/l; echo x > g/y; cat < g/y; echo x > g", tmp_path)
    assert refused.stdout == "" and refused.stderr.count("links are not followed") == 4
    assert not list((tmp_path / "src").iterdir())
    assert run("nothing > docs/f", tmp_path).returncode == 127


@pytest.mark.parametrize(
    "piece",
    [
        "a|",
        "a;",
        "{",
        "{a",
        "'",
        '"',
        "\\",
        "$",
        "{a,",
        "[",
        "(",
        "$(",
        "<<X\n",
        "a=",
        "~",
        " *",
        "`",
        "#\n",
        "((",
        "case ",
    ],
)
def test_reading_takes_bounded_time(piece: str) -> None:
    command = "echo " + piece * (100_000 // len(piece))

    started = time.process_time()
    plainline.read(command)
    plainline.read(command[: plainline.MAX_BYTES])

    assert time.process_time() - started < 1.0
