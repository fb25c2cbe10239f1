"""The results of `shellwords.parse`: words, simple commands, redirections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word with its quotes removed. `dynamic`: only bash can evaluate it (then `text` is as written). `glob`: it
    contains `*`, `?` or `[` outside quotes."""

    text: str
    dynamic: bool = False
    glob: bool = False


@dataclass(frozen=True)
class SimpleCommand:
    """A command. `assignments` are as written (`A=b`). A bare assignment has no words; its `text` is the assignment."""

    text: str
    words: tuple[Word, ...]
    assignments: tuple[str, ...] = ()

    @property
    def dynamic(self) -> bool:
        """Return whether some word is unknown until bash runs it."""
        return any(word.dynamic for word in self.words)


@dataclass(frozen=True)
class Redirect:
    """A file that is opened. `target` is None if it is dynamic."""

    target: str | None
    writes: bool
    dynamic: bool


@dataclass(frozen=True)
class CommandLine:
    """A whole command line. If `unreadable` is set, the rest may be incomplete."""

    simple: tuple[SimpleCommand, ...]
    redirections: tuple[Redirect, ...]
    unreadable: str | None
