"""Addressing: the members that a text names (`@name`, `@member-id`), and those with a tag that it has.

Each place of the text is looked at once, whatever the number of members.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kheish.domain.channels.definition import ChannelFile
from kheish.errors import Fault, Invalid

#: mentions of a text that count
MENTIONS = 100
#: characters of the longest word that may be a name
MOST_CHARACTERS = 200
_AT = re.compile(r"(?<![\w@])@(?=\w)")
_FIRST = re.compile(r"[\w.-]+")
_GOES_ON = re.compile(r"[.-]*\w")  # the name is longer: `@dba-x` is not `dba`
_WORDS = re.compile(r"[\w.-]+")


def mentions(text: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the members that a text mentions, in its order. `names` are the names by member; ids address as well."""
    known = _by_first_word(names)
    folded = text.casefold()
    members: dict[str, None] = {}
    for number, place in enumerate(_AT.finditer(folded)):
        if number >= MENTIONS:
            break
        for member in _at(folded, place.end(), known):
            members[member] = None
            break
    return tuple(members)


def _by_first_word(names: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Return `(name, member)` by the first word of the name, the longest first. An id goes before another's name."""
    known: dict[str, list[tuple[str, str]]] = {}
    pairs = [*((id, id) for id in names), *((name.casefold(), id) for id, name in names.items() if name)]
    for name, member in pairs:
        first = _FIRST.match(name)
        if first is not None:
            known.setdefault(first[0].rstrip(".-"), []).append((name, member))
    for same in known.values():
        same.sort(key=lambda pair: -len(pair[0]))
    return known


def _at(text: str, start: int, known: Mapping[str, list[tuple[str, str]]]) -> Iterator[str]:
    """Yield the members whose name stands at a place of the text: `@db.` at the end of a sentence is `db`."""
    found = _FIRST.match(text, start)
    word = found[0][: MOST_CHARACTERS + 1] if found is not None else ""
    for name, member in known.get(word.rstrip(".-"), ()):
        if text.startswith(name, start) and not _GOES_ON.match(text, start + len(name)):
            yield member


def named(file: ChannelFile, given: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the members that a request addresses, by their ids or names, in its order. Raises Invalid."""
    by_name = {name.casefold(): id for id, name in names.items()}
    members: dict[str, None] = {}
    faults = []
    for number, word in enumerate(given):
        id = word.removeprefix("@")
        member = id if id in file.by_id else by_name.get(id.casefold())
        if member is None:
            known = ", ".join(file.by_id) or "none"
            faults.append(Fault(f"/addressed/{number}", f"{word!r} is no member of the channel; its members: {known}"))
        else:
            members[member] = None
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)
    return tuple(members)


def tagged(file: ChannelFile, text: str) -> tuple[str, ...]:
    """Return the agents with a tag that the text has as a word (`db`, `#db`), in any case."""
    folded = text.casefold()
    words = {word.strip(".-") for word in _WORDS.findall(folded)}
    return tuple(one.member for one in file.agents if any(_has(folded, words, tag.casefold()) for tag in one.tags))


def _has(text: str, words: Iterable[str], tag: str) -> bool:
    return tag in words or (" " in tag and tag in text)
