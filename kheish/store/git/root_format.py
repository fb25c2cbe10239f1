"""`format.yaml`: the format of a state root, which root it is, and whether this Kheish can open it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kheish import resources
from kheish.errors import KheishError, NewerFormat, NotAStateRoot
from kheish.store import door
from kheish.store.log import records

#: the format that this version writes
FORMAT = 1
_SMALL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    """The content of `format.yaml`: the format's version, the root's permanent id, and its current incarnation."""

    version: int
    root_id: str
    incarnation: str


def open_root(root: Path) -> Format:
    """Return the format as `read_format` does, if this Kheish can work with it or `migration` can migrate it. Raises
    NotAStateRoot, NewerFormat."""
    about = read_format(root)
    if about.version > FORMAT:
        raise NewerFormat(
            f"{root} has format {about.version}; this Kheish ({resources.version()}) supports {FORMAT}: install a "
            "newer version."
        )
    return about


def read_format(root: Path) -> Format:
    """Return the content of `format.yaml`, whatever its version. Raises NotAStateRoot."""
    path = root / "format.yaml"
    try:
        data = records.read(door.read(root, path.name, most=_SMALL))
        about = Format(int(data["format"]), str(data["root_id"]), str(data["incarnation"]))
    except (FileNotFoundError, NotADirectoryError):
        raise NotAStateRoot(f"{root} is not a state root (it has no format.yaml): kheish init {root}") from None
    except (KheishError, KeyError, TypeError, ValueError) as error:
        raise NotAStateRoot(f"{path} is not readable: {error}; restore it with git checkout format.yaml") from error
    if not (root / ".git").is_dir():
        raise NotAStateRoot(f"{root} has a format.yaml, but is not a git repository.")
    return about


def format_file(about: Format) -> bytes:
    """Return the bytes of `format.yaml`."""
    head = b"# The daemon's: which format this state root has, and which root it is.\n"
    content = {"format": about.version, "root_id": about.root_id, "incarnation": about.incarnation}
    return head + records.render(content)
