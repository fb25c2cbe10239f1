"""The names of a simple command for rules that ask or deny: other spellings, and commands that it may run.

`ANY` stands for text that only bash can determine. An alternative is the words of one command; `scans` means that a
command may begin at any of its words (`timeout 5 git push`). Nothing is ignored for its length: a command with too many
alternatives is unsure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kheish.jobs import shellwords, wrappers
from kheish.jobs.commandline import SimpleCommand, Word
from kheish.jobs.programs import table as programs

ANY = "\ue000"  # stands in a text for parts that only bash can determine
_GLOB = re.compile(r"[*?\[].*", re.DOTALL)
_MODULE = re.compile(r"-[A-Za-z]*m(.*)", re.DOTALL)
_UNKNOWN = Word("$", dynamic=True)
_MAX_NESTING = 3
_MAX_INNER = 64  # command lines among the words of a command
_MAX_STARTS = 200  # words of a command that may begin another


@dataclass(frozen=True, slots=True)
class Alternative:
    """A reading of a command."""

    texts: tuple[str, ...]
    scans: bool = False

    @property
    def starts(self) -> range:
        """The positions where its commands may begin."""
        return range(min(len(self.texts), _MAX_STARTS if self.scans else 1))


@dataclass(frozen=True, slots=True)
class Known:
    """All readings of a command. `unsure`: it may run commands beyond them. `codes`: words that are code of another
    language."""

    alternatives: tuple[Alternative, ...]
    unsure: bool
    codes: tuple[str, ...] = ()


def known(simple: SimpleCommand) -> Known:
    """Return the readings of a command."""
    alternatives: list[Alternative] = []
    unsure = _read(simple.words, alternatives, 0)
    return Known(tuple(dict.fromkeys(alternatives)), unsure or len(alternatives) > _MAX_INNER, _codes(simple.words))


def _read(words: tuple[Word, ...], found: list[Alternative], nesting: int) -> bool:
    """Collect the alternatives; return whether others may exist."""
    if not words or len(found) > _MAX_INNER:
        return bool(words)
    texts = tuple(map(loose, words))
    runs_others = shellwords.runs_others(SimpleCommand(" ".join(texts), words))
    places = wrappers.commands_at(tuple(word.text for word in words)) if runs_others else None
    found.append(Alternative(texts, scans=runs_others and places is None))
    starts = range(min(len(texts), _MAX_STARTS if runs_others else 1))
    found += (Alternative(more) for start in starts for more in _spellings(texts[start:]))
    if not runs_others:
        return False
    if places is not None:  # with more words appended, and in place of `{}`
        filled = (*(_UNKNOWN if "{}" in word.text else word for word in words), _UNKNOWN)
        insides = [nesting >= _MAX_NESTING or _read(filled[place:], found, nesting + 1) for place in places]
        return any(insides) or wrappers.hides(tuple(word.text for word in words))
    unsure = len(texts) > _MAX_STARTS or wrappers.hides(tuple(word.text for word in words))
    for word in words[1:]:
        if not word.dynamic and re.search(r"[\s;|&]", word.text):
            unsure = len(found) > _MAX_INNER or nesting >= _MAX_NESTING or _inner(word.text, found, nesting) or unsure
        if len(found) > _MAX_INNER:
            return True
    return unsure


def _inner(text: str, found: list[Alternative], nesting: int) -> bool:
    line = shellwords.parse(text)
    unsure = [_read(simple.words, found, nesting + 1) for simple in line.simple]
    return line.unreadable is not None or any(unsure)


def _spellings(texts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the command under other names: `git-push`, `python -m pip`, a subcommand's other name."""
    name, rest = texts[0].rsplit("/", 1)[-1], texts[1:]
    plain = programs.base(name)
    if name.startswith("git-"):
        yield (*name.split("-", 1), *rest)
    if plain == "python":
        for at, text in enumerate(rest):
            module = _MODULE.fullmatch(text)
            if module is not None:
                yield tuple(word for word in (module[1], *rest[at + 1 :]) if word)
                break
            if not text.startswith("-"):
                break
    usual = programs.usual_names(plain)
    if not usual.keys().isdisjoint(rest):  # otherwise slow: thousands of words, hundreds of times
        yield (name, *(usual.get(text, text) for text in rest))


def _codes(words: tuple[Word, ...]) -> tuple[str, ...]:
    is_code = bool(words) and programs.base(words[0].text) in wrappers.OTHER_LANGUAGES
    return tuple(" ".join(re.sub(r"[\"'\\,()\[\]]+", " ", word.text).split()) for word in words[1:]) if is_code else ()


def may_be_alias(texts: tuple[str, ...], at: int) -> bool:
    """Return whether the command at this position has a subcommand that may be a user's alias."""
    name = programs.base(texts[at])
    values = wrappers.TAKE_VALUES.get(name, frozenset())
    place = at + 1
    while place < len(texts) and texts[place].startswith(("-", "+")):
        place += 2 if texts[place] in values else 1
    return place < len(texts) and programs.subcommand(name, texts[place])[1]


def loose(word: Word) -> str:
    """Return the text of a word with its blanks normalized; `ANY` for text that only bash can determine."""
    if word.dynamic:
        return ANY
    return " ".join((_GLOB.sub(ANY, word.text) if word.glob else word.text).split())
