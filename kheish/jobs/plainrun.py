"""The execution of a plain command line: its re-emission, and the job's argv around it.

All text that bash might read in two ways is quoted. Builtins that evaluate their words are disabled. bash opens no
files: a small program opens them beneath the workspace, without following links, when their command starts.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable

from kheish.jobs.plainwords import BUILTINS, REPLACED_BUILTINS, Piece, Plain, PlainRedirect, PlainWord, SimplePlain

#: descriptors and devices that a redirection opens directly; none is a file of the workspace
DEVICES = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr"})
#: builtins whose program does the same, and builtins whose program has another name
_PROGRAM_OF = {":": "true"}
_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_OFF = " ".join(sorted(BUILTINS | REPLACED_BUILTINS))

#: `"$1" -ISc "$2" "$3" <fd><operator><file or descriptor>… -- program words…`
OPENER = r"""
import os, re, signal, stat, sys
FLAGS = {"<": os.O_RDONLY, ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND}
def beneath(root, path, flags):
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    *parents, name = path.split("/")
    for parent in parents:
        inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        os.close(folder)
        folder = inner
    file = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(0, "not a regular file")
    os.set_blocking(file, True)
    os.close(folder)
    return file
root, rest = sys.argv[1], sys.argv[2:]
cut = rest.index("--")
for signum in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(signum, signal.SIG_DFL)
for spec in rest[:cut]:
    fd, operator, target = re.fullmatch(r"([0-9]?)(>&|&>>|&>|>>|>|<)(.*)", spec, re.DOTALL).groups()
    try:
        if operator == ">&":
            os.dup2(int(target), int(fd))
            continue
        flags = FLAGS[operator.lstrip("&")]
        source = os.open(target, flags) if target.startswith("/dev/") else beneath(root, target, flags)
    except OSError as error:
        sys.exit(f"{target}: {error.strerror} (links are not followed)")
    for number in (int(fd),) if fd else (1, 2):
        os.dup2(source, number)
    os.close(source) if source > 2 else None
program, *words = rest[cut + 1 :]
try:
    os.execvp(program, [program, *words])
except OSError as error:
    sys.stderr.write(f"{program}: {error.strerror}\n")
    sys.stderr.flush()
    os._exit(127 if isinstance(error, FileNotFoundError) else 126)
"""


def emit(plain: Plain) -> str:
    """Return the command line in its canonical form, with every word quoted that is not bare."""
    return _line(plain, lambda command: " ".join([*map(_word, command.words), *map(_redirect, command.redirects)]))


def argv(plain: Plain, *, root: str, path_of: Callable[[str], str]) -> tuple[str, ...]:
    """Return the job's argv. `path_of` gives a target's path from the workspace `root`."""
    body = _line(plain, lambda command: _runnable(command, path_of))
    interpreter: str = getattr(sys, "_base_executable", "") or sys.executable
    return "bash", "--noprofile", "--norc", "-c", f"{_prologue(plain)}\n{body}", "bash", interpreter, OPENER, root


def _line(plain: Plain, show: Callable[[SimplePlain], str]) -> str:
    pieces = [show(plain.commands[0])]
    for operator, command in zip(plain.operators, plain.commands[1:], strict=True):
        pieces.append("; " if operator == ";" else f" {operator} ")
        pieces.append(show(command))
    return "".join(pieces)


def _prologue(plain: Plain) -> str:
    """Return the prologue that makes bash read the rest in only one way. Names that begin with `-` are hidden from
    globs."""
    globs = [word for command in plain.commands for word in command.words if word.has_glob]
    deepest = max((word.text.count("/") for word in globs), default=0)
    ignored = ":".join("-*" + "/*" * depth for depth in range(deepest + 1))
    globbing = f"GLOBIGNORE='{ignored}'; shopt -u dotglob" if globs else "set -f"
    return f"IFS=$' \\t\\n'; {globbing}; enable -n {_OFF} 2>/dev/null; true"


def _runnable(command: SimplePlain, path_of: Callable[[str], str]) -> str:
    if all(redirect.target in DEVICES or not redirect.opens_file for redirect in command.redirects):
        return " ".join([*map(_word, command.words), *map(_redirect, command.redirects)])
    specs = []
    for redirect in command.redirects:
        is_file = redirect.opens_file and redirect.target not in DEVICES
        target = path_of(redirect.target) if is_file else redirect.target
        specs.append(f"{'' if redirect.fd is None else redirect.fd}{redirect.operator}{target}")
    program = _PROGRAM_OF.get(command.words[0].text, command.words[0].text)
    words = [shlex.quote(program), *map(_word, command.words[1:])]
    return " ".join(['"$1" -ISc "$2" "$3"', *map(shlex.quote, specs), "--", *words])


def _redirect(redirect: PlainRedirect) -> str:
    default = 0 if redirect.operator == "<" else 1
    fd = "" if redirect.fd in (None, default) else str(redirect.fd)
    return f"{fd}{redirect.operator}{_quoted(redirect.target)}"


def _word(word: PlainWord) -> str:
    return "".join(map(_piece, word.pieces)) or "''"


def _piece(piece: Piece) -> str:
    match piece.kind:
        case "variable":
            return f'"${piece.text}"'
        case "glob":
            return piece.text
        case _:
            return _quoted(piece.text)


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else shlex.quote(text)
