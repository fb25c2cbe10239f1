"""`python -m tests.fuzz.shellrules --minutes M --seed S`: what rules allow is what runs; exit code 1 where it is not.

Each round makes random rules and a random line. Where the rules allow the line, its re-emission runs with real bash:
only commands that the rules name may have run, with the very words that were judged, and only files that were judged
may have changed. Where a deny by name let a line pass in `bypass`, the line runs as written, and nothing that the deny
names may have run.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from kheish.domain.permissions import match as permission_match
from kheish.domain.permissions.decide import Rule, SandboxFacts, ToolCall, Verdict, decide
from kheish.jobs import plainline, plainrun
from kheish.jobs.plainwords import REPLACED_BUILTINS, Plain, PlainWord, SimplePlain
from tests.fuzz import shelllines
from tests.fuzz.shellharness import HOME, Harness, Ran

WORKSPACE = Path("/tmp/kheish-fuzz/w")  # nosec B108
PATTERNS = (
    "echo *",
    "ls*",
    "cat *",
    "git status*",
    "git log*",
    "printf *",
    "true",
    "test *",
    "[ *",
    "cd *",
    "pwd",
    ":",
    "grep *",
    "sort *",
    "find *",
    "exit*",
    "git *",
    "ls a",
    "cat 'a b'",
    "* x",
    "*",
)
VALUES = {"HOME": HOME, "PATH": "/tmp/kheish-fuzz/bin", "LANG": "C.UTF-8", "TERM": "dumb"}  # nosec B108
DENIED = ("touch *", "git push *")
_SILENT = frozenset({"echo", "cd", "exit", "pwd", "true", "false", ":"})  # builtins, which no recorder sees


DENY_EVERY = 5  # of the lines, for the allows are what matters most


@dataclass(frozen=True)
class Failure:
    """A line that did what it should not have been able to."""

    command: str
    rules: tuple[str, ...]
    why: str


def fuzz(*, seed: int, lines: int, seconds: float, harness: Harness, counts: Counter[str]) -> Iterator[Failure]:
    """Try that many lines in that time, and yield what fails."""
    rng = Random(seed)
    until = time.monotonic() + seconds
    while counts["lines"] < lines and time.monotonic() < until:
        command = shelllines.line(rng)
        counts["lines"] += 1
        patterns = tuple(rng.sample(PATTERNS, rng.randint(1, 12)))
        yield from _allowed(command, patterns, rng.random() < 0.5, harness, counts)
        if counts["lines"] % DENY_EVERY == 0:
            yield from _denied(command, harness, counts)


def _allowed(
    command: str, patterns: tuple[str, ...], may_write: bool, harness: Harness, counts: Counter[str]
) -> Iterator[Failure]:
    rules = [Rule(tool="bash", match=match, decision="allow") for match in patterns]
    rules += [Rule(tool="write_file", match="docs/**", decision="allow")] if may_write else []
    if _verdict(command, rules, "default").decision != "allow":
        return
    counts["allowed"] += 1
    plain = plainline.read(command)
    assert isinstance(plain, Plain), "only a plain line is allowed"
    ran = harness.run(plainrun.argv(plain, root=str(WORKSPACE), path_of=_path))
    counts["commands run"] += len(ran.argvs)
    why = fault(plain, patterns, may_write, ran)
    if why:
        yield Failure(command, patterns, why)
    elif counts["allowed"] % 4 == 0 and not any(word.is_open for one in plain.commands for word in one.words):
        written = harness.run(("bash", "--noprofile", "--norc", "-c", command))
        counts["compared"] += 1
        if _is_comparable(plain) and _heard(written) != _heard(ran):
            yield Failure(command, patterns, f"as written it runs {_heard(written)}, as read {_heard(ran)}")


def fault(plain: Plain, patterns: tuple[str, ...], may_write: bool, ran: Ran) -> str | None:
    """Return what ran or changed and was not judged."""
    for argv in ran.argvs:
        if not any(_is(argv, command) for command in plain.commands):
            return f"{argv} ran, and no such command was judged"
        text = " ".join(argv)
        ruled = any(
            fnmatch.fnmatchcase(known, _translated(match)) for known in (text, f"{text} ") for match in patterns
        )
        if not ruled and argv[0] not in _SILENT:
            return f"{argv} ran, and no rule is about it"
    targets = {
        _path(redirect.target)
        for command in plain.commands
        for redirect in command.redirects
        if redirect.writes and redirect.target not in plainrun.DEVICES
    }
    for path in ran.changed:
        if path not in targets or not may_write or not path.startswith("docs/"):
            return f"{path} changed, and was not judged"
    return "it ran too long" if ran.overdue else None


def _denied(command: str, harness: Harness, counts: Counter[str]) -> Iterator[Failure]:
    rules = [Rule(tool="bash", match=match, decision="deny") for match in DENIED]
    if _verdict(command, rules, "bypass").decision != "allow":
        return
    counts["not denied"] += 1
    ran = harness.run(("bash", "--noprofile", "--norc", "-c", command), seconds=0.5)
    for argv in ran.argvs:
        if argv and (argv[0].rsplit("/", 1)[-1] == "touch" or argv[:2] == ("git", "push")):
            yield Failure(command, DENIED, f"{argv} ran, though a deny names it")


def _verdict(command: str, rules: list[Rule], mode: Any) -> Verdict:
    call = ToolCall(tool="bash", effect="effect", arguments={"command": command})
    facts = SandboxFacts(mode="ask", available=True)
    return decide(call, mode=mode, scopes=[("permissions.yaml", rules)], sandbox=facts, workspace=WORKSPACE)


def _path(target: str) -> str:
    names = permission_match.beneath(WORKSPACE, target)
    return "/".join(names or ("outside of it",))


def _is(argv: tuple[str, ...], command: SimplePlain) -> bool:
    """Return whether the argv is what was judged: literal words as they are, a variable's value, names of a glob."""
    name = command.words[0].text
    if argv[0] != name and not (name == ":" and argv[0] == "true"):
        return False
    return _fits(argv[1:], command.words[1:])


