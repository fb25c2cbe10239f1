"""The files that users write, as they are on disk: which ones are Definitions, and their bytes."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import orjson

from kheish import ids
from kheish.domain.definitions import KINDS, TOP, Kind
from kheish.errors import FileRefused
from kheish.store import door, names
from kheish.store.edits import yaml12
from kheish.store.edits.debounce import passed_over
from kheish.store.edits.yaml12 import MAX_BYTES, ListNode, MapNode, Mark, Node, ScalarNode

#: possible Definitions, or scripts that a Definition names; in a folder of its own (a Playbook) any file may lie beside
#: it
_SUFFIXES = (".yaml", ".yml", ".json", ".md")
_READ_ME = "readme.md"
#: files without an ending, and folders, that programs put anywhere
_NO_DEFINITIONS = frozenset({"readme", "license", "licence", "makefile", "notes", "todo", "copying", "authors"})
_VENDORED = frozenset({"node_modules", "__pycache__"})
#: folders for users' files; an entry at their place that is no folder is reported
FOLDERS = frozenset((*KINDS, "inbox", "memory", "pending", "secrets"))
#: of a setting that is accepted, and has no effect in this version
NOT_YET = "not_in_this_version"
_NO_FOLDER = "is not a folder, or is a link to one; make it a folder, because the daemon reads its files"
_NOT_UTF8 = "has a name that is not UTF-8 (shown with \\x for such bytes); rename it"


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read; `fault` says why it cannot or may not be used, and `place` where in it."""

    path: str
    raw: bytes
    fault: str | None = None
    code: str = "unreadable"
    place: tuple[int, int] | None = None  # line and column, from 1


def of(path: str, raw: bytes) -> Source:
    """Return a source from content of git or of a caller."""
    return Source(path, raw) if names.is_text(path) else Source(path, b"", _NOT_UTF8, "bad_name")


def guarded(found: Mapping[str, Source], scrub: Callable[[bytes], bytes]) -> dict[str, Source]:
    """Return the files, with a fault for those that hold a known secret: they would be committed and pushed."""
    return {path: _guarded(source, scrub) for path, source in found.items()}


def _guarded(source: Source, scrub: Callable[[bytes], bytes]) -> Source:
    if source.fault is not None:
        return source
    place = _as_written(source.raw, scrub) or _as_meant(source.raw, scrub)
    if place is None:
        return source
    text = "contains a stored secret; name its slot instead (auth_ref), and rotate the secret if this file was shared"
    return replace(source, fault=text, code="secret_in_file", place=place)


def _as_written(raw: bytes, scrub: Callable[[bytes], bytes]) -> tuple[int, int] | None:
    """Return line and column of a secret in the bytes, comments included.

    A backslash before it is no escape here, as in JSON.
    """
    plain = raw.replace(b"\\", b" ")
    for text in (raw, plain):
        clean = scrub(text)
        if clean != text:
            same = next((i for i, (a, b) in enumerate(zip(text, clean, strict=False)) if a != b), len(clean))
            before = raw[:same]
            line = before.rpartition(b"\n")[2].decode(errors="replace")
            return before.count(b"\n") + 1, len(line) + 1
    return None


def _as_meant(raw: bytes, scrub: Callable[[bytes], bytes]) -> tuple[int, int] | None:
    """Return line and column of a secret in the parsed YAML: a value that is indented, folded, or escaped."""
    marks = (mark for word, mark in _encoded_texts(raw) if scrub(word) != word)
    return next(((mark.line, mark.column) for mark in marks), None)


@lru_cache(maxsize=4096)
def _encoded_texts(raw: bytes) -> tuple[tuple[bytes, Mark], ...]:
    """Return the texts whose YAML form differs from their value, as JSON.

    There are few, and they only change by an edit.
    """
    text, flaw = yaml12.decode(raw)
    if flaw is not None:
        return ()
    if text.startswith("---"):  # front matter; the text below is literal
        text = text[3:].partition("\n---")[0]
    tree, _ = yaml12.read(text)
    words = _words(tree) if tree is not None else ()
    return tuple((orjson.dumps(word), mark) for word, mark in words if mark and word.encode() not in raw)


def _words(node: Node) -> Iterator[tuple[str, Mark | None]]:
    match node:
        case ScalarNode():
            yield node.text, node.mark
        case ListNode():
            for item in node.items:
                yield from _words(item)
        case MapNode():
            for key, item in node.items.items():
                yield key, node.key_marks.get(key)
                yield from _words(item)


def kind_of(path: str) -> Kind | None:
    """Return the kind of Definition by the file's path; None: it may be a script, or nothing."""
    if path in TOP:
        return TOP[path]
    folder, slash, name = path.partition("/")
    kind = KINDS.get(folder)
    if kind is None or not slash or not name.endswith(kind.suffix):
        return None
    return kind if "/" not in name.removesuffix(kind.suffix) else None


