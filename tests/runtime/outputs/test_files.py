"""Files that outputs append to: the paths that targets may name, and what other processes do to the files."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kheish.beneath import Door, kernel
from kheish.domain.outputs import places
from kheish.domain.outputs.definition import OutputFile
from kheish.domain.permissions.rules import Rule
from kheish.errors import NotBeneath
from kheish.runtime.outputs import file
from kheish.runtime.outputs.base import Passing, Refused

BESIDE = OutputFile(kind="file", to="ok/n.jsonl")
ON_TOP = OutputFile(kind="file", to="n.jsonl")
BARE = OutputFile(kind="file")


def append(workspace: Path, path: str, sink: OutputFile = BESIDE, *denied: str) -> None:
    rules = [Rule(tool="write_file", match=match, decision="deny") for match in denied]
    wanted = file._Wanted(sink, path, (("permissions.yaml", rules),))
    file._append(wanted, Door(workspace), b"a row\n")


@pytest.mark.parametrize(
    ("sink", "path"),
    [
        (BESIDE, "ok/n.jsonl"), (BESIDE, "./ok//n.jsonl"), (BESIDE, "ok/other.txt"), (BESIDE, "ok/deep/x"),
        (ON_TOP, "n.jsonl"), (ON_TOP, "outputs/x"), (BARE, "outputs.jsonl"), (BARE, "outputs/deep/x.jsonl"),
    ],
)  # fmt: skip
def test_the_paths_that_a_target_may_name(tmp_path: Path, sink: OutputFile, path: str) -> None:
    assert places.fault(sink, path) is None
    append(tmp_path, path, sink)
    assert (tmp_path / path).read_text() == "a row\n"


@pytest.mark.parametrize("sink", [BESIDE, ON_TOP, BARE])
@pytest.mark.parametrize(
    "path",
    [
        "AGENTS.md", "protected/x", ".envrc", ".bashrc", "Makefile", "okay/x", "ok", "ok/../AGENTS.md", "/ok/x", "~/ok",
        "ok/AGENTS.md", "ok/agents.md", "ok/CLAUDE.md", "ok/.envrc", "ok/deep/.git/config", "ok/.kheish/token",
        "ok/\\x41GENTS.md", "outputs/AGENTS.md", "outputs/.x", "ok/\ud800", "",
    ],
)  # fmt: skip
def test_the_paths_that_it_may_not(sink: OutputFile, path: str) -> None:
    assert places.fault(sink, path) is not None


def test_a_rule_that_denies_writing_holds_for_a_targets_path(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="denied by"):
        append(tmp_path, "ok/x.txt", BESIDE, "ok/**")
    append(tmp_path, "ok/n.jsonl", BESIDE, "ok/**")  # an admin wrote it
    append(tmp_path, "ok/x.txt", BESIDE, "protected/**")


@pytest.mark.parametrize("path", ["ok/n.jsonl", "ok/x.txt", "ok/in/x.txt"])
def test_no_link_leads_to_what_agents_obey_or_past_a_rule(tmp_path: Path, path: str) -> None:
    (tmp_path / "protected").mkdir()
    (tmp_path / "ok").mkdir()
    if "/in/" in path:
        (tmp_path / "ok/in").symlink_to("../protected")
    else:
        (tmp_path / path).symlink_to("../AGENTS.md")
    with pytest.raises(Refused, match="leads to"):
        append(tmp_path, path)
    (tmp_path / "ok/n2").symlink_to("../protected/x")
    with pytest.raises(Refused, match="denied by"):
        append(tmp_path, "ok/n2", OutputFile(kind="file", to="ok/n2"), "protected/**")
    assert not (tmp_path / "AGENTS.md").exists() and not list((tmp_path / "protected").iterdir())


def test_a_file_with_another_name_is_not_appended_to(tmp_path: Path) -> None:
    (tmp_path / "work" / "ok").mkdir(parents=True)
    (tmp_path / "outside").write_text("kept")
    os.link(tmp_path / "outside", tmp_path / "work" / "ok" / "n.jsonl")
    with pytest.raises(NotBeneath, match="hard link"):
        append(tmp_path / "work", "ok/n.jsonl")
    assert (tmp_path / "outside").read_text() == "kept"


def test_a_locked_file_is_for_later(tmp_path: Path) -> None:
    append(tmp_path, "ok/n.jsonl")
    with (tmp_path / "ok/n.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(Passing, match="locked"):
            append(tmp_path, "ok/n.jsonl")
    append(tmp_path, "ok/n.jsonl")
    assert (tmp_path / "ok/n.jsonl").read_text() == "a row\n" * 2


_LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_with_a_lease_is_for_later_and_no_thread_waits_for_it(tmp_path: Path) -> None:
    append(tmp_path, "ok/n.jsonl")
    words: list[Any] = [sys.executable, "-c", _LEASE, tmp_path / "ok/n.jsonl"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        if holder.stdout.readline() != b"held\n":
            pytest.skip("this file system has no leases")
        with pytest.raises(Passing, match="lease"):
            append(tmp_path, "ok/n.jsonl")
        folder = os.open(tmp_path / "ok", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            kernel.open_name(folder, "n.jsonl", os.O_RDONLY | os.O_NONBLOCK)
        os.close(folder)
        holder.stdin.close()
    append(tmp_path, "ok/n.jsonl")