def _fits(argv: tuple[str, ...], words: tuple[PlainWord, ...]) -> bool:
    if not words:
        return not argv
    pattern = re.compile(_pattern(words[0]), re.DOTALL)
    most = len(argv) if words[0].has_glob else 1
    for count in range(1, most + 1):
        if count > len(argv) or not pattern.fullmatch(argv[count - 1]):
            return False
        if words[0].is_open and argv[count - 1].startswith("-") and not words[0].known.startswith("--"):
            return False
        if _fits(argv[count:], words[1:]):
            return True
    return False


def _pattern(word: PlainWord) -> str:
    made = ""
    for piece in word.pieces:
        if piece.kind == "variable":
            value = VALUES.get(piece.text)
            made += r"\d+" if piece.text == "?" else re.escape(value) if value else r"/.*"
        else:
            made += re.escape(piece.text) if piece.kind == "literal" else ".*"
    return made


def _translated(match: str) -> str:
    return match.replace("'", "").replace("[", "[[]")


def _heard(ran: Ran) -> Counter[tuple[str, ...]]:
    """Return what both ways of running record: no builtins."""
    return Counter(argv for argv in ran.argvs if argv[0] not in _SILENT)


def _is_comparable(plain: Plain) -> bool:
    """Return whether bash as written must run the same: no links are followed, no builtin ends unlike its recorder."""
    opens = any(redirect.opens_file for command in plain.commands for redirect in command.redirects)
    return not opens and not any(command.words[0].text in REPLACED_BUILTINS for command in plain.commands)


def main() -> int:
    """Print counts and failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="M")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    failed = 0
    with Harness(shelllines.PROGRAMS) as harness:
        seconds = asked.minutes * 60
        for failure in fuzz(seed=asked.seed, lines=sys.maxsize, seconds=seconds, harness=harness, counts=counts):
            failed += 1
            print(f"{failure.command!r} with {failure.rules}: {failure.why}", flush=True)
    print(", ".join(f"{number} {name}" for name, number in counts.items()) + f", {failed} failures (seed {asked.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