def id_of(path: str, kind: Kind) -> str:
    """Return the id of the Definition in a file: its name without the suffix; for one at the top, its kind's name."""
    return kind.name if path in TOP else path.partition("/")[2].removesuffix(kind.suffix)


def is_source(path: str) -> bool:
    """Return whether the path is valid for users' Definitions (or their scripts)."""
    if path in TOP:
        return True
    folder, _, rest = path.partition("/")
    if folder not in KINDS or not rest or passed_over(path):
        return False
    if KINDS[folder].in_folder and "/" in rest:
        return KINDS[folder].has_files or kind_of(path) is KINDS[folder]
    name = path.rpartition("/")[2].lower()
    return name.endswith(_SUFFIXES) and name != _READ_ME


def concerns(path: str) -> bool:
    """Return whether a file with this path could be a problem among Definitions.

    Its name does not matter: it may be a link or a pipe.
    """
    folder, slash, rest = path.partition("/")
    if path in TOP or path in FOLDERS:
        return True
    if folder not in KINDS or not slash or not rest or passed_over(path) or _is_read_me(path):
        return False
    return not _lies_beside(folder, rest)


def _lies_beside(folder: str, rest: str) -> bool:
    """Return whether a path is that of a file which belongs to a Definition in a folder, and is not read with it."""
    kind = KINDS[folder]
    if not kind.in_folder or kind.has_files or "/" not in rest:
        return False
    return rest.rpartition("/")[2].lower() != kind.suffix[1:].lower()


def looks_meant(path: str) -> bool:
    """Return whether a file in a folder of Definitions looks like one, but is not read because of its name or place."""
    folder, _, rest = path.partition("/")
    kind = KINDS.get(folder)
    if kind is None or not rest or passed_over(path) or _is_read_me(path) or _VENDORED & set(rest.split("/")):
        return False
    first, *inner = rest.split("/")
    name = (inner or [first])[-1]
    if kind.in_folder:
        return bool(inner) and not kind.has_files and name.lower() == kind.suffix[1:].lower() and kind_of(path) is None
    if inner:
        return first.endswith(kind.suffix) or name.endswith(_endings(kind))
    return name.endswith(_endings(kind)) and kind_of(path) is None if "." in name else _is_bare(name)


def _endings(kind: Kind) -> tuple[str, ...]:
    """Return the endings of files that look like Definitions of a kind; notes in Markdown may lie beside others."""
    return (".yaml", ".yml", ".json", *((kind.suffix,) if kind.text else ()))


def _is_bare(name: str) -> bool:
    return ids.is_slug(name.lower()) and name.lower() not in _NO_DEFINITIONS


def _is_read_me(path: str) -> bool:
    return path.count("/") == 1 and path.lower().endswith(f"/{_READ_ME}")


def read_all(root: Path) -> dict[str, Source]:
    """Read every file that may be a Definition. Blocks on disk."""
    below = (path for folder in KINDS for path, _ in door.walk(root, folder, skip=passed_over))
    return read(root, [*TOP, *FOLDERS, *below])


def read(root: Path, paths: Iterable[str]) -> dict[str, Source]:
    """Read the existing files among `paths`. Blocks on disk."""
    sources = (_read(root, path) for path in paths if concerns(path))
    return {source.path: source for source in sources if source is not None}


def _read(root: Path, path: str) -> Source | None:
    """Read a source, or an entry that is no plain file in a folder of sources."""
    if not is_source(path):
        return _misplaced(root, path)
    if not names.is_text(path):
        return Source(path, b"", _NOT_UTF8, "bad_name") if _is_there(root, path) else None
    try:
        return Source(path, door.begin(root, path, most=MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except FileRefused as refused:
        return Source(path, b"", refused.reason)
    except OSError as error:
        return Source(path, b"", f"cannot be read: {error.strerror}")


def _misplaced(root: Path, path: str) -> Source | None:
    """Return a file whose name is not a source's; None for a plain file that belongs to the user. One that looks meant
    is not read."""
    try:
        mode = names.within(root, path).lstat().st_mode
    except OSError:
        return None
    if path in FOLDERS:
        return None if stat.S_ISDIR(mode) else Source(path, b"", _NO_FOLDER)
    if not names.is_text(path):
        return Source(path, b"", _NOT_UTF8, "bad_name")
    if stat.S_ISDIR(mode):
        return None
    reason = door.kind(mode)
    return Source(path, b"", reason) if reason is not None or looks_meant(path) else None


def _is_there(root: Path, path: str) -> bool:
    try:
        return bool(names.within(root, path).lstat())
    except OSError:
        return False
