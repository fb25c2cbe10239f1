"""A confined command leaves nothing behind that the user's own git would run or obey, and commits all the same."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kheish.jobs import gitdirs, probing
from kheish.runtime.tools import shell
from kheish.runtime.tools.shell import Bash, SandboxSettings
from tests.runtime.tools.conftest import context as context, jobs as jobs

pytestmark = pytest.mark.skipif(not probing.probe().available, reason="bubblewrap does not work here")

GIT = ("git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "protocol.file.allow=always")
FSMONITOR = "'[core]\n fsmonitor = \"touch pwned\"\n'"
#: each would make the user's next git command run a program, or change what git obeys
ATTACKS = {
    "config": "git config core.fsmonitor 'touch pwned'; printf %s {evil} >> .git/config; : > .git/config",
    "hooks": "echo 'touch pwned' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
    "hooks renamed": "mv .git/hooks .git/h; mkdir -p .git/hooks; echo 'touch pwned' > .git/hooks/pre-commit",
    "config renamed": "mv .git/config .git/c; ln -f /dev/null .git/config; ln -sf ../evil .git/config",
    "lock": "printf %s {evil} > .git/config.lock; mv .git/config.lock .git/config",
    "the folder renamed": "mv .git x && git init -q && git config core.fsmonitor 'touch pwned'",
    "the folder removed": "rm -rf .git; git init -q; git config core.fsmonitor 'touch pwned'",
    "commondir": "git clone -q --bare . evil; printf %s {evil} >> evil/config; echo ../evil > .git/commondir; sleep 1",
    "commondir late": "sleep 0.3; git clone -q --bare . e; printf %s {evil} >> e/config; echo ../e > .git/commondir",
    "worktree config": "printf %s {evil} > .git/config.worktree",
    "a submodule": "printf %s {evil} >> .git/modules/sub/config; echo x > .git/modules/sub/hooks/pre-commit; "
    "echo 'gitdir: ../evil' > sub/.git; rm -f sub/.git; mv sub/.git sub/g",
    "a nested repository": "printf %s {evil} >> deep/er/.git/config; mv deep/er/.git deep/er/g",
    "a worktree": "cd .git/worktrees/side; printf %s {evil} > config.worktree; echo ../../evil > commondir",
    "hooks that the configuration names": "echo 'touch pwned' > .husky/pre-commit; mv .husky x; echo x > .husky2/a",
    "an included file": "printf %s {evil} >> shared.gitconfig",
    "attributes": "echo '* filter=evil' > .git/info/attributes",
}  # fmt: skip
#: what agents do with git, and must go on working
WORK = """set -e
echo 1 > new; git add new; git commit -qm one; git log -1 --format='%an <%ae>|%cn'
git checkout -qb topic; echo 2 > new; git commit -qam two; git switch -q main; git merge -q --no-edit topic
git branch -q -d topic; git tag -a -m t v1; echo 3 > new; git stash -q; git stash pop -q; git restore new
git checkout -q -b other HEAD~1; git rebase -q main; git switch -q main; git reset -q --hard HEAD
git worktree add -q tree other; git -C tree status --short; git worktree remove tree
git gc -q; git status --short; git branch -m other renamed || true; git fetch -q . main; git cherry-pick --quit
git reflog -1 --format=%gs; git submodule status; git -C sub status --short; git notes add -m n
git clean -qfd -e deep -e .husky2; git branch -q -D renamed
mkdir fresh && cd fresh && git init -q && git config user.name Bot && git commit -qm a --allow-empty
cd .. && rm -rf fresh
git clone -q . copy && git -C copy log --oneline | wc -l | awk '$1 > 2 {print "cloned"}'; rm -rf copy
git config user.name
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a submodule, a linked worktree, a nested repository, named hooks and an included file."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    (tmp_path / "home").mkdir()
    folder = tmp_path / "workspace"
    for name in ("source", "workspace", "workspace/deep/er"):
        (tmp_path / name).mkdir(parents=True)
        git(tmp_path / name, "init", "-q", "-b", "main")
        git(tmp_path / name, "commit", "-q", "--allow-empty", "-m", "first")
    git(folder, "submodule", "add", "-q", str(tmp_path / "source"), "sub")
    (folder / ".husky").mkdir()
    (folder / ".husky/pre-commit").write_text("#!/bin/sh\ntrue\n")
    (folder / ".husky/pre-commit").chmod(0o755)
    (folder / ".husky2").mkdir()
    (folder / "shared.gitconfig").write_text("[alias]\n")
    git(folder, "add", "sub", ".husky", "shared.gitconfig")
    git(folder, "commit", "-q", "-m", "files")
    git(folder, "worktree", "add", "-q", str(tmp_path / "side"))
    git(folder, "config", "extensions.worktreeConfig", "true")
    git(folder, "config", "core.hooksPath", ".husky")
    git(folder, "config", "include.path", "../shared.gitconfig")
    return folder


