"""Commit messages: the text and the trailers of a cut, and of a user's edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: values of a trailer; the events of the cut have the rest
TRAILER_CAP = 20
_SUBJECT = 200

Frame = Mapping[str, Any]


def edit_message(paths: Sequence[str]) -> str:
    """Return `edit: routes/local.yaml`, or the number of paths if they are too many to name."""
    names = ", ".join(paths)
    return f"edit: {names}\n" if len(names) <= _SUBJECT else f"edit: {len(paths)} files\n"


def said(frame: Frame, back: Sequence[str]) -> str:
    """Return the subject of the cut."""
    return frame.get("message") or (f"put back {_counted(len(back))}" if back else "state")


def message_of(frame: Frame, said: str) -> str:
    """Return the message of the cut with its trailers."""
    cut, lines = frame["cut"], []
    for name, values in frame.get("trailers", {}).items():
        lines += [f"{name}: {_line(str(value))}" for value in values[:TRAILER_CAP]]
    if cut["n_from"] <= cut["n_to"]:
        lines.append(f"Kheish-Events: {cut['n_from']}-{cut['n_to']}")
    return "\n".join([said.rstrip(), *([""] if lines else []), *lines]) + "\n"


def _counted(files: int) -> str:
    """Return `1 file`, `2 files`."""
    return f"{files} file" if files == 1 else f"{files} files"


def _line(text: str) -> str:
    return " ".join(text.split())[:_SUBJECT]
