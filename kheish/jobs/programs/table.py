"""The coverage of a rule's wildcard, by the table of programs, and the usual names of a program.

A rule allows the words that it writes out. The words that its `*` covers are chosen by others: by the model, or by a
page that it read. So for a program of the table the `*` covers only options and operands that do no more than the
command does without them. A subcommand that changes something has to be written out. For a program outside the table,
the rule is taken literally.

Words are plain, with quotes removed. A part of a word that only bash can evaluate is written `UNKNOWN`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kheish.jobs import wrappers
from kheish.jobs.plainwords import UNKNOWN
from kheish.jobs.programs import build as programs_build, git as programs_git, look as programs_look
from kheish.jobs.programs.values import LONGEST, OPERANDS, Options, Program, Use, options_of

TABLE: dict[str, Program] = {
    **programs_look.TABLE,
    **programs_build.TABLE,
    "git": programs_git.GIT,
    **dict.fromkeys(wrappers.ALWAYS, Program(source="its manual: it runs the command that its words name", wraps=True)),
}

_VERSIONED = re.compile(r"(python|pip|perl|ruby|php|lua|node|pytest|gawk|gcc|clang)-?[0-9][0-9.]*\Z")
_ALIASES = {"nodejs": "node", "pypy": "python", "pypy3": "python", "ripgrep": "rg"}
_NUMBER = re.compile(r"-[0-9]+")
_MOST_NESTING = 3


@dataclass(frozen=True, slots=True)
class Named:
    """The words that a rule writes out: those before its first `*`, the beginning of the word that contains it, and
    those after the last. `is_whole`: there is no `*`."""

    before: tuple[str, ...] = ()
    partial: str = ""
    after: tuple[str, ...] = ()
    is_whole: bool = False

    def names(self, words: Sequence[str], at: int) -> bool:
        """Return whether the rule writes out the word."""
        if self.is_whole or at < len(self.before) or at >= len(words) - len(self.after):
            return True
        if at > len(self.before) or not self.partial:
            return False
        return words[at] == self.partial or ("=" in self.partial and words[at].startswith(self.partial))


NOTHING = Named()


def fault(words: tuple[str, ...], match: str) -> str | None:
    """Return the reason why the wildcard of a rule, whose text matches the command, does not cover it.

    Return None if it covers the command, or if the match has no wildcard.
    """
    by = named(match)
    return None if by.is_whole else _Judge(words, by).program(0, 0)


def only_looks(words: tuple[str, ...]) -> bool:
    """Return whether each word is in the table and the command only reads."""
    judge = _Judge(words, NOTHING, only_looks=True)
    return bool(words) and _program(words[0]) is not None and judge.program(0, 0) is None


def stem(words: tuple[str, ...]) -> tuple[int, bool]:
    """Return the number of words that determine the program to run, and whether a pattern for it may be offered."""
    program, at = _program(words[0]) if words else None, 0
    use = program.use if program is not None and not program.wraps else None
    while use is not None and program is not None:
        place = _next_operand(words, at, use)
        if use.rest == "command":
            inner, is_offered = stem(words[place:]) if place < len(words) else (0, False)
            return place + inner, is_offered
        module_at = next((n + 1 for n in range(at + 1, place) if use.selector and words[n] == use.selector), place)
        entry = use.subcommands.get(words[module_at]) if module_at < len(words) else None
        if entry is None:
            is_script = use.rest == "free" and place < len(words) and _is_harmless(use.operands, words[place])
            return (place if is_script else at) + 1, _is_offered(use, words, is_script=is_script)
        use, at = entry, module_at
    return len(words), False


def _is_offered(use: Use, words: tuple[str, ...], *, is_script: bool) -> bool:
    """Return whether a pattern may be offered: for an interpreter with its script, or for a command that only reads.

    An expression (`find`) is the whole action, so that no part of it determines the effect of the rest.
    """
    return (use.runs and (not use.selector or is_script)) or (only_looks(words) and not use.words)


def _next_operand(words: tuple[str, ...], at: int, use: Use) -> int:
    """Return the position of the first operand after a word, as if no option but the selector took a value."""
    place = at + 1
    while place < len(words) and _is_option(words[place]):
        place += 2 if words[place] == use.selector else 1
    return place


def is_anywhere(words: tuple[str, ...]) -> bool:
    """Return whether the program reads neither configuration nor code from the working folder."""
    program = _program(words[0]) if words else None
    return program is not None and program.anywhere


def uses_repository(words: tuple[str, ...]) -> bool:
    """Return whether the program reads configuration from the repository around the working folder."""
    program = _program(words[0]) if words else None
    return any(word == "git" or word.startswith("git-") for word in map(base, words)) or (
        program is not None and program.repository
    )


@lru_cache(maxsize=4096)
def base(name: str) -> str:
    """Return the name of a program without its folder, version and other spellings."""
    name = name.rsplit("/", 1)[-1]
    match = _VERSIONED.match(name)
    return match[1] if match else _ALIASES.get(name, name)


def subcommand(name: str, word: str) -> tuple[str, bool]:
    """Return the subcommand of a program by its usual name, and whether it may be an alias of another subcommand."""
    program = TABLE.get(name)
    if program is None:
        return word, False
    word = program.same.get(word, word)
    is_known = word in program.use.subcommands or word in program.others.split()
    return word, program.aliases and not is_known


def usual_names(name: str) -> Mapping[str, str]:
    """Return the usual names of the subcommands that have several names in a program."""
    program = TABLE.get(name)
    return program.same if program is not None else {}


@lru_cache(maxsize=4096)
def named(match: str) -> Named:
    """Return the words of a rule's match that are written out."""
    words: list[str] = [""]
    stars: list[tuple[int, int]] = []
    for text, is_star, is_blank in _tokens(match.strip()):
        if is_blank:
            words.append("")
        elif is_star:
            stars.append((len(words) - 1, len(words[-1])))
        else:
            words[-1] += text
    if not stars:
        return Named(tuple(words), is_whole=True)
    (first, length), (last, _) = stars[0], stars[-1]
    return Named(tuple(words[:first]), words[first][:length], tuple(words[last + 1 :]))


