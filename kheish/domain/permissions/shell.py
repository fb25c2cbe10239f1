"""The matching of rules and a bash command line: its simple commands, its redirections, and its unparsable parts.

A rule's `match` is written as on a command line: quotes and backslashes as in bash, `*` outside quotes for any text. An
allow rule matches plain lines only (`plainline`) and is read strictly: a quoted blank does not match a blank, and an
expansion of bash (`$HOME`, `*.py`) is only matched by a `*`. A deny or ask rule is read loosely: any bash, without the
program's path, options before its subcommand, and wrappers.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from kheish.domain.permissions import names as permission_names
from kheish.domain.permissions.match import wild
from kheish.jobs import plainline, plainrun, plainwords, shellwords
from kheish.jobs.commandline import Redirect, SimpleCommand, Word

#: redirections that open no user file
ALWAYS_OPEN = plainrun.DEVICES
_BLANKS = {ord(blank): chr(0xE001 + at) for at, blank in enumerate(" \t\n\r\v\f")}
_EMPTY = "\ue010"
_GLOB = re.compile(r"[*?\[].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A simple command. `words`: in the form that `programs` takes; `folders`: the folders where it may run, relative
    to the call's folder (None: only running it would show); `known`: its readings for rules that deny."""

    text: str
    strict: str
    known: permission_names.Known
    words: tuple[str, ...] = ()
    folders: tuple[str | None, ...] = (".",)


@dataclass(frozen=True, slots=True)
class Reading:
    """A command line in the form that rules match.

    Rules that ask or deny match `parts`, from the loose parser, and `plain`, the text without quotes, for unparsable
    parts. Rules that allow match `allowed`, the parts of a plain line; `refusal` is the reason why a line is not plain.
    """

    parts: tuple[Part, ...]
    redirections: tuple[Redirect, ...]
    unreadable: str | None
    plain: str
    moves: bool
    allowed: tuple[Part, ...]
    refusal: str | None


@lru_cache(maxsize=128)
def read(command: str) -> Reading:
    """Parse a command line. The first call imports the parser."""
    line = shellwords.parse(command)
    plain = plainline.read(command)
    return Reading(
        allowed=() if isinstance(plain, plainline.Refusal) else tuple(_plain_parts(plain)),
        refusal=plain.why if isinstance(plain, plainline.Refusal) else None,
        parts=tuple(map(_part, line.simple)),
        redirections=line.redirections,
        unreadable=line.unreadable,
        plain=_plain(command),
        moves=any(simple.words and simple.words[0].text in ("cd", "pushd", "popd") for simple in line.simple),
    )


def join(workdir: str, folder: str) -> str:
    """Return the normalized path of `folder`, which is relative to `workdir`."""
    return posixpath.normpath(posixpath.join(workdir, folder))


def fits(match: str | None, part: Part) -> bool:
    """Return whether the text of a match fits the simple command, whatever bash expands."""
    return match is None or is_wild(pieces_of(match, loose=False), part.strict)


def _part(simple: SimpleCommand) -> Part:
    return Part(
        text=simple.text if len(simple.text) <= 200 else simple.text[:200] + "…",
        strict=" ".join(map(_strict, simple.words)),
        known=permission_names.known(simple),
    )


def _plain_parts(plain: plainline.Plain) -> Iterator[Part]:
    """Yield the commands of a plain line with the folders that each may run in."""
    folders: tuple[str | None, ...] = (".",)
    ever: dict[str | None, None] = dict.fromkeys(folders)
    before = ""
    for command, after in zip(plain.commands, (*plain.operators, ""), strict=True):
        words = command.plain_words
        yield replace(_part(command.loose()), words=words, folders=folders)
        moves = words[0] == "cd" and "|" not in (before, after)  # in a pipeline it affects only itself
        moved = tuple(dict.fromkeys(_moved(folder, words) for folder in folders)) if moves else folders
        ever.update(dict.fromkeys(moved))
        # It may fail, or not be reached; only after `&&` it has certainly succeeded.
        is_certain = after == "&&" and not (moves and before == "||")
        folders = moved if is_certain else tuple(ever)
        before = after


def _moved(folder: str | None, words: tuple[str, ...]) -> str | None:
    if folder is None or len(words) != 2 or words[1][:1] in ("", "-", "~") or plainwords.UNKNOWN in words[1]:
        return None
    return posixpath.normpath(posixpath.join(folder, words[1]))


def _strict(word: Word) -> str:
    if word.dynamic:
        return permission_names.ANY
    text = _GLOB.sub(permission_names.ANY, word.text) if word.glob else word.text
    return text.translate(_BLANKS) or _EMPTY


def is_wild(pieces: tuple[str, ...], text: str) -> bool:
    """Return whether the text fits the pieces; `git push *` also matches `git push`."""
    optional = len(pieces) > 1 and not pieces[-1] and pieces[-2].endswith(" ")
    return wild(pieces, text) or (optional and wild(pieces, text + " "))


def _plain(command: str) -> str:
    return " ".join(re.sub(r"""\\\n|["'\\]""", "", command).split())


@lru_cache(maxsize=4096)
def pieces_of(match: str, *, loose: bool) -> tuple[str, ...]:
    """Return the texts between the `*` of a match."""
    pieces = [""]
    for text, quoted in _tokens(match.strip()):
        if not quoted and text == "*":
            pieces.append("")
        elif not quoted and text.isspace():
            pieces[-1] += " "
        else:
            pieces[-1] += text.replace(_EMPTY, "") if loose else text.translate(_BLANKS)
    if loose:
        pieces = [re.sub(r"\s+", " ", piece) for piece in pieces]
        pieces[0] = re.sub(r"^[^\s*]*/", "", pieces[0], count=1)
    return tuple(pieces)


def _tokens(match: str) -> Iterable[tuple[str, bool]]:
    for token in re.finditer(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|(\s+)|(\*)|(.)""", match, re.DOTALL):
        single, double, escaped, blank, star, plain = token.groups()
        if blank or star or plain:
            yield blank or star or plain, False
        elif escaped is not None:
            yield escaped, True
        else:
            inner = single if single is not None else re.sub(r'\\([$`"\\])', r"\1", double)
            yield inner or _EMPTY, True
