"""Which files a command line names: its words, as far as they can be read before bash runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kheish.jobs import shellwords
from kheish.jobs.commandline import CommandLine, SimpleCommand, Word

_MAX_NESTING = 3


@dataclass(frozen=True, slots=True)
class Operands:
    """Words that may be paths (`patterns` with `*`, `?` or `[`), programs, and folders that it changes to."""

    words: tuple[str, ...]
    patterns: tuple[str, ...]
    programs: tuple[str, ...]
    folders: tuple[str, ...]


def read(command: str) -> Operands:
    """The operands of a command line, each once, in its order; commands inside commands too (`bash -c 'make x'`)."""
    words: dict[Word, None] = {}
    programs: dict[str, None] = {}
    folders: dict[str, None] = {}
    for simple in _all(shellwords.parse(command), words, 0):
        if not simple.words:
            continue
        first, *rest = simple.words
        programs[first.text] = None
        if first.text in ("cd", "pushd"):
            folders.update(dict.fromkeys(word.text for word in rest if not word.dynamic))
        for word in simple.words:
            words.update(dict.fromkeys(_spellings(word)))
    return Operands(
        words=tuple(word.text for word in words if not word.glob),
        patterns=tuple(word.text for word in words if word.glob),
        programs=tuple(programs),
        folders=tuple(folders),
    )


def _all(line: CommandLine, words: dict[Word, None], nesting: int) -> Iterator[SimpleCommand]:
    for redirect in line.redirections:
        if redirect.target is not None and not redirect.writes:
            words[Word(redirect.target)] = None
    for simple in line.simple:
        yield simple
        if nesting < _MAX_NESTING and shellwords.runs_others(simple):
            for word in simple.words[1:]:
                if not word.dynamic and (" " in word.text or "\n" in word.text):
                    yield from _all(shellwords.parse(word.text), words, nesting + 1)


def _spellings(word: Word) -> Iterator[Word]:
    """The word, and what stands behind the `=` of `--file=x`, the `@` of `@x`, the letter of `-fx`."""
    if word.dynamic or not word.text or "\0" in word.text:
        return
    yield word
    text = word.text
    if "=" in text:
        yield Word(text.partition("=")[2], glob=word.glob)
    if text.startswith("@"):
        yield Word(text[1:], glob=word.glob)
    if text.startswith("-") and not text.startswith("--") and len(text) > 2:
        yield Word(text[2:], glob=word.glob)
