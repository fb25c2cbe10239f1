"""A confined command sees its workspace and the system, and nothing of the person."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kheish.errors import Invalid
from kheish.jobs import probing, sandbox

confined = pytest.mark.skipif(not probing.probe().available, reason=probing.probe().why)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "src" / "project"
    folder.mkdir(parents=True)
    return folder


def run(workspace: Path, command: str, **options: object) -> str:
    argv = sandbox.wrap(("bash", "-c", command), workspace=workspace, **options)  # type: ignore[arg-type]
    done = subprocess.run(argv, env=sandbox.clean_environment(workspace), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@confined
def test_only_the_workspace_is_there_to_write(workspace: Path) -> None:
    # given
    home = workspace.parents[1]
    (home / "token").write_text("secret")
    (workspace.parent / "other").write_text("secret")

    # when
    said = run(workspace, f"pwd; echo new > file; touch /usr/x; cat {home}/token ../other", home=home)

    # then
    assert said.startswith(f"{workspace}\n")
    assert (workspace / "file").read_text() == "new\n"
    assert "Read-only file system" in said
    assert said.count("No such file") == 2 and "secret" not in said


@confined
def test_hidden_paths_are_hidden_wherever_they_lie(workspace: Path, tmp_path: Path) -> None:
    # given
    tools = tmp_path / "tools"
    for folder in (tools / "state", workspace / "keys"):
        folder.mkdir(parents=True)
        (folder / "token").write_text("secret")
    (tools / "tool").write_text("a tool")

    # when
    hide = (tools / "state", workspace / "keys", workspace.parents[1])
    said = run(workspace, f"cat {tools}/tool; cat {tools}/state/token keys/token", hide=hide, read_only=(tools,))

    # then
    assert said.startswith("a tool")
    assert "secret" not in said


@confined
def test_other_processes_and_the_network_are_not_there(workspace: Path) -> None:
    # when
    said = run(workspace, f"exec 2>&1; kill -0 {os.getpid()}; ls /proc/{os.getppid()}/environ; wc -l < /proc/net/dev")

    # then
    assert "No such process" in said and "No such file" in said
    assert said.splitlines()[-1].strip() == "3"  # two lines of headings, and the loopback


@confined
def test_toolchains_are_readable(workspace: Path) -> None:
    said = run(workspace, "python3 -c 'import json, sys; print(sys.version_info[0])'")

    assert said == "3\n"


def test_the_environment_is_clean(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    writable = workspace / "bin"
    writable.mkdir()
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PATH", f"{writable}:relative::/usr/bin")

    # when
    env = sandbox.clean_environment(workspace)

    # then
    assert {name for name in env if not name.startswith("GIT_")} == {"PATH", "HOME", "PWD", "LANG", "TERM", "PAGER"}
    assert str(writable) not in env["PATH"] and "relative" not in env["PATH"]
    assert env["PATH"].startswith("/usr/bin:")
    assert env["HOME"] != os.environ.get("HOME") and Path(env["HOME"]).stat().st_mode & 0o777 == 0o700


def test_a_workspace_that_must_be_hidden_is_refused(workspace: Path) -> None:
    with pytest.raises(Invalid):
        sandbox.wrap(("true",), workspace=workspace, hide=(workspace,))


def test_executables_are_found_by_absolute_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.chdir(tmp_path)

    # then
    assert sandbox.resolve_executable("tool", str(tmp_path)) == str(tool)
    assert sandbox.resolve_executable("tool", ".:/usr/bin") is None
    assert sandbox.resolve_executable("./tool", str(tmp_path)) is None
    assert sandbox.resolve_executable(str(tool), "/usr/bin") == str(tool)


async def test_the_probe_says_why() -> None:
    probe = await probing.probe_async()

    assert probe.why and probe is probing.probe()


@confined
@pytest.mark.parametrize("place", ["$HOME", "/tmp", "/var/tmp", "/dev/shm", "/dev", "/", "/run", "{keys}"])
def test_a_command_that_fills_memory_by_files_comes_to_an_end_of_it(
    workspace: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "keys").mkdir()
    fill = f"head -c 9000000 /dev/zero > {place.format(keys=tmp_path / 'keys')}/filled; echo $?"
    said = run(workspace, fill, hide=(tmp_path / "keys",), memory=16 * 1024**2)
    assert said.startswith("1\n"), said
    assert any(words in said for words in ("No space left", "Read-only", "No such file", "Permission denied"))


@confined
def test_a_limit_of_memory_leaves_a_command_what_it_needs(workspace: Path, tmp_path: Path) -> None:
    keys = workspace / "keys"
    keys.mkdir()
    command = "for i in $HOME /tmp /var/tmp /dev/shm .; do echo x > $i/a && cat $i/a; done; echo y > /dev/null; ls keys"
    assert run(workspace, command, hide=(keys,), memory=16 * 1024**2) == "x\n" * 5
    semaphores = "import multiprocessing; multiprocessing.Lock(); print('locked')"
    assert run(workspace, f'python3 -c "{semaphores}"', memory=16 * 1024**2) == "locked\n"


def test_a_bubblewrap_that_cannot_limit_is_asked_for_nothing_new(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_knows_size", lambda: False)
    limited = sandbox.wrap(("true",), workspace=workspace, memory=16 * 1024**2)
    assert limited == sandbox.wrap(("true",), workspace=workspace)
