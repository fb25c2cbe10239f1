"""How rules meet a bash command line: each simple command in it, every redirection, and what cannot be read.

A rule's `match` is written as on a command line: quotes and backslashes as bash reads them, `*` outside quotes for any
text. An allow is about plain lines only (`plainline`) and is read strictly: a quoted blank is no blank, and what bash
fills in (`$HOME`, `*.py`) is only covered by a `*`. A deny or an ask is read loosely: any bash, without the path of the
program, options before its subcommand, and wrappers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from kheish.domain.permission_match import Fit, wild
from kheish.jobs import plainline, plainrun, shellwords
from kheish.jobs.commandline import CommandLine, Redirect, SimpleCommand, Word

#: redirections that open no file of anyone
ALWAYS_OPEN = plainrun.DEVICES
_ANY = "\ue000"  # stands in a text for what only bash knows
_BLANKS = {ord(blank): chr(0xE001 + at) for at, blank in enumerate(" \t\n\r\v\f")}
_EMPTY = "\ue010"
_GLOB = re.compile(r"[*?\[].*", re.DOTALL)
_PATH = re.compile(r"[^\s*]*/")
_MAX_INNER = 32  # words of a wrapper that are looked at as a command
_MAX_NESTING = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One simple command. `closed`: why no pattern can allow it; `forms`: what rules that deny look at."""

    text: str
    strict: str
    closed: str | None
    forms: tuple[str, ...]
    unsure: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A command line as rules see it.

    Rules that ask or deny look at `parts`, as the loose parser sees them, and at `plain`, the text without quotes, for
    what cannot be parsed. Rules that allow look at `allowed`, the parts of a plain line; `refusal` says why it is none.
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
    """Read a command line. The very first call imports the parser."""
    line = shellwords.parse(command)
    plain = plainline.read(command)
    commands = () if isinstance(plain, plainline.Refusal) else plain.commands
    return Reading(
        allowed=tuple(_part(one.loose()) for one in commands),
        refusal=plain.why if isinstance(plain, plainline.Refusal) else None,
        parts=tuple(map(_part, line.simple)),
        redirections=line.redirections,
        unreadable=line.unreadable,
        plain=_plain(command),
        moves=any(simple.words and simple.words[0].text in ("cd", "pushd", "popd") for simple in line.simple),
    )


def covers(match: str | None, part: Part) -> bool:
    """Whether a rule with this match allows the simple command, whatever bash fills in."""
    if match is None:
        return True
    if part.closed:
        return False
    return _wild(_pieces(match, loose=False), part.strict)


def restricts(match: str | None, reading: Reading) -> Fit:
    """Whether a rule that asks or denies is about the command line; MAYBE where only running it would tell."""
    if match is None:
        return Fit.YES
    pieces = _pieces(match, loose=True)
    best = Fit.NO
    for part in reading.parts:
        for form in part.forms:
            if _wild(pieces, form):
                return Fit.YES
            known, unknown, _ = form.partition(_ANY)
            if unknown and (known.startswith(pieces[0]) or pieces[0].startswith(known)):
                best = Fit.MAYBE
        best = Fit.MAYBE if part.unsure else best
    if reading.unreadable is not None:
        return Fit.YES if _within(pieces, reading.plain) else Fit.MAYBE
    return best


def _part(simple: SimpleCommand) -> Part:
    others = shellwords.runs_others(simple)
    return Part(
        text=simple.text if len(simple.text) <= 200 else simple.text[:200] + "…",
        strict=" ".join(map(_strict, simple.words)),
        closed="it runs other commands, or may" if others else None,
        forms=tuple(dict.fromkeys(_forms(simple.words, others, 0))),
        unsure=others,
    )


def _strict(word: Word) -> str:
    if word.dynamic:
        return _ANY
    text = _GLOB.sub(_ANY, word.text) if word.glob else word.text
    return text.translate(_BLANKS) or _EMPTY


def _loose(word: Word) -> str:
    if word.dynamic:
        return _ANY
    return " ".join((_GLOB.sub(_ANY, word.text) if word.glob else word.text).split())


def _forms(words: tuple[Word, ...], wrapper: bool, nesting: int) -> Iterator[str]:
    """The command as rules that deny may know it: by its program's name, without the options before a subcommand
    (`git -C x push`), and each command that a wrapper may run."""
    texts = [_loose(word) for word in words]
    for start in range(min(len(texts), _MAX_INNER) if wrapper else min(len(texts), 1)):
        rest = texts[start + 1 :]
        yield " ".join(texts[start:])
        name = texts[start].rsplit("/", 1)[-1]
        yield " ".join([name, *rest])
        for at in range(min(len(rest), _MAX_INNER)):
            if not rest[at].startswith("-") and (at == 0 or not rest[at - 1].startswith("-")):
                break
            yield " ".join([name, *rest[at + 1 :]])
    if wrapper and nesting < _MAX_NESTING:
        for word in words[1:_MAX_INNER]:
            if not word.dynamic and re.search(r"\s", word.text):
                yield from _inner(shellwords.parse(word.text), nesting + 1)


def _inner(line: CommandLine, nesting: int) -> Iterator[str]:
    for simple in line.simple:
        yield from _forms(simple.words, shellwords.runs_others(simple), nesting)


def _wild(pieces: tuple[str, ...], text: str) -> bool:
    """`git push *` is about `git push` as well."""
    optional = len(pieces) > 1 and not pieces[-1] and pieces[-2].endswith(" ")
    return wild(pieces, text) or (optional and wild(pieces, text + " "))


def _within(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the pieces stand one after the other anywhere in the text, the first where a word begins."""
    first = pieces[0].strip()
    for found in re.finditer(rf"(?<![\w-]){re.escape(first)}", text):
        at = found.end()
        for piece in pieces[1:]:
            at = text.find(piece.strip(), at)
            if at < 0:
                return False  # a later start finds even less
            at += len(piece.strip())
        return True
    return False


def _plain(command: str) -> str:
    return " ".join(re.sub(r"""\\\n|["'\\]""", "", command).split())


@lru_cache(maxsize=4096)
def _pieces(match: str, *, loose: bool) -> tuple[str, ...]:
    """What stands between the `*` of a match."""
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
        pieces[0] = _PATH.sub("", pieces[0], count=1) if _PATH.match(pieces[0]) else pieces[0]
    return tuple(pieces)


def _tokens(match: str) -> Iterable[tuple[str, bool]]:
    for found in re.finditer(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|(\s+)|(\*)|(.)""", match, re.DOTALL):
        single, double, escaped, blank, star, plain = found.groups()
        if blank or star or plain:
            yield blank or star or plain, False
        elif escaped is not None:
            yield escaped, True
        else:
            inner = single if single is not None else re.sub(r'\\([$`"\\])', r"\1", double)
            yield inner or _EMPTY, True
