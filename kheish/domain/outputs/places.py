"""The paths that reply targets of kind file may name: callers choose them, and what agents obey lies in the same
workspace."""

from __future__ import annotations

import posixpath

from kheish.beneath import names
from kheish.domain.instructions import PROJECT_FILES
from kheish.domain.outputs.definition import OutputFile, check_path

#: the folder of targets where the file of the output names none
FOLDER = "outputs"
#: the file of an output whose file and target name none
DEFAULT = "outputs.jsonl"
#: names that programs and agents obey, in small letters; names with a dot at the beginning are refused as well
_OBEYED = frozenset({
    *(name.casefold() for name in PROJECT_FILES), "gemini.md", "skill.md", "makefile", "gnumakefile", "justfile",
    "dockerfile", "package.json", "pyproject.toml", "setup.py", "setup.cfg", "conftest.py", "cargo.toml",
})  # fmt: skip


def own_path(sink: OutputFile) -> str:
    """Return the path that the file of an output gives, for targets without one."""
    return str(sink.to or DEFAULT)


def fault(sink: OutputFile, path: str) -> str | None:
    """Return the reason why a target may not name a path; None if it may."""
    try:
        check_path(names.meant(path))
    except ValueError as error:
        return str(error).removeprefix("to: ")
    own, path = _plain(own_path(sink)), _plain(path)
    if path == own:
        return None
    folder = posixpath.dirname(own) or FOLDER
    if not path.startswith(f"{folder}/"):
        return f"{path!r} is not in {folder}/, where targets of this output may write"
    return _obeyed(path.removeprefix(f"{folder}/"))


def led_fault(sink: OutputFile, path: str, real: str) -> str | None:
    """Return the reason why a path may not lead through links to another one; None if it may."""
    if _plain(real) == _plain(path):
        return None
    if _plain(path) != _plain(own_path(sink)):
        return fault(sink, real)
    return _obeyed(_plain(real))


def _plain(path: str) -> str:
    return posixpath.normpath(names.meant(path))


def _obeyed(path: str) -> str | None:
    for name in path.split("/"):
        if name.startswith(".") or name.casefold() in _OBEYED:
            return f"{path!r}: {name} is a name that agents or programs obey; choose another"
    return None
