"""The files that a command line names, as far as its words can be read before bash runs it, and its unreadable
parts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kheish.jobs import shellwords, wrappers
from kheish.jobs.commandline import CommandLine, SimpleCommand, Word
from kheish.jobs.programs import table as programs

_MAX_NESTING = 10
_MAX_SPELLINGS = 64  # of one word with braces
_MAX_FOLDERS = 20
_MAX_UNBOUND = 8
_UNREAD = "files that only bash can name"
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_RANGE = re.compile(r"\{([0-9]{1,4})\.\.([0-9]{1,4})\}|\{([A-Za-z])\.\.([A-Za-z])\}")
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
_FOLDER_OPTIONS = ("-C", "--directory", "--chdir", "--work-tree", "--prefix")
#: characters of a possible path in unparsed text
_TOKEN = re.compile(r"[^\s\"'`;&|()<>=,:{}$@\\]+")


@dataclass(frozen=True, slots=True)
class Operands:
    """Words that may be paths (`patterns` contain `*`, `?` or `[`), programs, folders that the line changes to, and
    words whose files are unknown before it runs (`unbound`)."""

    words: tuple[str, ...]
    patterns: tuple[str, ...]
    programs: tuple[str, ...]
    folders: tuple[str, ...]
    unbound: tuple[str, ...]


@dataclass(slots=True)
class _Found:
    words: dict[Word, None] = field(default_factory=dict)
    programs: dict[str, None] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)
    unbound: dict[str, None] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    #: values of variables that the line itself sets
    values: dict[str, dict[str, None]] = field(default_factory=lambda: {"PWD": {".": None}})


def read(command: str) -> Operands:
    """Return the operands of a command line, each once, in order; also those of commands inside commands (`bash -c
    'make x'`).

    Besides the parsed words, everything in the text that looks like a path counts, since the parser may miss the name
    of a file (`. ./x.sh`, a here-document).
    """
    found = _Found()
    _collect(shellwords.parse(command), found, 0)
    is_read = not any(told.startswith(_UNREAD) for told in found.unbound)
    for token in _tokens(command):
        is_glob = bool(re.search(r"[*?\[]", token))
        if token not in found.written and not (is_glob and is_read):
            found.words.setdefault(Word(token, glob=is_glob))
    return Operands(
        words=tuple(word.text for word in found.words if not word.glob),
        patterns=tuple(word.text for word in found.words if word.glob),
        programs=tuple(found.programs),
        folders=tuple(found.folders)[:_MAX_FOLDERS],
        unbound=tuple(found.unbound)[:_MAX_UNBOUND],
    )


def _collect(line: CommandLine, found: _Found, nesting: int) -> None:
    if line.unreadable is not None:
        found.unbound[f"{_UNREAD} ({_short(line.unreadable)})"] = None
    for simple in line.simple:
        for text in simple.assignments:
            name, _, value = text.partition("=")
            found.values.setdefault(name.rstrip("+"), {})[value.strip("\"'")] = None
    for redirect in line.redirections:
        if redirect.writes and redirect.target is not None:
            found.written.add(redirect.target)
        elif redirect.target is not None:
            found.words[Word(redirect.target)] = None
        elif redirect.target is None and not redirect.writes:
            found.unbound["the file of a redirection"] = None
    for simple in line.simple:
        if simple.words:
            _simple(simple, found, nesting)


def _simple(simple: SimpleCommand, found: _Found, nesting: int) -> None:
    first, *rest = simple.words
    found.programs[first.text] = None
    folders = rest if first.text in ("cd", "pushd") else _after_options(rest)
    for word in folders:
        for text in _expanded(word, found):
            before = list(found.folders)[:_MAX_FOLDERS]
            found.folders.update(dict.fromkeys([text, *(posixpath.join(one, text) for one in before)]))
    for word in simple.words:
        for spelling in _spellings(word, found):
            found.words[spelling] = None
    if not shellwords.runs_others(simple):
        return
    texts = tuple(word.text for word in simple.words)
    if wrappers.commands_at(texts) is not None:
        found.unbound[f"what `{programs.base(first.text)}` fills in"] = None
    elif wrappers.hides(texts):
        found.unbound[f"what `{_short(simple.text)}` reads or runs"] = None
    for word in rest:
        if not word.dynamic and re.search(r"[\s;|&]", word.text):
            if nesting < _MAX_NESTING:
                _collect(shellwords.parse(word.text), found, nesting + 1)
            else:
                found.unbound["commands nested more deeply"] = None


def _after_options(words: list[Word]) -> Iterator[Word]:
    """Yield folders that an option makes a program change to: `-C sub`, `--chdir=sub`."""
    for at, word in enumerate(words):
        stem, equals, value = word.text.partition("=")
        if stem in _FOLDER_OPTIONS and equals:
            yield Word(value, dynamic=word.dynamic)
        elif word.text in _FOLDER_OPTIONS and at + 1 < len(words):
            yield words[at + 1]


def _spellings(word: Word, found: _Found) -> Iterator[Word]:
    """Yield the word, and the part after the `=` of `--file=x`, after the `@` of `@x`, after the letter of `-fx`."""
    for text in _expanded(word, found):
        if not text or "\0" in text:
            continue
        glob = word.glob or (word.dynamic and bool(re.search(r"[*?\[]", text)))
        yield Word(text, glob=glob)
        if "=" in text:
            yield Word(text.partition("=")[2], glob=glob)
        if text.startswith("@"):
            yield Word(text[1:], glob=glob)
        if text.startswith("-") and not text.startswith("--") and len(text) > 2:
            yield Word(text[2:], glob=glob)


def _expanded(word: Word, found: _Found) -> list[str]:
    """Return the texts of a word: braces are expanded, and variables that the line itself sets are replaced."""
    if not word.dynamic:
        return [word.text]
    texts = [word.text.replace('"', "").replace("'", "")]
    done: list[str] = []
    while texts and len(texts) + len(done) <= _MAX_SPELLINGS:
        text = texts.pop(0)
        more = _braces(text) or _values(text, found.values)
        texts += more
        if not more:
            done.append(text)
    known = [text for text in done if not re.search(r"[$`~]|<\(|\{.*(,|\.\.)", text)]
    if texts or len(known) < len(done):
        found.unbound[f"`{_short(word.text)}`"] = None
    return known


def _braces(text: str) -> list[str]:
    braces = _BRACES.search(text)
    if braces is not None and text[braces.start() - 1 : braces.start()] != "$":
        return [text[: braces.start()] + part + text[braces.end() :] for part in braces[1].split(",")]
    span = _RANGE.search(text)
    if span is None:
        return []
    first, last = (int(span[1]), int(span[2])) if span[1] else (ord(span[3]), ord(span[4]))
    numbers = range(min(first, last), min(max(first, last), min(first, last) + _MAX_SPELLINGS) + 1)
    return [text[: span.start()] + (str(one) if span[1] else chr(one)) + text[span.end() :] for one in numbers]


def _values(text: str, values: Mapping[str, Mapping[str, None]]) -> list[str]:
    for name in _NAME.finditer(text):
        known = [
            value for value in values.get(name[1], ()) if f"${name[1]}" not in value and f"{{{name[1]}" not in value
        ]
        if known:
            return [text[: name.start()] + value + text[name.end() :] for value in known]
    return []


def _tokens(command: str) -> Iterator[str]:
    """Yield all possible paths in a text: as it is, without quotes and escapes, and the parts between quotes."""
    text = re.sub(r"\$\{?PWD\}?/?", "./", command)
    for one in (text, re.sub(r"[\"'\\]", "", text)):
        yield from _TOKEN.findall(one)
    for single, double in re.findall(r"'([^'\0\n]+)'|\"([^\"\0\n]+)\"", text):
        yield single or double


def _short(text: str) -> str:
    plain = ascii(text)[1:-1]
    return plain if len(plain) <= 60 else plain[:60] + "…"
