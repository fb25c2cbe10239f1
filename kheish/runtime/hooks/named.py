"""The paths that a command of a hook names: in its words, in code within words, in variables, and by folders.

A command is code, so that no reading finds all: a path that a program puts together stays unknown.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kheish.domain.hooks.definition import HookFile

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox"})
_CODE = re.compile(r"-[A-Za-z]*c")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_RUN = re.compile(r"""[^\s'"`;|&<>(){}\[\]$,=:\\]*/[^\s'"`;|&<>(){}\[\]$,=:\\]*""")
_PART = re.compile(r"[^\s'\"`;|&<>()]+")
_WRITES = re.compile(r"[;&|()<>]*>[|&]?")
_BELOW = re.compile(r"[\w.][\w.+-]*(/[\w.+-]+)*")
_UNCERTAIN = re.compile(r"""/proc/[^\s'"`;|&<>()]*?(cwd|root|\.\.)(/|$)""")
#: characters of a word with its variables; code within code within code
_LONGEST, _DEPTH = 200_000, 4


class Unbindable(Exception):
    """A hook whose files no trust can be bound to; the text is the reason."""


@dataclass(slots=True)
class Named:
    """The paths of a command, each once. `words` are whole words of the command or of its shell code, `inside` are
    parts of words and of variables; `below` may be names in the folders among them, or in `folders`."""

    words: dict[str, None] = field(default_factory=dict)
    inside: dict[str, None] = field(default_factory=dict)
    below: dict[str, None] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)


def paths_of(hook: HookFile) -> Named:
    """Return the paths that a command names. Blocks on disk (homes of users). Raises Unbindable."""
    found = Named()
    if hook.command is None:
        return found
    home = {"HOME": str(Path.home())}
    known = home | ({"CLAUDE_PLUGIN_ROOT": hook.plugin_root} if hook.plugin_root is not None else {})
    variables = known | {name: value for name, value in hook.env.items() if isinstance(value, str)}
    words = list(_words(hook.command))
    for word, _ in words:
        if (assigned := _ASSIGNED.fullmatch(word)) is not None:
            if assigned[1] == "PATH":
                _take_folders(found, _filled(assigned[2], variables))
            variables.setdefault(assigned[1], assigned[2])
    for word, is_plain in words:
        if is_plain and (path := _path(_home(_filled(word, known)))) is not None:
            found.words[path] = None
        if _BELOW.fullmatch(word) is not None:
            found.below[os.path.normpath(word)] = None
        _take_inside(found, _filled(word, variables))
    for name, value in hook.env.items():
        if isinstance(value, str):
            _take_inside(found, _filled(value, variables))
            if name == "PATH":
                _take_folders(found, _filled(value, variables))
    return found


def _words(command: str | Sequence[str], depth: int = 0) -> Iterator[tuple[str, bool]]:
    """Yield the words of a command and of the shell code within them; False for a file that is only written."""
    words = _split(command) if isinstance(command, str) else list(command)
    is_shell = False
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        is_target = isinstance(command, str) and _WRITES.fullmatch(before) is not None
        yield word, not is_target
        is_code = is_shell and _CODE.fullmatch(before) is not None
        is_code = is_code or (isinstance(command, str) and ("`" in word or "$(" in word))
        if is_code and depth < _DEPTH:
            yield from _words(word.replace("`", " "), depth + 1)
        is_shell = is_shell or os.path.basename(word) in _SHELLS  # noqa: PTH119 - a word is no path yet


def _split(text: str) -> list[str]:
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        return list(lexer)
    except ValueError:  # an apostrophe in a comment
        return _PART.findall(text)


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with the variables that are known, also those in their values. Raises Unbindable."""
    for _ in range(2):
        longest, size = max(map(len, variables.values()), default=0), len(text)
        if size + text.count("$") * longest > _LONGEST:
            size += sum(len(variables.get(one[1] or one[2], "")) for one in _VARIABLE.finditer(text))
        if size > _LONGEST:
            raise Unbindable(f"a word of its command has more than {_LONGEST} characters with its variables")
        text = _VARIABLE.sub(lambda one: variables.get(one[1] or one[2], one[0]), text)
    return text


def _home(text: str) -> str:
    return os.path.expanduser(text) if text.startswith("~") and "/" in text else text  # noqa: PTH111 - it never raises


def _path(text: str) -> str | None:
    """Return an absolute path in its plain form; None for another text. Raises Unbindable."""
    if not text.startswith("/") or "\0" in text:
        return None
    plain = re.sub(r"/+(\./+)*", "/", text)
    if _UNCERTAIN.match(plain):
        what = f"its command names {plain[:200]}, another file in each process"
        raise Unbindable(f"{what}; name the file itself")
    if re.search(r"/\.\.(/|$)", plain):
        return os.path.realpath(plain)  # a link's parent is not that of its name
    return os.path.normpath(plain)


def _take_inside(found: Named, text: str) -> None:
    for candidate in (text[text.find("/") :] if "/" in text else "", *_RUN.findall(text)):
        given = _home(candidate)
        start = given.find("/")
        if start >= 0 and (path := _path(given[start:])) is not None:
            found.inside[path] = None


def _take_folders(found: Named, text: str) -> None:
    for one in text.split(":"):
        if (path := _path(_home(one))) is not None:
            found.folders[path] = None
