"""The plain subset of bash that allow rules cover, read by our own strict tokenizer.

The subset is defined by its contents, not by exceptions: words of plain characters and quotes, a few variables with
values of a known kind, globs that cannot become options, pipes, `&&`, `||`, `;`, newlines, and redirections from and to
named files. tree-sitter must find the same words in the same commands. The command that runs is `plainrun.emit` of this
reading, so bash never sees the original text.
"""

from __future__ import annotations

import functools
import re

from kheish.jobs import shellwords
from kheish.jobs.commandline import SimpleCommand, Word
from kheish.jobs.plainwords import (
    BUILTINS,
    KEYWORDS,
    VARIABLES,
    Operator,
    Piece,
    Plain as Plain,
    PlainRedirect,
    PlainWord,
    Refusal as Refusal,
    SimplePlain,
)
from kheish.jobs.syntax import has_braces

MAX_BYTES = 16 * 1024
MAX_COMMANDS = 200

_PROGRAM = re.compile(r"\[|[A-Za-z0-9_./+:][A-Za-z0-9_./+:@%,-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\?")
_BRACKET = re.compile(r"\[[!^]?[A-Za-z0-9_.-]+\]")
_LITERAL_RUN = re.compile(r"[A-Za-z0-9_./:=@%+,^{}\]!#-]+|[^\x00-\x7f]")
_REDIRECT = re.compile(r"([012]?)(>>|>\||>&|>|<)|(&>>|&>)")
_DUPLICATE = re.compile(r"[12](?![^\s;|&])")
_OPTION = re.compile(r"--[A-Za-z0-9][\w-]*=")
_AFTER_DOLLAR = frozenset(" \t\n/.,:;)|^%+=]}<>&~'\"")
_ENDS_WORD = frozenset(" \t\n;|&<>")


class _NotPlain(Exception):
    """The error that ends the reading; its text gives the reason."""


@functools.lru_cache(maxsize=256)
def read(command: str) -> Plain | Refusal:
    """Return the command line as both parsers read it, or the reason why it is outside the subset. Takes bounded
    time."""
    try:
        if len(command.encode(errors="surrogatepass")) > MAX_BYTES:
            raise _NotPlain(f"it is longer than {MAX_BYTES} bytes")
        plain = _Reader(command).line()
        _agree(plain, command)
    except _NotPlain as problem:
        return Refusal(str(problem))
    return plain


