"""Inputs of a Flow in the command lines of its acceptance: what is given is one word, whatever stands in it.

A placeholder is quoted for where it stands: bare, in double quotes, or in single ones. Where a shell would read what
stands there once more (in a substitution, a here-document, a comment), no quoting is sure, and it is a fault.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

PLACE = re.compile(r"\{\{\s*inputs\.([^}\s]+)\s*\}\}")
#: what makes a shell read a word again or otherwise
_READ_AGAIN = re.compile(r"\$\(|`|<<|\$'|\$\{|\$\"|(?:^|\s)#|\b(?:eval|source|trap)\b")


def filled(template: str, value: Callable[[re.Match[str]], str | None]) -> str:
    """Return the command line with each placeholder quoted; `value` returns None for one that stays. Raises ValueError
    where a placeholder cannot be quoted."""
    at = 0
    found: list[str] = []
    if PLACE.search(template) and (wrong := fault(template)):
        raise ValueError(wrong)
    for match, context in _places(template):
        text = value(match)
        if text is not None:
            found += template[at : match.start()], _QUOTE[context](text.replace("\0", ""))
            at = match.end()
    return "".join((*found, template[at:]))


def fault(template: str) -> str | None:
    """Return why a placeholder of the command line cannot be filled in; None where each can."""
    if not PLACE.search(template):
        return None
    if PLACE.fullmatch(template.strip()) or PLACE.match(template.lstrip()):
        return "what is given cannot be the command itself; write `sh -c` before it where that is meant"
    outside = PLACE.sub("", template)
    if _READ_AGAIN.search(outside):
        return "what is given cannot be quoted where a shell reads it again ($(…), `…`, ${…}, <<, #, eval)"
    try:
        shlex.split(outside)
    except ValueError:
        return "the quotes around it are not closed"
    return None


def _places(template: str) -> Iterator[tuple[re.Match[str], str]]:
    """Each placeholder, with the quote that it stands in."""
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