def git(folder: Path, *words: str) -> str:
    return subprocess.run([*GIT, "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def run(root: Path, tmp_path: Path, context: Callable[..., object]) -> Iterator[Callable[[str], object]]:
    settings = SandboxSettings(mode="required", available=True)
    tool = shell.make(lambda: settings)

    async def command(text: str) -> str:
        call = Bash(command=text)
        here = context(key=str(hash(text)))
        result = await tool.run(call, context(key=str(hash(text)), note=await tool.plan(call, here)))
        return result.content

    yield command


def obeyed(root: Path) -> dict[str, bytes]:
    """What git obeys in the workspace, by path."""
    names = ("config", "hooks", "commondir", "config.worktree", ".husky", "shared.gitconfig", "attributes")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and (path.name == ".git" or set(path.relative_to(root).parts) & set(names))
    }


@pytest.mark.found("S5")
@pytest.mark.parametrize("attack", ATTACKS, ids=ATTACKS)
async def test_nothing_is_left_that_the_users_git_would_obey(root: Path, run, attack: str) -> None:
    before = obeyed(root)

    said = await run(ATTACKS[attack].format(evil=FSMONITOR))

    after = {name: raw for name, raw in obeyed(root).items() if not name.startswith(("evil/", "e/", "x/"))}
    assert after == before, said
    if attack == "the folder removed":
        return  # what it had to say is lost, and nothing else is said
    assert git(root, "rev-parse", "--git-common-dir") == ".git\n"
    git(root, "status")
    git(root, "commit", "-q", "--allow-empty", "-m", "mine")
    assert not list(root.parent.rglob("pwned"))


async def test_agents_work_with_git_all_the_same(root: Path, run) -> None:
    before = obeyed(root)

    said = await run(WORK)

    assert said.splitlines()[-2:] == ["cloned", "Kheish agent"], said
    assert "Kheish agent <agent@kheish.invalid>|Kheish agent" in said
    assert obeyed(root) == before
    assert git(root, "status", "--short") == "" or "deep" in git(root, "status", "--short")


@pytest.mark.found("C1")
@pytest.mark.parametrize(
    ("configured", "identity", "expected"),
    [
        ({"user.name": "Ann", "user.email": "ann@example.com"}, (None, None), "Ann <ann@example.com>"),
        ({"user.name": "Ann", "user.email": "ann@example.com"}, ("Bot", None), "Bot <ann@example.com>"),
        ({}, ("Bot", "bot@example.com"), "Bot <bot@example.com>"),
        ({"user.name": "Ann"}, (None, None), "Ann <agent@kheish.invalid>"),
    ],
)
async def test_commits_of_commands_have_an_author(root: Path, context, configured, identity, expected) -> None:  # type: ignore[no-untyped-def]
    for name, value in configured.items():
        git(root, "config", name, value)
    settings = SandboxSettings(mode="required", available=True, identity=identity)
    tool = shell.make(lambda: settings)
    call = Bash(command="git commit -q --allow-empty -m x && git log -1 --format='%an <%ae>'")
    result = await tool.run(call, context(note=await tool.plan(call, context())))
    assert result.content == expected


async def test_a_folder_that_looks_like_a_bare_repository_is_none(root: Path, run) -> None:
    made = "mkdir -p bare/objects bare/refs; cd bare; echo 'ref: refs/heads/main' > HEAD; "
    said = await run(made + f"printf %s {FSMONITOR} > config; git --no-optional-locks status; git log; git diff; ls")
    assert any(words in said for words in ("bare repository", "not a git repository", "must be run in a work tree"))
    assert "pwned" not in said


def test_a_workspace_with_many_folders_is_looked_through_quickly(tmp_path: Path) -> None:
    for number in range(60):
        for below in range(60):
            (tmp_path / f"{number}" / f"{below}").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert gitdirs.repositories(tmp_path) == [tmp_path / ".git"]


def test_a_git_file_that_leads_out_of_the_workspace_shows_nothing(tmp_path: Path) -> None:
    """What a worktree's `.git` names is for the workspace to write: it must not decide what is mounted."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/.git").write_text(f"gitdir: {tmp_path}/other/.git/worktrees/x\n")
    assert list(gitdirs.mounts(tmp_path / "work", tmp_path, gitdirs.repositories(tmp_path / "work"))) == [
        tmp_path / "work/.git"
    ]
