"""The values that `shellwords.parse` gives: words, simple commands, redirections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word with its quotes removed. `dynamic`: only bash knows it (then `text` is as written); `glob`: it holds
    `*`, `?` or `[` outside quotes.
    """

    text: str
    dynamic: bool = False
    glob: bool = False


@dataclass(frozen=True)
class SimpleCommand:
    """One command. `assignments` are as written (`A=b`); a bare assignment has no words, and itself as `text`."""

    text: str
    words: tuple[Word, ...]
    assignments: tuple[str, ...] = ()

    @property
    def dynamic(self) -> bool:
        """True where some word is not known before bash runs it."""
        return any(word.dynamic for word in self.words)


@dataclass(frozen=True)
class Redirect:
    """A file that is opened. `target` is None where it is dynamic."""

    target: str | None
    writes: bool
    dynamic: bool


@dataclass(frozen=True)
class CommandLine:
    """All of a command line. Where `unreadable` is set, the rest may be incomplete."""

    simple: tuple[SimpleCommand, ...]
    redirections: tuple[Redirect, ...]
    unreadable: str | None
