"""Programs that a state root's git would run: hooks of all names, a file system monitor, a textconv. The daemon's git
runs none of them, whoever put them there; what another clone pushed is taken as files, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon import Daemon, git, insist, until

HOOKS = (
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "prepare-commit-msg",
    "commit-msg", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-push", "pre-receive", "update",
    "proc-receive", "post-receive", "post-update", "reference-transaction", "push-to-checkout", "pre-auto-gc",
    "post-rewrite", "sendemail-validate", "fsmonitor-watchman", "post-index-change",
)  # fmt: skip
ECHO = "driver: scripted\nscript: {echo: true}\n"


def trap(path: Path, marks: Path) -> None:
    """A program that leaves a file of its name, and otherwise does as `cat` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n: > "{marks}/$(basename "$0")"\n[ -f "$1" ] && exec cat "$1"\nexit 0\n')
    path.chmod(0o755)


@pytest.fixture
def trapped(tmp_path: Path) -> Daemon:
    """A root with traps in `.git/hooks` and in a tracked folder that `core.hooksPath` names, and a remote."""
    daemon = Daemon.make(
        tmp_path,
        config={"backup": {"remote": "origin"}},
        routes={"echo": {"driver": "scripted", "script": {"echo": True}}},
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    for name in HOOKS:
        trap(daemon.root / ".git/hooks" / name, marks)
        trap(daemon.root / "githooks" / name, marks)
    for name in ("monitor", "textconv"):
        trap(tmp_path / name, marks)
    daemon.write(".git/info/attributes", "* diff=trap\n")
    insist(daemon.root, "add", "githooks")
    insist(daemon.root, "commit", "-q", "--no-verify", "-m", "hooks")
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    git(daemon.root, "remote", "add", "origin", f"file://{tmp_path}/remote.git")
    for setting in (
        ("core.hooksPath", "githooks"), ("core.fsmonitor", str(tmp_path / "monitor")),
        ("diff.trap.textconv", str(tmp_path / "textconv")),
    ):  # fmt: skip
        git(daemon.root, "config", *setting)
    return daemon


def test_no_hook_no_monitor_and_no_textconv_of_the_root_is_run(
    trapped: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"
    git(trapped.root, "status", "--short")
    git(trapped.root, "blame", "kheish.yaml")
    git(trapped.root, "commit", "-q", "--allow-empty", "-m", "a person's")
    armed = {path.name for path in marks.iterdir()}
    assert {"monitor", "textconv", "pre-commit", "post-commit", "reference-transaction"} <= armed  # the traps are real
    for path in marks.iterdir():
        path.unlink()
    for name, value in (("COUNT", "1"), ("KEY_0", "core.fsmonitor"), ("VALUE_0", "false")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)  # for the tester's own git, not the daemon's
    try:
        trapped.start()
        trapped.client.sessions.create("s", route="echo")
        trapped.client.runs.start("s", "hello", wait="20s")
        trapped.write("routes/new.yaml", ECHO)
        until(lambda: trapped.http("GET", "/v1/routes/new").status_code == 200)
        trapped.quiet()
        trapped.client.backup()
        other = clone(tmp_path)
        (other / "routes/pulled.yaml").write_text(ECHO)
        push(other)
        trapped.client.backup()  # fetches, joins and pushes
        assert trapped.http("GET", "/v1/routes/pulled").status_code == 200
        assert trapped.http("GET", "/v1/state/blame?path=kheish.yaml").status_code == 200
        trapped.client.state("gc")
        trapped.kill9()
        trapped.start()
        trapped.quiet()
        assert trapped.cli("doctor", "--scan-history", "--state-root", str(trapped.root)).stdout
        trapped.stop()
        assert not {path.name for path in marks.iterdir()}
    finally:
        trapped.end()


def clone(folder: Path) -> Path:
    git(folder, "clone", "-q", "-b", "main", "remote.git", "clone")
    return folder / "clone"


def push(other: Path) -> None:
    git(other, "add", "-A")
    git(other, "commit", "-qm", "from another clone")
    git(other, "push", "-q")