def _tokens(match: str) -> Sequence[tuple[str, bool, bool]]:
    """Return the text of a match in pieces: their meaning, and whether each is a `*` or a blank outside quotes."""
    pieces = []
    for token in re.finditer(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|(\s+)|(\*)|(.)""", match, re.DOTALL):
        single, double, escaped, blank, star, plain = token.groups()
        if single is not None or double is not None:
            pieces.append((single if double is None else re.sub(r'\\([$`"\\])', r"\1", double), False, False))
        else:
            pieces.append((escaped or plain or "", bool(star), bool(blank)))
    return pieces


def _program(name: str) -> Program | None:
    return TABLE.get(base(name))


class _Judge:
    """A judge of the words of a command, one after the other, against the words that a rule writes out. It returns
    faults."""

    def __init__(self, words: tuple[str, ...], by: Named, *, only_looks: bool = False) -> None:
        self.words = words
        self._by = by
        self._only_looks = only_looks

    def program(self, at: int, nesting: int, *, must_look: bool = False) -> str | None:
        """Judge the program at this word, with everything after it."""
        must_look = must_look or self._only_looks or not self._names(at)
        program = _program(self.words[at])
        if program is None:
            return f"the rule does not name `{self._short(at)}`" if must_look else None
        if program.wraps or nesting > _MOST_NESTING:
            return f"`{self._short(at)}` runs another command"
        return self._use(program, program.use, at, nesting, must_look=must_look)

    def _use(self, program: Program, use: Use, name_at: int, nesting: int, *, must_look: bool) -> str | None:
        words, at, count, is_open, has_value = self.words, name_at + 1, 0, True, False
        if len(words) == at + 1 and words[at] in use.stops.split():
            return None
        more = f"`{' '.join(words[: name_at + 1])[:80]}` does more than read, and the rule does not name it"
        while at < len(words):
            word = words[at]
            if is_open and word == "--" and not use.words:
                if use.rest == "dashes":
                    break
                is_open = False
                at += 1
            elif is_open and (_is_option(word) or (use.bundle and at == name_at + 1)):
                module_at = self._find_module(use, at)
                if module_at is not None:
                    return self._subcommand(program, use, module_at, nesting, must_look=must_look)
                fault, step, is_value = self._option(use, at)
                if fault:
                    return fault
                has_value = has_value or is_value
                at += step
                if is_value and use.rest == "free":
                    return more if must_look else None
            elif use.subcommands and not use.selector:
                return self._subcommand(program, use, at, nesting, must_look=must_look)
            elif use.rest == "command":
                return self.program(at, nesting + 1, must_look=must_look)
            else:
                count += 1
                fault = self._operand(use, at, count, has_value=has_value)
                if fault:
                    return fault
                if use.rest == "free":
                    return more if must_look else None
                at += 1
        if must_look and not use.looks:
            return more
        if count < use.least and not has_value:
            return f"`{words[name_at][:80]}` would read what to do from its input"
        return None

    def _subcommand(self, program: Program, use: Use, at: int, nesting: int, *, must_look: bool) -> str | None:
        """Judge a subcommand, and everything after it."""
        word = self.words[at].partition("=")[2] if self.words[at].startswith("--") else self.words[at]
        letter = use.selector[1:]
        if word.startswith("-") and letter and letter in word:  # `-mpytest`: the module is part of the option
            word = word[word.index(letter) + 1 :]
        is_named = self._names(at) and not self._only_looks
        entry = use.subcommands.get(program.same.get(word, word))
        if entry is not None:
            return self._use(program, entry, at, nesting, must_look=must_look or not is_named)
        if not is_named or must_look:
            return f"the rule does not name `{word[:80]}`, and it may do more than read"
        return self._use(program, Use(), at, nesting, must_look=False) if word in program.others.split() else None

    def _find_module(self, use: Use, at: int) -> int | None:
        """Return the position of the word by which an option selects a module; None for another option."""
        word, letter = self.words[at], use.selector[1:]
        if not letter or word.startswith("--") or letter not in word:
            return None
        before, _, rest = word[1:].partition(letter)
        if any(f"-{one}" not in options_of(use.options, use.words).takes for one in before):
            return None
        at = at if rest else at + 1
        return at if at < len(self.words) else None

    def _option(self, use: Use, at: int) -> tuple[str | None, int, bool]:
        """Judge an option. Return a fault, the number of words that it takes, and whether its value counts as an
        operand."""
        word, options = self.words[at], options_of(use.options, use.words)
        stem, equals, value = word.partition("=")
        if use.words and stem not in options.takes and stem.startswith("--"):
            stem = stem[1:]
        if options.all:
            return None, 1, False
        if use.words or word.startswith("--"):
            kind = options.takes.get(stem)
            is_fine = kind is not None and not (kind == "none" and equals)
            name, attached = stem, value if equals else None
        else:
            name, attached, is_fine = self._letters(word if word.startswith("-") else f"-{word}", options)
            kind = options.takes.get(name, "none" if name == "-#" else None)
        if not is_fine or kind is None:
            return self._named_option(at) if self._names(at) else (self._unnamed(at), 1, False)
        step = 2 if kind == "value" and attached is None else 1
        if step == 2 and not use.words and at + 1 < len(self.words) and not self._is_value(at + 1):
            return self._unnamed(at + 1), step, True
        if name not in use.values:
            return None, step, False
        judged = attached if attached is not None else self.words[at + 1] if at + 1 < len(self.words) else ""
        if not self._names(at + step - 1) and not _is_harmless(use.values[name], judged):
            return self._unnamed(at), step, True
        return None, step, True

    def _is_value(self, at: int) -> bool:
        """Return whether a word after an option is its value, even if this program does not allow a value."""
        return self._names(at) or not _is_option(self.words[at]) or _NUMBER.fullmatch(self.words[at]) is not None

    def _letters(self, word: str, options: Options) -> tuple[str, str | None, bool]:
        """Return the last option of a bundle, its attached value, and whether the table has all of them."""
        if options.digits and re.fullmatch(r"-[0-9]+", word):
            return "-#", "", True
        for at, letter in enumerate(word[1:], 1):
            kind = options.takes.get(f"-{letter}")
            if kind != "none":
                return f"-{letter}", word[at + 1 :] or None, kind is not None
        return word[:1] + word[-1:], None, True

    def _named_option(self, at: int) -> tuple[str | None, int, bool]:
        """Accept an option that the rule writes out. If the wildcard follows it, the next word may be its value."""
        is_last = at + 1 == len(self._by.before) and at + 1 < len(self.words)
        takes = is_last and not self._by.partial and not _is_option(self.words[at + 1])
        return None, 2 if takes else 1, takes

    def _operand(self, use: Use, at: int, count: int, *, has_value: bool) -> str | None:
        word = self.words[at]
        if self._names(at):
            return None
        if use.most is not None and (count > use.most or UNKNOWN in word):
            return f"`{self._short(at)}` is an operand that the rule does not name, and it may do more than read"
        kind = use.first if use.first and count == 1 and not has_value else use.operands
        return None if _is_harmless(kind, word) else self._unnamed(at)

    def _unnamed(self, at: int) -> str:
        return f"the rule does not name `{self._short(at)}`, which may run, write or reach more"

    def _names(self, at: int) -> bool:
        return self._by.names(self.words, at)

    def _short(self, at: int) -> str:
        return self.words[at].replace(UNKNOWN, "…")[:80]


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-")


def _is_harmless(kind: str, word: str) -> bool:
    return kind == "any" or (len(word) <= LONGEST and OPERANDS[kind].fullmatch(word) is not None)
