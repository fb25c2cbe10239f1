"""What a terminal obeys (colours, titles, erased lines, changed directions), in what models, callers and files say: no
list, no JSON, no log and no file for people has it."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from kheish.authoring.problems import FILE
from kheish.cli import output
from kheish.daemon import logs
from kheish.store.git import committer
from tests.support.daemon import Daemon, until

EVIL = (
    "\x1b]0;x\x07\x1b[2J\x9b31m\u202eevil\u2069\r\n2026-01-01T00:00:00Z INFO all is well\x7f"
    "\u200b\u200fz\u2060\ufeff\u2028y\U000e0041\U000e0100\u061c\u00ad"
)
OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
)


def test_json_says_the_same_and_nothing_that_a_terminal_obeys() -> None:
    text = output.escaped(json.dumps({"title": EVIL, EVIL: [EVIL]}, ensure_ascii=False))
    assert json.loads(text) == {"title": EVIL, EVIL: [EVIL]}
    assert not OBEYED.search(text)


def test_a_line_of_the_log_is_one_line() -> None:
    record = logging.LogRecord("kheish.x", logging.INFO, "", 0, "inbox/%s is taken", (EVIL,), None)
    line = logs.Formatter().format(record)
    assert "\n" not in line and not OBEYED.search(line) and "\\x1b[2J" in line


def test_the_subject_of_a_commit_is_plain() -> None:
    assert not OBEYED.search(committer.message([f'run completed: s "{EVIL}"'], sessions=1, runs=1))


def test_the_command_line_the_log_and_the_files_for_people(tmp_path: Path) -> None:
    routes = {"echo": {"driver": "scripted", "script": {"echo": True}}}
    with Daemon.fresh(tmp_path, routes=routes) as daemon:
        daemon.client.sessions.create("s", route="echo", title=EVIL, labels={"a": EVIL})
        run = daemon.client.runs.start("s", EVIL, wait="10s")
        (daemon.root / "inbox/s").mkdir(parents=True)
        (daemon.root / "inbox/s/a\x1b[2Jb.exe").write_text("x")
        (daemon.root / "routes/a\x1b[2Jb.yaml").write_text("x: 1\n")
        until((daemon.root / FILE).exists)
        until(lambda: "cannot be used" in daemon.stderr())
        for words in (("--output", "json", "runs", "show", run.run_id), ("sessions", "show", "s"), ("problems",)):
            said = daemon.cli(*words)
            assert said.stdout and not OBEYED.search(said.stdout + said.stderr), words
        assert not OBEYED.search(daemon.stderr() + (daemon.root / FILE).read_text())
