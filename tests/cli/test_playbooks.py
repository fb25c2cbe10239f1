"""`kheish playbooks` without a daemon: any file can be checked and has a digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kheish.authoring.playbooks import files as playbook_files
from kheish.cli.main import main

TEXT = "title: T\nobjective: o\nphases:\n  - {id: a, acceptance: [x], evidence: [{kind: run, id: r}]}\n"


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KHEISH_STATE_ROOT", str(tmp_path / "none"))
    file = tmp_path / "mine" / "playbook.yaml"
    file.parent.mkdir()
    file.write_text(TEXT)
    return file


def test_a_file_is_checked_by_itself_where_no_daemon_answers(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["playbooks", "validate", str(manifest)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{manifest} is valid.\n" and "not reachable" in said.err
    manifest.write_text(TEXT.replace("needs", "x").replace("id: a,", "id: a, needs: [b], rolle: x,"))
    assert main(["playbooks", "validate", "--offline", str(manifest), "--output", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["line"], one["code"]) for one in found["problems"]] == [(4, "unknown_phase"), (4, "unknown_key")]
    assert found["problems"][1]["suggestion"] == "role" and not found["valid"]


def test_warnings_are_told_and_are_no_failure(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write_text("title: T\nobjective: o\nphases: [{id: a}]\n")
    assert main(["playbooks", "validate", "--offline", str(manifest)]) == 0
    assert capsys.readouterr().out.count(":1:1: warning: the Playbook has no ") == 2
    assert main(["playbooks", "validate", "--offline", str(manifest.parent)]) == 2


def test_the_digest_is_printed_for_any_file(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["playbooks", "digest", str(manifest)]) == 0
    assert capsys.readouterr().out.strip() == playbook_files.digest_of_file(manifest)
    manifest.write_text("title: [")
    assert main(["playbooks", "digest", str(manifest)]) == 1
    assert f"{manifest}:1:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("release", "triage", "active"), ("revoke", "triage@"), ("release", "a@1.0.0", "x")])
def test_a_version_must_be_named(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["playbooks", *words]) == 2
    assert capsys.readouterr().err