class _Reader:
    """A tokenizer that makes a single pass over the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.commands: list[SimplePlain] = []
        self.operators: list[Operator] = []

    def line(self) -> Plain:
        """Read all of the text."""
        bad = next((char for char in self.text if not (char.isprintable() or char in "\t\n")), None)
        if bad is not None:
            raise _NotPlain(f"it contains the character U+{ord(bad):04X}")
        while True:
            self._skip_blanks(newlines=True)
            if self.at == len(self.text):
                break
            self.commands.append(self._simple())
            if len(self.commands) > MAX_COMMANDS:
                raise _NotPlain(f"it has more than {MAX_COMMANDS} commands")
            operator = self._operator()
            if operator is None:
                break
            self.operators.append(operator)
        if not self.commands:
            raise _NotPlain("it contains no command")
        if len(self.operators) == len(self.commands) and self.operators.pop() != ";":
            raise _NotPlain("it ends with an operator")
        return Plain(tuple(self.commands), tuple(self.operators))

    def _skip_blanks(self, *, newlines: bool = False) -> None:
        """Skip blanks, continued lines and comments."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t" or (newlines and char == "\n"):
                self.at += 1
            elif char == "\\" and self._next() == "\n" and (self.at == 0 or self.text[self.at - 1] in " \t\n"):
                self.at += 2
            elif char == "#":  # a word that began elsewhere has been read to its end
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def _next(self) -> str:
        return self.text[self.at + 1 : self.at + 2]

    def _operator(self) -> Operator | None:
        """Return the operator between two commands; None at the end of the text."""
        if self.at == len(self.text):
            return None
        for operator in ("&&", "||"):
            if self.text.startswith(operator, self.at):
                self.at += 2
                return operator
        char = self.text[self.at]
        if self.text.startswith((";;", "|&"), self.at) or char not in ";|\n":
            raise _NotPlain(f"it holds {self.text[self.at : self.at + 2].strip()!r}")
        self.at += 1
        return "|" if char == "|" else ";"

    def _simple(self) -> SimplePlain:
        words: list[PlainWord] = []
        redirects: list[PlainRedirect] = []
        while self.at < len(self.text):
            redirect = _REDIRECT.match(self.text, self.at)
            if redirect:
                redirects.append(self._redirect(redirect))
            elif self.text[self.at] in _ENDS_WORD:
                break
            else:
                words.append(self._word())
            self._skip_blanks()
        if not words:
            raise _NotPlain("it has a command without a program")
        _check_program(words[0])
        for word in words[1:]:
            if word.is_open and word.known.startswith("-") and not _OPTION.match(word.known):
                raise _NotPlain(f"`{word.text}` may become another option")
        if words[0].text in ("cd", "exit") and any(redirect.opens_file for redirect in redirects):
            raise _NotPlain(f"it has a redirection of `{words[0].text}`")
        return SimplePlain(tuple(words), tuple(redirects))

    def _redirect(self, match: re.Match[str]) -> PlainRedirect:
        digit, operator, both = match.groups()
        self.at = match.end()
        if both:
            return PlainRedirect(None, both, self._target())  # type: ignore[arg-type]  # &> or &>>
        fd = int(digit) if digit else 0 if operator == "<" else 1
        if operator == ">&":
            duplicate = _DUPLICATE.match(self.text, self.at)
            if duplicate is None:
                raise _NotPlain("it has a redirection to anything other than a file, &1 or &2")
            self.at = duplicate.end()
            return PlainRedirect(fd, ">&", duplicate[0])
        return PlainRedirect(fd, ">" if operator == ">|" else operator, self._target())  # type: ignore[arg-type]

    def _target(self) -> str:
        self._skip_blanks()
        if self.at == len(self.text) or self.text[self.at] in _ENDS_WORD:
            raise _NotPlain("it has a redirection without a plain file")
        word = self._word()
        if word.is_open or not word.text:
            raise _NotPlain("it has a redirection whose target only bash can name")
        return word.text

    def _word(self) -> PlainWord:
        pieces: list[Piece] = []
        unquoted = ""  # the text outside quotes, to find braces
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in _ENDS_WORD:
            char, before = self.text[self.at], self.at
            if char == "'":
                end = self.text.find("'", self.at + 1)
                if end < 0:
                    raise _NotPlain("it has an unclosed quote")
                pieces.append(Piece("literal", self.text[self.at + 1 : end]))
                self.at = end + 1
            elif char == '"':
                self.at += 1
                pieces += self._double()
            elif char == "\\":
                escaped = self._next()
                if escaped in ("", "\n"):
                    raise _NotPlain("it has a line continuation inside a word")
                pieces.append(Piece("literal", escaped))
                self.at += 2
            elif char == "$":
                pieces.append(self._dollar(_ENDS_WORD))
            else:
                pieces.append(self._bare(pieces, unquoted, start))
                unquoted += self.text[before : self.at]
        if has_braces(unquoted):
            raise _NotPlain("it has braces that bash expands")
        return PlainWord(_joined(pieces))

    def _bare(self, pieces: list[Piece], unquoted: str, start: int) -> Piece:
        """Read a piece outside of quotes."""
        char = self.text[self.at]
        if char in "*?":
            self.at += 1
            return Piece("glob", char)
        if char == "[":
            bracket = _BRACKET.match(self.text, self.at)
            if bracket:
                self.at = bracket.end()
                return Piece("glob", bracket[0])
            if self.at == start and self.text[self.at + 1 : self.at + 2] in ("", *_ENDS_WORD):
                self.at += 1
                return Piece("literal", "[")
            raise _NotPlain("it has a bracket that is not a simple glob")
        if char == "~":
            return self._tilde(pieces, unquoted)
        run = _LITERAL_RUN.match(self.text, self.at)
        if run is None:
            raise _NotPlain(f"it holds {char!r}")
        self.at = run.end()
        return Piece("literal", run[0])

    def _tilde(self, pieces: list[Piece], unquoted: str) -> Piece:
        self.at += 1
        if not pieces:
            if self.text[self.at : self.at + 1] not in ("", "/", *_ENDS_WORD):
                raise _NotPlain("it names the home of another user")
            return Piece("variable", "HOME")
        if unquoted.endswith(("=", ":")) or pieces[-1].text.endswith(("=", ":")):
            raise _NotPlain("it has a tilde that bash may expand")
        return Piece("literal", "~")

    def _double(self) -> list[Piece]:
        pieces = [Piece("literal", "")]
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return pieces
            if char == "`":
                raise _NotPlain("it has a command substitution")
            if char == "\\":
                escaped = self._next()
                pieces.append(Piece("literal", {"\n": ""}.get(escaped, escaped) if escaped in '$`"\\\n' else "\\"))
                self.at += 2 if escaped in '$`"\\\n' else 1
            elif char == "$":
                pieces.append(self._dollar(_AFTER_DOLLAR))
            else:
                end = self.at + 1
                while end < len(self.text) and self.text[end] not in '"`\\$':
                    end += 1
                pieces.append(Piece("literal", self.text[self.at : end]))
                self.at = end
        raise _NotPlain("it has an unclosed quote")

    def _dollar(self, after: frozenset[str]) -> Piece:
        """Read a variable, or a literal dollar before one of the characters `after`."""
        self.at += 1
        braced = self.text.startswith("{", self.at)
        name = _NAME.match(self.text, self.at + braced)
        if name is None:
            if self.text[self.at : self.at + 1] in ("", *after):
                return Piece("literal", "$")
            raise _NotPlain("it has an expansion, such as $(…)")
        self.at = name.end()
        if braced:
            if not self.text.startswith("}", self.at):
                raise _NotPlain("it has an expansion, such as $(…)")
            self.at += 1
        if name[0] not in VARIABLES:
            raise _NotPlain(f"the value of ${name[0]} is not known")
        return Piece("variable", name[0])


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Join neighbouring literals; the empty word has no pieces."""
    joined: list[Piece] = []
    for piece in pieces:
        if piece.kind == "literal" and joined and joined[-1].kind == "literal":
            joined[-1] = Piece("literal", joined[-1].text + piece.text)
        elif piece.text:
            joined.append(piece)
    return tuple(joined)


def _check_program(word: PlainWord) -> None:
    name = word.text
    if word.is_open or name in KEYWORDS or not _PROGRAM.fullmatch(name):
        assigns = re.match(r"[A-Za-z_]\w*(\[.*\])?\+?=", name)
        raise _NotPlain("it sets variables" if assigns else f"`{name[:60]}` is not the plain name of a program")
    if name in BUILTINS:
        raise _NotPlain(f"`{name}` of bash runs text as code, or changes what the rest means")


def _agree(plain: Plain, command: str) -> None:
    """Raise _NotPlain if tree-sitter reads the line differently."""
    line = shellwords.parse(command)
    if line.unreadable is not None:
        raise _NotPlain(line.unreadable)
    opened = [redirect for one in plain.commands for redirect in one.redirects if redirect.opens_file]
    ours = sorted((redirect.target, redirect.writes) for redirect in opened)
    theirs = sorted((redirect.target or "", redirect.writes) for redirect in line.redirections)
    same = len(line.simple) == len(plain.commands) and all(map(_is_same, plain.commands, line.simple))
    if not same or ours != theirs:
        raise _NotPlain("two parsers read it differently")


def _is_same(ours: SimplePlain, theirs: SimpleCommand) -> bool:
    if theirs.assignments:
        return False
    if theirs.words[:1] == (Word("["),) and len(theirs.words) == 2 and len(ours.words) > 2:
        return _is_same_test(ours, theirs)  # the loose parser leaves the text between the brackets as written
    return len(ours.words) == len(theirs.words) and all(
        (other.dynamic or other.glob)
        if word.is_open
        else (not other.dynamic and not other.glob and word.text == other.text)
        for word, other in zip(ours.words, theirs.words, strict=True)
    )


def _is_same_test(ours: SimplePlain, theirs: SimpleCommand) -> bool:
    try:
        again = _Reader(theirs.text).line()
    except _NotPlain:
        return False
    return len(again.commands) == 1 and again.commands[0].words == ours.words
