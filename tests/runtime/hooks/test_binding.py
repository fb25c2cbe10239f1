"""The files that the trust in a hook covers."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from kheish.domain.hooks.definition import HookFile
from kheish.runtime.hooks import binding


def hook(command: Any, **more: Any) -> HookFile:
    return HookFile.model_validate({"events": ["PreToolUse"], "command": command, **more})


def test_a_folder_is_not_bound_and_leaks_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert binding.files_of(hook(f"cd {tmp_path} && true")) == {}
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["pipe", "missing", "x" * 300, "file/inside"])
def test_anything_but_a_regular_file_is_not_bound(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    assert binding.files_of(hook(["run", f"{tmp_path}/{name}"])) == {}


def test_a_file_that_cannot_be_read_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.sh").write_text("true")
    before = len(os.listdir("/proc/self/fd"))

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdopen", refuse)
    with pytest.raises(binding.Unbindable, match=r"s\.sh cannot be read: Input/output error"):
        binding.files_of(hook(f"{tmp_path}/s.sh"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_loop_of_links_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "s.sh").symlink_to(tmp_path / "s.sh")
    with pytest.raises(binding.Unbindable, match="cannot be read"):
        binding.files_of(hook(f"{tmp_path}/s.sh"))


# --- spellings --------------------------------------------------------------------------------------------------------

SPELLINGS: dict[str, Any] = {
    "word": "{S} --fast",
    "list": ["{S}"],
    "list-shell": ["sh", "-c", "{S} x"],
    "nested": "sh -c '{S} x'",
    "nested-twice": """sh -c "sh -c '{S} x'" """,
    "source": "bash -c 'source {S}'",
    "assignment": "X={S}; $X",
    "folder-in-variable": "D={D}; $D/s.sh",
    "backticks": "`{S}`",
    "substitution": 'echo "$(sh {S})"',
    "default": "${{X:-{S}}}",
    "flag": "run -f{S}",
    "option": "run --file={S}",
    "double-slash": "/{S}",
    "dots": "{D}/x/../s.sh",
    "redirected": "sh < {S}",
    "brace": "{{ {S}; }}",
    "apostrophe": "# it's fine\n{S};",
    "folder": "cd {D} && ./s.sh",
    "path": "PATH={D}:$PATH s.sh",
    "python": ["python3", "-c", "import os; os.system('{S} now')"],
}


def filled(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [filled(one, folder) for one in value]
    return value.format(S=folder / "s.sh", D=folder)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "s.sh"
    path.write_text("true")
    return path


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_script_is_bound_however_it_is_named(script: Path, name: str) -> None:
    (script.parent / "x").mkdir()
    given = hook(filled(SPELLINGS[name], script.parent))
    before = binding.files_of(given)
    assert list(before) == [str(script)]
    script.write_text("false")
    assert binding.changed_files("hooks/x", before, binding.files_of(given)) is not None


@pytest.mark.parametrize(
    ("command", "env"),
    [
        ("sh $SC", {"SC": "{S}"}),
        ("s.sh", {"PATH": "{D}:/usr/bin"}),
        ("$D/s.sh", {"D": "{D}"}),
        ("true", {"A": "--x={S}"}),
    ],
)
def test_a_script_in_a_variable_is_bound(script: Path, command: str, env: dict[str, str]) -> None:
    given = {name: filled(value, script.parent) for name, value in env.items()}
    assert list(binding.files_of(hook(command, env=given))) == [str(script)]


def test_homes_are_found(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(script.parent))
    for command in ("~/s.sh", "$HOME/s.sh", "X=~/s.sh; $X", "${HOME}/s.sh"):
        assert list(binding.files_of(hook(command))) == [str(script)], command


def test_the_parent_of_a_link_is_that_of_its_target(script: Path, tmp_path: Path) -> None:
    (tmp_path / "target" / "inner").mkdir(parents=True)
    (tmp_path / "target" / "s.sh").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "target" / "inner")
    assert list(binding.files_of(hook(f"{tmp_path}/link/../s.sh"))) == [str(tmp_path / "target" / "s.sh")]


@pytest.mark.parametrize(
    "command",
    [
        "/proc/self/cwd/../s.sh",
        "sh -c '/proc/$PPID/cwd/s.sh'",
        "X=//proc/./self/cwd/s.sh; $X",
        "/proc/../tmp/s.sh",
    ],
)
def test_a_path_that_differs_in_each_process_is_refused(command: str) -> None:
    with pytest.raises(binding.Unbindable, match="name the file itself"):
        binding.files_of(hook(command))


def test_system_files_are_not_bound() -> None:
    assert binding.files_of(hook(["python3", "-c", "open('/proc/meminfo').read(); open('/mnt/cwd/x', 'a')"])) == {}
    assert binding.files_of(hook("/usr/bin/env sh -c 'cat /proc/self/status /dev/null /etc/hostname'")) == {}


def test_a_file_that_is_only_written_is_not_bound(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x")
    code = f"open({str(log)!r}, 'a').write('x')"
    for given in (hook(f"true >> {log} 2>&1"), hook(["python3", "-c", code]), hook("true", env={"LOG": str(log)})):
        assert binding.files_of(given) == {}


def test_a_program_in_place_of_data_is_a_change(tmp_path: Path) -> None:
    given, data = hook("true", env={"DATA": str(tmp_path / "data")}), tmp_path / "data"
    before = binding.files_of(given)
    data.write_text("#!/bin/sh")
    assert binding.changed_files("hooks/x", before, binding.files_of(given)) is not None


def test_more_files_than_trust_covers_are_refused(tmp_path: Path) -> None:
    for at in range(17):
        (tmp_path / f"{at}.sh").write_text("true")
    names = [str(tmp_path / f"{at}.sh") for at in range(17)]
    assert len(binding.files_of(hook(names[:16]))) == 16
    with pytest.raises(binding.Unbindable, match="more than 16 files"):
        binding.files_of(hook(names))


@pytest.mark.parametrize(
    "text", ["$X" * 16_000, "/" * 32_000, "/a " * 10_000, "'" * 9_999, "/proc/" * 5000, "\\" * 9999]
)
def test_odd_commands_take_no_time(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(binding.Unbindable):
        binding.files_of(hook(text, env={"X": "/x" * 10_000}))
    assert time.process_time() - began < 2
