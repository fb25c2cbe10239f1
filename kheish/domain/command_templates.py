"""Inputs of a Flow in the command lines of its acceptance: each given value becomes one word, whatever it contains.

A placeholder must stand in double or single quotes, and the value is escaped for them. A bare placeholder is a fault,
but in versions that were published earlier it is filled in safely. Where a shell would parse the value a second time
(in a substitution, a here-document, a comment), no quoting is safe, so that is a fault, too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

from kheish.jobs import plainline
from kheish.jobs.plainwords import UNKNOWN, SimplePlain
from kheish.jobs.programs import table as programs

_MARK = "KHEISH0INPUT0GIVEN"  # stands for the given value while a command line is parsed

PLACE = re.compile(r"\{\{\s*inputs\.([^}\s]+)\s*\}\}")
#: constructs in which a shell parses a word again or in another way
_READ_AGAIN = re.compile(r"\$\(|`|<<|\$'|\$\{|\$\"|(?:^|\s)#|\b(?:eval|source|trap)\b")


def filled(template: str, value: Callable[[re.Match[str]], str | None]) -> str:
    """Return the command line with each placeholder quoted; `value` returns None for a placeholder that stays.

    Raises ValueError for a placeholder that cannot be quoted.
    """
    at = 0
    pieces: list[str] = []
    if PLACE.search(template) and (wrong := _unsafe(template)):
        raise ValueError(wrong)
    for match, context in _places(template):
        text = value(match)
        if text is not None:
            pieces += template[at : match.start()], _QUOTE[context](text.replace("\0", ""))
            at = match.end()
    return "".join((*pieces, template[at:]))


def fault(template: str) -> str | None:
    """Return the fault of a command line's placeholders; None if each is quoted and can be filled in."""
    if not PLACE.search(template):
        return None
    if (wrong := _unsafe(template)) is not None:
        return wrong
    bare = next((match[0] for match, context in _places(template) if not context), None)
    return f'{bare} must stand in quotes: "{bare}"' if bare is not None else None


def runs_input(template: str) -> bool:
    """Return whether the command line may execute the given value, as `sh -c "{{inputs.x}}"` and `echo "…" | sh` do.

    Only a plain line certainly does not: elsewhere a variable, a function or a loop may pass the value on.
    """
    if not PLACE.search(template):
        return False
    line = plainline.read(PLACE.sub(_MARK, template))
    if isinstance(line, plainline.Refusal):
        return True
    is_piped = [operator == "|" for operator in ("", *line.operators)]
    return any(map(_may_run, line.commands, is_piped))


def _may_run(command: SimplePlain, is_piped: bool) -> bool:
    words = tuple(word.replace(_MARK, UNKNOWN) for word in command.plain_words)
    if not is_piped and not any(UNKNOWN in word for word in words):
        return False
    return programs.fault(words, f"{shlex.quote(words[0])} *") is not None


def _unsafe(template: str) -> str | None:
    if PLACE.fullmatch(template.strip()) or PLACE.match(template.lstrip()):
        return 'the given value cannot be the command itself; if that is intended: sh -c "{{inputs.…}}", which asks'
    outside = PLACE.sub("", template)
    if _READ_AGAIN.search(outside):
        return "the given value cannot be quoted where a shell parses it again ($(…), `…`, ${…}, <<, #, eval)"
    try:
        shlex.split(outside)
    except ValueError:
        return "the quotes around it are not closed"
    return None


def _places(template: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each placeholder with the quote that encloses it."""
    context, at = "", 0
    while at < len(template):
        match = PLACE.match(template, at)
        if match:
            yield match, context
            at = match.end()
            continue
        letter = template[at]
        if letter == "\\" and context != "'":
            at += 2
            continue
        if letter in "'\"" and context in ("", letter):
            context = "" if context else letter
        at += 1


_QUOTE: dict[str, Callable[[str], str]] = {
    "": shlex.quote,
    "'": lambda text: text.replace("'", "'\\''"),
    '"': lambda text: re.sub(r'([\\"$`])', r"\\\1", text),
}
