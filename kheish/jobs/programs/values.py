"""The values of the table of programs: the words that a rule's wildcard may cover for a program or a subcommand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

#: a part of a regular expression between slashes; it must read the same whether or not brackets hide a slash
_PIECE = r"(?:[^/\\\n\[]|\\[^\n]|\[\^?\]?[^\]/\\\n]*\])"
_ADDRESS = rf"(?:[0-9]+|\$|/{_PIECE}+/)"
_SUBSTITUTE = (
    rf"s(?:/{_PIECE}+/(?:[^/\\\n]|\\[^\n])*/|\|{_PIECE.replace('/', '|')}+\|(?:[^|\\\n]|\\[^\n])*\|)[gpIi0-9]*"
)
_SED = rf"(?:{_ADDRESS}(?:,[+~]?{_ADDRESS})?)?[ ]?!?(?:[pdq=lnNDPgGhHx]|{_SUBSTITUTE})"
_AWK_TEXT = r'"(?:[^"\\\n]|\\[nt"\\])*"'
_AWK_VALUE = rf"(?:\$[0-9]+|\$?N[FR]|{_AWK_TEXT})"
_AWK_TEST = rf"(?:/{_PIECE}+/|{_AWK_VALUE} ?(?:==|!=|<=?|>=?|~) ?(?:[0-9]+|{_AWK_TEXT}|/{_PIECE}+/))"
_AWK_PRINT = rf"\{{ ?printf?(?: ?{_AWK_VALUE}(?: ?,? ?{_AWK_VALUE})*)? ?;? ?\}}"

#: the patterns of harmless operands, by the names that `Use.operands` uses
OPERANDS: Mapping[str, re.Pattern[str]] = {
    "any": re.compile(r".*", re.DOTALL),
    #: no `@file`, whose lines some programs read as more options, and no header that curl reads from a file
    "text": re.compile(r"[^@\0].*", re.DOTALL),
    #: a file or test beneath the working folder, since a program that runs code must not be led elsewhere
    "inside": re.compile(r"(?!-)(?!.*(?:^|/)\.(?:\.(?:/|\0|$)|\0))(?!.*://)[^/~@\0].*", re.DOTALL),
    #: a target of a build tool; `A=b` would set a variable
    "target": re.compile(r"[\w@%+:.][\w@%+:./-]*"),
    #: a ref or the name of a remote: no `src:dst`, `+ref`, address, or `ext::command`
    "ref": re.compile(r"[\w@][\w@{}^~./-]*"),
    #: an address that git fetches over https or ssh, and a folder's name beneath the working folder
    "clone": re.compile(r"https://[\w@.-][\w@.:/~+-]*|\w[\w.-]*@\w[\w.-]*:[\w~][\w./~+-]*|(?!\.\.)[\w.][\w.-]*"),
    #: a file, but none that tar or rsync would fetch from another machine
    "local": re.compile(r"[^:\0-][^:]*"),
    #: the name of a package's script
    "name": re.compile(r"[\w@][\w@:./-]*"),
    #: a format of `date`; any other operand sets the clock
    "format": re.compile(r"\+.*", re.DOTALL),
    #: scripts of sed that print, delete, count, quit and substitute; `e`, `w`, `r` and `W` do more
    "sed": re.compile(rf"{_SED}(?:; ?{_SED})*"),
    #: programs of awk that print fields of the lines that a test selects; no functions, files or pipes
    "awk": re.compile(rf"(?:{_AWK_TEST}(?: ?(?:&&|\|\|) ?{_AWK_TEST})* ?)?(?:{_AWK_PRINT})?"),
}
#: a longer operand matches no pattern but `any`
LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The words that a wildcard may cover for a program or a subcommand.

    `options`: options that do no more than the command does without them. They are written `-abc` (letters that may be
    bundled), `-k:` and `--key=` (a value follows, attached or as the next word), `-w?` and `--color=?` (only an
    attached value), `-#` (`-20`), `*` (every option). `words`: whole words follow a single dash. `bundle`: the first
    word is a bundle of letters, with or without its dash. `operands`: the allowed operands, a name in `OPERANDS`;
    `most` and `least` limit their number. `values`: the allowed values of an option; if one is given, no operand has to
    be of the kind `first`. `looks`: it writes nothing, runs nothing and connects to nothing. `runs`: it runs files of
    the workspace, so that a pattern for it may be offered. `rest`: the words from the first operand on. They are judged
    like all others; or free after `--`, or after the operand (arguments of the script that it is); or a command of
    their own. `subcommands`: the first operand selects one, or the value of the option `selector` does. `stops`:
    options after which nothing else is done.
    """

    options: str = ""
    operands: str = "any"
    least: int = 0
    most: int | None = None
    first: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    looks: bool = False
    runs: bool = False
    words: bool = False
    bundle: bool = False
    rest: Literal["judged", "dashes", "free", "command"] = "judged"
    selector: str = ""
    stops: str = "--version --help -V -h"
    subcommands: Mapping[str, Use] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program: the source that describes its options (`source`), and its uses.

    `anywhere`: it reads neither configuration nor code from the working folder. `repository`: it reads both from the
    repository that it finds there. `others`: subcommands that have no entry, but cannot be a user's aliases. `aliases`:
    users or packages define their own subcommands, which may stand for any other. `same`: subcommands by another name.
    `wraps`: it runs a command that is among its words, so that only a rule that writes all of it allows it.
    """

    source: str
    use: Use = field(default_factory=Use)
    anywhere: bool = False
    repository: bool = False
    aliases: bool = False
    wraps: bool = False
    others: str = ""
    same: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a `Use`, by name: how each takes a value."""

    takes: Mapping[str, Literal["none", "value", "attached"]]
    digits: bool
    all: bool


@lru_cache(maxsize=512)
def options_of(text: str, words: bool) -> Options:
    """Parse the `options` of a Use. `words`: whole words follow a single dash, and cannot be bundled."""
    takes: dict[str, Literal["none", "value", "attached"]] = {}
    digits = False
    for token in text.split():
        if token == "-#":  # nosec B105  # a token of a script
            digits = True
        if token in ("-#", "*"):
            continue
        name = token.rstrip("?=:")
        kind: Literal["none", "value", "attached"]
        kind = "attached" if token.endswith("?") else "value" if token != name else "none"
        if words or name.startswith("--") or name == "-":
            takes[name] = kind
        else:
            takes.update(dict.fromkeys((f"-{letter}" for letter in name[1:]), kind))
    return Options(takes, digits, all="*" in text.split())
