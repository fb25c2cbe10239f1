"""Addressing: the members that a text names (`@name`, `@member-id`), and those with a tag that it has.

Each place of the text is looked at once, whatever the number of members.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from kheish.domain.channels.definition import ChannelFile
from kheish.errors import Fault, Invalid
from kheish.texts import fold

#: mentions of a text that count
MENTIONS = 100
#: places of a text that are looked at for a tag with other characters than those of words
PLACES = 20
#: characters of the longest word that may be a name
MOST_CHARACTERS = 200
_AT = re.compile(r"(?<![\w@])@(?=[^\s@])")
_WORD = re.compile(r"[\w.-]+")
# The name is longer: `@dba-x` is not `dba`. Marks, joiners and tones of skin are parts of the character before them.
_GOES_ON = re.compile(r"[.-]*\w|[\u0300-\u036f\u0900-\u0dff\u200d\u20d0-\u20f0\U0001f3fb-\U0001f3ff]")


def mentions(text: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the members that a text mentions, in its order. `names` are the names by member; ids address as well."""
    known = _by_beginning(names)
    folded = fold(text)
    members: dict[str, None] = {}
    for number, place in enumerate(_AT.finditer(folded)):
        if number >= MENTIONS:
            break
        for member in _at(folded, place.end(), known):
            members[member] = None
            break
    return tuple(members)


def _by_beginning(names: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Return `(name, member)` by the beginning of the name, the longest first. An id goes before another's name."""
    known: dict[str, list[tuple[str, str]]] = {}
    pairs = [*((id, id) for id in names), *((fold(name), id) for id, name in names.items() if name)]
    for name, member in pairs:
        known.setdefault(_beginning(name, 0), []).append((name, member))
    for same in known.values():
        same.sort(key=lambda pair: -len(pair[0]))
    return known


def _beginning(text: str, start: int) -> str:
    """Return the word at a place of a text, or its first character if that is in no word, such as an emoji."""
    found = _WORD.match(text, start)
    word = found[0][: MOST_CHARACTERS + 1].rstrip(".-") if found is not None else ""
    return word or text[start]


def _at(text: str, start: int, known: Mapping[str, list[tuple[str, str]]]) -> Iterator[str]:
    """Yield the members whose name stands at a place of the text: `@db.` at the end of a sentence is `db`."""
    for name, member in known.get(_beginning(text, start), ()):
        if text.startswith(name, start) and not _GOES_ON.match(text, start + len(name)):
            yield member


def named(file: ChannelFile, given: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the members that a request addresses, by their ids or names, in its order. Raises Invalid."""
    by_name = {fold(name): id for id, name in names.items()}
    members: dict[str, None] = {}
    faults = []
    for number, word in enumerate(given):
        id = word.removeprefix("@")
        member = id if id in file.by_id else by_name.get(fold(id))
        if member is None:
            known = ", ".join(file.by_id) or "none"
            faults.append(Fault(f"/addressed/{number}", f"{word!r} is no member of the channel; its members: {known}"))
        else:
            members[member] = None
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)
    return tuple(members)


def tagged(file: ChannelFile, text: str) -> tuple[str, ...]:
    """Return the agents with a tag that the text has as a word (`db`, `#db`, `c++`, 🔥), in any case."""
    folded = fold(text)
    words = {word.strip(".-") for word in _WORD.findall(folded)}
    return tuple(one.member for one in file.agents if any(_has(folded, words, fold(tag)) for tag in one.tags))


def _has(text: str, words: Collection[str], tag: str) -> bool:
    if _WORD.fullmatch(tag):
        return tag.strip(".-") in words
    start = -1
    for _ in range(PLACES):
        if (start := text.find(tag, start + 1)) < 0:
            break
        is_begun = start > 0 and _WORD.match(tag) is not None and _WORD.match(text, start - 1) is not None
        if not is_begun and not _GOES_ON.match(text, start + len(tag)):
            return True
    return False
