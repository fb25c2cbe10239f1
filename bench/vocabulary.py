"""Texts that look like what people and agents write to each other: many different words, some of them often."""

from __future__ import annotations

import itertools
import random

_SYLLABLES = ("ba", "cor", "den", "fil", "gra", "hin", "jo", "kel", "lum", "mar", "nor", "pel", "quin", "ras", "sol",
              "tam", "ul", "ver", "win", "yar", "zen", "os", "ti", "ne")  # fmt: skip
_COMMON = tuple(
    """the a to of in and for on with is was it that this from at by not be are after before while when until
deploy rollback failed passed timeout retry queue worker database migration invoice payment customer account release
branch commit test suite coverage incident alert latency error log service cluster node disk memory network token
login session request response header schema index query cache build pipeline review patch config secret policy
approval budget limit report summary ticket owner team deadline please check compare restart investigate update write
read list remove add explain why what which how""".split()  # noqa: SIM905 - a hundred quotes would hide the words
)

#: words in all; the later in the list, the rarer (as in any language)
WORDS = (*_COMMON, *("".join(parts) for parts in itertools.product(_SYLLABLES, repeat=3)))
_WEIGHTS = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(WORDS))))


class Speaker:
    """Says something else each time; the same again for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = itertools.count(1)

    def words(self, least: int, most: int) -> str:
        """A text of so many words. One in two names a ticket that no other text names."""
        count = self._random.randint(least, most)
        said = self._random.choices(WORDS, cum_weights=_WEIGHTS, k=count)
        number = next(self._number)
        if number % 2:
            said[count // 2] = f"ticket-{number}"
        return " ".join(said).capitalize()

    def pick(self, weights: list[float]) -> int:
        """A position, as often as its weight says."""
        return self._random.choices(range(len(weights)), weights)[0]
