"""git is started in one place, and neither a caller's environment nor a configuration changes what it says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

from kheish.cli import backup as cli_backup, log as cli_log
from kheish.offline import scanning
from kheish.store.git import blame, command as git, commits, remote, restore
from tests.test_shape import MODULES, ROOT

#: what git sets for a hook, and what a caller may have set
LEAKING = {
    "GIT_DIR": "{other}/.git", "GIT_WORK_TREE": "{other}", "GIT_INDEX_FILE": "{other}/.git/index", "GIT_PREFIX": "sub/",
    "GIT_OBJECT_DIRECTORY": "{other}/.git/objects", "GIT_ALTERNATE_OBJECT_DIRECTORIES": "{other}/.git/objects",
    "GIT_COMMON_DIR": "{other}/.git", "GIT_NAMESPACE": "other", "GIT_CONFIG": "{other}/.git/config",
    "GIT_CONFIG_PARAMETERS": "'color.ui'='always'", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor",
    "GIT_CONFIG_VALUE_0": "touch {other}/ran", "GIT_EXTERNAL_DIFF": "touch {other}/ran",
    "GIT_PAGER": "touch {other}/ran",
    "GIT_LITERAL_PATHSPECS": "1", "GIT_GLOB_PATHSPECS": "1", "GIT_TRACE": "1", "GIT_TRACE_SETUP": "1",
    "GIT_CEILING": "x", "GIT_SHALLOW_FILE": "{other}/shallow", "GIT_REPLACE_REF_BASE": "refs/evil/",
    "GIT_DEFAULT_HASH": "sha256", "GIT_AUTHOR_NAME": "evil", "GIT_EDITOR": "touch {other}/ran",
    "GIT_REFLOG_ACTION": "x",
}  # fmt: skip
HOSTILE = """[color]\n ui = always\n branch = always\n[core]\n pager = touch {other}/ran\n fsmonitor = touch {other}/ran
 hooksPath = {other}\n quotePath = false\n[diff]\n external = touch {other}/ran\n noprefix = true\n relative = true
[log]\n showSignature = true\n decorate = full\n follow = true\n date = raw\n[blame]\n ignoreRevsFile = {other}/ignored
 coloring = highlightRecent\n showEmail = true\n date = raw\n[status]\n short = true\n branch = true
[mailmap]\n file = {other}/mailmap\n[i18n]\n logOutputEncoding = UTF-16\n[column]\n ui = always\n[format]\n pretty = raw
[user]\n name = Ann\n email = ann@example.com\n"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, under everything that may leak into git."""
    made, other = tmp_path / "root", tmp_path / "other"
    for folder in (made, other):
        folder.mkdir()
        say(folder, "init", "-q", "-b", "main")
        (folder / "file.txt").write_text("one\ntwo secret-value-1\n")
        say(folder, "add", ".")
        say(
            folder, "-c", "user.name=Böb", "-c", "user.email=bob@example.com", "commit", "-q", "-m", f"in {folder.name}"
        )
    head = say(made, "rev-parse", "HEAD").strip()
    (other / "ignored").write_text(f"{head}\nnot a revision\n")
    (other / "mailmap").write_text("Forged <ann@example.com> <bob@example.com>\n")
    (other / "post-checkout").write_text(f"#!/bin/sh\ntouch {other}/ran\n")
    (other / "post-checkout").chmod(0o755)
    (tmp_path / "gitconfig").write_text(HOSTILE.format(other=other))
    for name, value in LEAKING.items():
        monkeypatch.setenv(name, value.format(other=other))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return made


def say(folder: Path, *words: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean["GIT_CONFIG_GLOBAL"] = os.devnull
    return subprocess.run(["git", *words], cwd=folder, env=clean, check=True, capture_output=True, text=True).stdout


@pytest.mark.found("B4")
async def test_what_is_read_is_what_the_repository_has(root: Path, tmp_path: Path) -> None:
    head = say(root, "rev-parse", "HEAD").strip()

    assert [
        (line["author"], line["summary"], line["commit"]) for line in await blame.lines(root, head, "file.txt")
    ] == [("Böb", "in root", head)] * 2
    assert [(one["commit"], one["author"], one["message"]) for one in cli_log.from_git(root, None, 5)] == [
        (head, "Böb", "in root")
    ]
    assert commits.read(root, "main") == {"commit": head, "author": "Böb <bob@example.com>", "subject": "in root"}
    assert (
        scanning._place(root, say(root, "rev-parse", "HEAD:file.txt").strip(), "blob") == f"commit {head[:7]}, file.txt"
    )
    assert remote.content(root, "file.txt").startswith(b"one\n")
    assert git.identity(root) == ("Ann", "ann@example.com")
    assert not (tmp_path / "other/ran").exists()


@pytest.mark.found("B4")
async def test_what_is_written_is_written_there(root: Path, tmp_path: Path) -> None:
    other = say(tmp_path / "other", "config", "--list", "--local")

    cli_backup._name(root, "origin", str(tmp_path / "bare.git"))
    assert await remote.is_there(root, "origin")
    assert (await remote.target(root, "origin")).url == str(tmp_path / "bare.git")
    restore._git(tmp_path, "clone", "--quiet", str(root), "clone")

    assert (tmp_path / "clone/file.txt").exists() and say(tmp_path / "other", "config", "--list", "--local") == other
    assert not (tmp_path / "other/ran").exists()


def test_what_a_connection_needs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"GIT_SSH_COMMAND": "ssh -i key", "SSH_AUTH_SOCK": "/agent", "GIT_CONFIG_COUNT": "3", "HTTPS_PROXY": "p"}
    pairs = (("http.extraHeader", "a"), ("core.hooksPath", "/evil"), ("safe.directory", "*"))
    for at, (name, value) in enumerate(pairs):
        given |= {f"GIT_CONFIG_KEY_{at}": name, f"GIT_CONFIG_VALUE_{at}": value}
    found = git.environment(given)
    settings = [
        (found[f"GIT_CONFIG_KEY_{at}"], found[f"GIT_CONFIG_VALUE_{at}"]) for at in range(int(found["GIT_CONFIG_COUNT"]))
    ]
    assert settings[:3] == [pairs[0], pairs[2], ("core.hooksPath", os.devnull)]
    assert ("core.hooksPath", "/evil") not in settings and found["GIT_SSH_COMMAND"] and found["SSH_AUTH_SOCK"]
    assert git.environment({"GIT_CONFIG_COUNT": "bogus"})["GIT_CONFIG_KEY_0"] == "core.hooksPath"


def test_nothing_else_starts_git() -> None:
    starts = {"run", "Popen", "create_subprocess_exec", "check_output", "check_call", "call", "execvp", "system"}
    found = []
    for path in MODULES:
        name = path.relative_to(ROOT / "kheish").as_posix()
        text = path.read_text()
        if name == "store/git/command.py" or not re.search(r"""["']git["']""", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.List | ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
                words = [one.value for one in node.elts if isinstance(one, ast.Constant)]
                if words[0] == "git" and name not in _WORDS_ONLY:
                    found.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in starts and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and first.value == "git":
                    found.append(f"{name}:{node.lineno}")
    assert found == []


#: lists of names of programs, which nothing starts
_WORDS_ONLY = (
    "client/shapes.py",
    "domain/permissions/remember.py",
    "domain/workers/definition.py",
    "runtime/agents/worktrees.py",
)
