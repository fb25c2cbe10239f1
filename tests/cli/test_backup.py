"""`backup add` and `restore`: what they write, and what they refuse; no daemon is needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kheish.cli.main import main
from kheish.store.git import template
from kheish.store.log import records


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KHEISH_STATE_ROOT", raising=False)
    template.init(tmp_path / "root")
    subprocess.run(["git", "init", "-q", "--bare", "remote.git"], check=True)
    return tmp_path / "root"


def add(root: Path, *words: str) -> int:
    return main(["--state-root", str(root), "backup", "add", *words])


def remote(root: Path, name: str = "origin") -> str:
    done = subprocess.run(["git", "remote", "get-url", name], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def test_add_names_the_remote_and_keeps_the_comments(root: Path) -> None:
    before = (root / "kheish.yaml").read_text()
    assert add(root, "remote.git") == 0
    assert remote(root) == str(root.parent / "remote.git"), "seen from the folder where it was said"
    text = (root / "kheish.yaml").read_text()
    assert text.startswith(before.rstrip("\n"))
    assert records.read(text.encode())["backup"] == {"remote": "origin", "every": "10m"}
    assert add(root, "remote.git") == 0 and (root / "kheish.yaml").read_text() == text


def test_add_writes_into_json_and_refuses_to_change_what_is_there(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "kheish.yaml").write_text('{"bind": "127.0.0.1:0"}\n')
    assert add(root, "ssh://host/remote.git", "--name", "far", "--every", "1h") == 0
    data = json.loads((root / "kheish.yaml").read_text())
    assert data == {"bind": "127.0.0.1:0", "backup": {"remote": "far", "every": "1h"}}
    assert add(root, "ssh://host/remote.git", "--name", "far") == 4
    assert add(root, "ssh://other/remote.git", "--name", "far", "--every", "1h") == 4
    assert add(root, "remote.git", "--every", "often") == 2
    said = capfd.readouterr().err
    assert "backup: {remote: far, every: 10m}" in said and "remote set-url far" in said
    assert remote(root, "far") == "ssh://host/remote.git" and not remote(root)


def test_restore_says_what_it_made_and_leaves_nothing_where_it_cannot(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", "json", "restore", str(root), "restored"]) == 0
    made = json.loads(capfd.readouterr().out)
    assert (made["state_root"], made["branch"], made["damaged"]) == (str(root.parent / "restored"), "main", [])
    assert main(["restore", "remote.git", "empty"]) == 2
    assert "No branch of the remote contains a state root" in capfd.readouterr().err
    assert not (root.parent / "empty").exists()
