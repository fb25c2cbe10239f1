"""`kheish demo` tells a story; here it has to be true, and where it is not, the demo has to say so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kheish.domain.routes import Route
from kheish.offline.demo import scene as demo_scene
from kheish.offline.demo.stage import Failed, Stage, check, eventually, git, kheish
from kheish.store.edits import definitions


def test_that_the_demo_happens_as_it_is_told(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "KHEISH_URL": "http://127.0.0.1:1"}  # leads nowhere; must not matter
    words = [sys.executable, "-m", "kheish.cli.main", "demo"]
    done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    parts = ["model is scripted", "is published (tag playbook/dependency-upgrade/1.0.0", "You start it", "$ kill -9",
             "the daemon was restarted", "decision: allow", "── commit satisfied", "succeeded",
             "The report is in report.html", "The record in git", "flow succeeded: dependency-upgrade@1.0.0",
             "from its start", "All files are in", "with a real model"]  # fmt: skip
    places = [told.find(part) for part in parts]
    assert -1 not in places and places == sorted(places), dict(zip(parts, places, strict=True))
    assert "the daemon was restarted; the run continues" in told[told.find("from its start") :]
    assert "\033[" not in told  # no terminal, no colour
    (base,) = tmp_path.glob("kheish-demo-*")
    assert "shares(cents, people)" in (base / "shop/shop/bill.py").read_text()
    assert git(base / "shop", "log", "-1", "--format=%s").strip() == "Upgrade fairsplit to 2.0"
    assert git(base / "state", "status", "--porcelain") == ""
    assert (base / "daemon.log").read_text() == ""


def test_that_the_scripted_route_is_valid_and_its_edits_fit_the_repository(tmp_path: Path) -> None:
    demo_scene.write_repository(tmp_path)
    demo_scene.write_definitions(tmp_path / "state", confined=False)
    parsed = definitions.parse(Route, (tmp_path / "state/routes/demo.yaml").read_bytes(), "demo.yaml")
    script = parsed.require().model_dump(mode="json")["script"]
    calls = [call for part in script["parts"] for turn in part["turns"] for call in turn["tool_calls"]]
    edits = [call["arguments"] for call in calls if call["name"] == "edit_file"]
    assert len(edits) == 3
    for edit in edits:
        assert (tmp_path / edit["path"]).read_text().count(edit["old_string"]) == 1
    assert "mode: off" in (tmp_path / "state/kheish.yaml").read_text()


def test_that_what_does_not_happen_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="two and two are five"):
        check(False, "two and two are five")
    with pytest.raises(Failed, match="nothing came"):
        eventually(lambda: None, "nothing came", seconds=0.1)
    with pytest.raises(Failed, match="ended with exit code 6, not 0"):
        kheish(Stage(tmp_path), "status")
