"""The values of a plain command line: pieces, words, redirections, commands, and bash's meaning of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kheish.jobs.commandline import SimpleCommand, Word

#: a placeholder in `plain_words` for text that bash fills in
UNKNOWN = "\0"
#: variables that bash or the job's fixed environment sets; each value is a single word and never looks like an option
VARIABLES = frozenset({"HOME", "PWD", "PATH", "LANG", "TERM", "?"})
#: builtins that evaluate none of their words
SAFE_BUILTINS = frozenset({":", "cd", "echo", "exit", "false", "pwd", "true"})
#: builtins that are also programs; the program runs, since the builtin may evaluate its words
REPLACED_BUILTINS = frozenset({"[", "kill", "printf", "test"})
#: all other builtins of bash, of any version
BUILTINS = frozenset([
    ".", "alias", "bg", "bind", "break", "builtin", "caller", "command", "compgen", "complete", "compopt", "continue",
    "declare", "dirs", "disown", "enable", "eval", "exec", "export", "fc", "fg", "getopts", "hash", "help", "history",
    "jobs", "let", "local", "logout", "mapfile", "popd", "pushd", "read", "readarray", "readonly", "return", "set",
    "shift", "shopt", "source", "suspend", "times", "trap", "type", "typeset", "ulimit", "umask", "unalias", "unset",
    "wait",
])  # fmt: skip
KEYWORDS = frozenset([
    "!", "[[", "]]", "{", "}", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if",
    "in", "select", "then", "time", "until", "while",
])  # fmt: skip

PieceKind = Literal["literal", "variable", "glob"]
Operator = Literal["|", "&&", "||", ";"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a word: literal text, the name of a variable, or a glob."""

    kind: PieceKind
    text: str


@dataclass(frozen=True, slots=True)
class PlainWord:
    """A word. bash fills in an open word: with the single value of a variable, or with the file names of a glob."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The word without quotes; variables and globs are as written."""
        return "".join(f"${piece.text}" if piece.kind == "variable" else piece.text for piece in self.pieces)

    @property
    def is_open(self) -> bool:
        """Return whether bash fills in a part."""
        return any(piece.kind != "literal" for piece in self.pieces)

    @property
    def has_glob(self) -> bool:
        """Return whether it may become several words."""
        return any(piece.kind == "glob" for piece in self.pieces)

    @property
    def known(self) -> str:
        """The literal text before the first piece that bash fills in."""
        return self.pieces[0].text if self.pieces and self.pieces[0].kind == "literal" else ""


@dataclass(frozen=True, slots=True)
class PlainRedirect:
    """A redirection. `fd` is None for `&>` and `&>>`. The target of `>&` is the descriptor to duplicate."""

    fd: int | None
    operator: Literal["<", ">", ">>", "&>", "&>>", ">&"]
    target: str

    @property
    def opens_file(self) -> bool:
        """Return whether it opens a file, unlike the duplication of a descriptor."""
        return self.operator != ">&"

    @property
    def writes(self) -> bool:
        """Return whether it opens a file to write."""
        return self.opens_file and self.operator != "<"


@dataclass(frozen=True, slots=True)
class SimplePlain:
    """A program with its arguments and redirections."""

    words: tuple[PlainWord, ...]
    redirects: tuple[PlainRedirect, ...] = ()

    @property
    def text(self) -> str:
        """The words without quotes, for messages."""
        return " ".join(word.text for word in self.words)

    @property
    def plain_words(self) -> tuple[str, ...]:
        """The words, with `UNKNOWN` for the parts that bash fills in."""
        return tuple(
            "".join(piece.text if piece.kind == "literal" else UNKNOWN for piece in word.pieces) for word in self.words
        )

    def loose(self) -> SimpleCommand:
        """Return the value that the loose parser gives for this command."""
        words = tuple(
            Word(word.text, dynamic=any(piece.kind == "variable" for piece in word.pieces), glob=word.has_glob)
            for word in self.words
        )
        return SimpleCommand(self.text, words)


@dataclass(frozen=True, slots=True)
class Plain:
    """A command line of the subset: `operators[n]` stands between the commands n and n + 1."""

    commands: tuple[SimplePlain, ...]
    operators: tuple[Operator, ...]

    @property
    def moves(self) -> bool:
        """Return whether it changes the working folder."""
        return any(command.words[0].text == "cd" for command in self.commands)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a command line is not plain."""

    why: str
