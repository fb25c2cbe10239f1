"""`kheish doctor`: a line for each thing, what to do where it is not well, and 1 for errors only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kheish.cli.main import main
from kheish.jobs.probing import Probe
from kheish.offline.doctor import doctor, machine as doctor_machine, root as doctor_root
from kheish.store.git import template
from tests.support.daemon import Daemon


@pytest.fixture
def root(tmp_path: Path) -> Path:
    template.init(tmp_path / "state")
    return tmp_path / "state"


def test_that_a_fresh_root_has_no_errors(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--state-root", str(root)]) == 0
    told = capsys.readouterr().out
    assert f"{root} (format 1" in " ".join(told.split()) and "no daemon serves it" in told
    assert "there is no route to a model" in told and "has no remote" in told
    assert told.splitlines()[-1].startswith("no errors, ")


def test_that_no_state_root_is_an_error_with_the_command_that_makes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--state-root", str(tmp_path / "nowhere")]) == 1
    assert "kheish init" in capsys.readouterr().out


def test_a_new_machine_without_a_state_root_has_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    (finding,) = doctor_root.state_root(tmp_path / "kheish-state")
    assert (finding.level, "kheish init" in finding.do) == ("note", True)


def test_that_a_root_that_cannot_be_written_to_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != root / ".git" / "kheish"
    )  # root may write anywhere
    told = [finding.what for finding in doctor.examine(root) if finding.level == "error"]
    assert told == [f"{root / '.git' / 'kheish'} is not writable, so no daemon can serve it"]


def test_that_mistakes_in_definitions_are_errors_with_their_places(root: Path) -> None:
    (root / "routes" / "a.yaml").write_text("driver: openai\nmodl: x\n")
    (root / "routes" / "b.yaml").write_text("driver: openai\nmodel: x\nauth_ref: env:NO_SUCH_KEY\n")
    found = {finding.what: finding.level for finding in doctor.examine(root)}
    assert found["routes/a.yaml:2:1: unknown key 'modl'; did you mean 'model'?"] == "error"
    assert found["Route 'b' is not ready: the daemon's environment has no NO_SUCH_KEY (env:NO_SUCH_KEY)."] == "warning"


def test_that_a_token_that_others_can_read_is_an_error(root: Path) -> None:
    (root / ".kheish" / "token").chmod(0o644)
    (finding,) = doctor_root.token(root)
    assert finding.level == "error" and finding.do.startswith("chmod 600 ")


@pytest.mark.parametrize(
    ("mode", "available", "level"),
    [("ask", True, "ok"), ("ask", False, "warning"), ("required", False, "error"), ("off", True, "warning")],
)
def test_that_the_sandbox_is_judged_by_its_mode(mode: str, available: bool, level: str) -> None:
    (finding,) = doctor_machine.confinement(mode, Probe(available, "so it is here"))
    assert finding.level == level and (finding.do != "") == (level != "ok")


def test_that_a_serving_daemon_is_found_and_not_disturbed(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path) as daemon:
        (finding,) = doctor_root.daemon(daemon.root)
        assert finding.level == "ok" and daemon.url in finding.what
        assert main(["doctor", "--state-root", str(daemon.root)]) == 0
        assert daemon.client.status()["status"] == "serving"
    (finding,) = doctor_root.daemon(daemon.root)
    assert "no daemon serves it" in finding.what


def test_that_hooks_are_named(root: Path) -> None:
    hook = root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(root), "remote", "add", "origin", os.fspath(root)], check=True)
    said = [finding.what for finding in doctor_root.repository(root)]
    assert any("git hooks (pre-commit)" in what for what in said) and any("pushed to: origin" in what for what in said)


@pytest.mark.found("C1")
@pytest.mark.parametrize(
    ("settings", "of_git", "level", "whose"),
    [
        ((None, None), "", "warning", "Kheish agent <agent@kheish.invalid>"),
        ((None, None), "[user]\nname = Ann\nemail = ann@example.com\n", "ok", "Ann <ann@example.com>"),
        (("Bot", "bot@example.com"), "[user]\nname = Ann\n", "ok", "Bot <bot@example.com>"),
    ],
)
def test_the_author_of_agents_commits_is_named(
    settings: tuple[str | None, str | None], of_git: str, level: str, whose: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "gitconfig").write_text(of_git)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.fspath(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (finding,) = doctor_machine.identity(*settings, tmp_path)
    assert finding.level == level and finding.what.endswith(f"authored by {whose}")
