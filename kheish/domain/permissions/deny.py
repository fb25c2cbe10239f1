"""Rules that ask or deny, against a command line that is read loosely; MAYBE if only running it would show a match."""

from __future__ import annotations

import re
from functools import lru_cache

from kheish.domain.permissions.match import Fit
from kheish.domain.permissions.names import ANY, Alternative, may_be_alias
from kheish.domain.permissions.shell import Part, Reading, is_wild, pieces_of
from kheish.jobs.programs import table as programs


def restricts(match: str | None, reading: Reading) -> Fit:
    """Return how well a rule that asks or denies matches the command line."""
    if match is None:
        return Fit.YES
    pieces = pieces_of(match, loose=True)
    best = Fit.NO
    for part in reading.parts:
        best = max(best, _part_fit(pieces, part))
        if best is Fit.YES:
            return best
    if reading.unreadable is not None:
        return Fit.YES if _is_within(pieces, reading.plain) else Fit.MAYBE
    if reading.refusal is not None and _is_within(pieces, reading.plain):
        return Fit.MAYBE  # the loose parser may have missed it
    return best


def _part_fit(pieces: tuple[str, ...], part: Part) -> Fit:
    best = Fit.MAYBE if part.known.unsure else Fit.NO
    for alternative in part.known.alternatives:
        best = max(best, _fit(pieces, alternative))
        if best is Fit.YES:
            return best
    return max(best, Fit.MAYBE if any(_is_within(pieces, code) for code in part.known.codes) else Fit.NO)


def _fit(pieces: tuple[str, ...], alternative: Alternative) -> Fit:
    """Match the command from each word where it may begin, by its program's name and without options before a
    subcommand."""
    name, blank, rest = pieces[0].partition(" ")
    texts, best = alternative.texts, Fit.NO
    for start in alternative.starts:
        if ANY in texts[start]:
            known = texts[start].partition(ANY)[0].rsplit("/", 1)[-1]
            best = max(best, Fit.MAYBE if name.startswith(known) or known.startswith(name) else Fit.NO)
        if not blank:
            best = max(best, _whole(pieces, texts, start))
        elif _is_named(name, texts[start]):
            alias = Fit.MAYBE if may_be_alias(texts, start) else Fit.NO
            best = max(best, alias, _after_options((rest, *pieces[1:]), texts[start + 1 :]))
        if best is Fit.YES:
            return best
    return best


def _whole(pieces: tuple[str, ...], texts: tuple[str, ...], start: int) -> Fit:
    """Match a pattern that does not delimit the program's name against the line from this word on."""
    rest = " ".join(texts[start + 1 :])
    names = {texts[start], texts[start].rsplit("/", 1)[-1], programs.base(texts[start])}
    lines = [f"{name} {rest}" if rest else name for name in names]
    if any(is_wild(pieces, line) for line in lines):
        return Fit.YES
    known = [line.partition(ANY)[0] for line in lines if ANY in line]
    maybe = any(line.startswith(pieces[0]) or pieces[0].startswith(line) for line in known)
    return Fit.MAYBE if maybe else Fit.NO


@lru_cache(maxsize=4096)
def _is_named(name: str, text: str) -> bool:
    plain = text.rsplit("/", 1)[-1]
    return name in (text, plain) or programs.base(name) == programs.base(plain)


def _after_options(pieces: tuple[str, ...], texts: tuple[str, ...]) -> Fit:
    """Match the words after the program's name, leaving out any number of leading options and their values.

    Takes linear time: of all places where the first piece fits, the first leaves the most room for the others.
    """
    line, at, best, is_tried = " ".join(texts), 0, Fit.NO, False
    may_begin = True
    for before, text in zip(("", *texts), (*texts, ""), strict=True):
        if not may_begin:
            break
        unknown = line.find(ANY, at)
        known = line[at : min(unknown, at + len(pieces[0]))] if unknown >= 0 else ""
        if unknown >= 0 and (pieces[0].startswith(known) or known.startswith(pieces[0])):
            best = Fit.MAYBE
        if not is_tried and line.startswith(pieces[0].rstrip(" "), at):
            is_tried = len(pieces) > 1 and line.startswith(pieces[0], at)
            if is_wild(pieces, line[at:]):
                return Fit.YES
        at += len(text) + 1
        is_option = text.startswith(("-", "+")) or ANY in text
        may_begin = is_option or before.startswith(("-", "+")) or ANY in before
    return best


def _is_within(pieces: tuple[str, ...], text: str) -> bool:
    """Return whether the pieces occur in this order anywhere in the text, the first at the beginning of a word."""
    first = pieces[0].strip()
    match = re.search(rf"(?<![\w-]){re.escape(first)}", text)
    if match is None:
        return False
    at = match.end()
    for piece in pieces[1:]:
        at = text.find(piece.strip(), at)
        if at < 0:
            return False  # a later start leaves even less text
        at += len(piece.strip())
    return True
