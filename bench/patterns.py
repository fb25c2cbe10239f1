"""Sessions that the daemon makes, to be copied with other ids, times, numbers and texts: what `generate` writes.

So journals, Records and pending files are what this version of the daemon writes, whatever a copy says in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.vocabulary import Speaker
from kheish.client import Kheish

#: longer than the daemon needs on a busy machine to bring a run to its end or to a person
_WAIT = "60s"
_TOKEN = re.compile(
    r"(?P<n>(?:(?<=\{\"v\":1,\"n\":)|(?<=^last_n: )|(?<=^\"n\": )|(?<=^n: ))\d+)"
    r"|zq(?P<text>title|ask|reply|out)\d?|(?P<name>zqs[a-z]+)|(?P<day>\d{4}-\d\d-\d\d)(?=[T/])"
    r"|(?P<id>[a-z]+_[0-9a-hjkmnp-tv-z]{26})\b",
    re.MULTILINE,
)
_LENGTHS = {"title": (2, 6), "ask": (6, 40), "reply": (20, 90), "out": (3, 30)}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of session: how many of a hundred are so, the turns of its script, how many runs it has."""

    name: str
    weight: float
    runs: int
    turns: Sequence[Mapping[str, Any]]
    cancelled: bool = False

    @property
    def session(self) -> str:
        """The id of the session that is the pattern."""
        return f"zqs{self.name}"


def _bash(command: str) -> dict[str, Any]:
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}


def _question(text: str) -> dict[str, Any]:
    asked = {"header": "H", "text": text, "options": [{"label": "yes"}, {"label": "no"}]}
    return {"tool_calls": [{"name": "ask_user_question", "arguments": {"questions": [asked]}}]}


KINDS = (
    Kind("short", 44, 1, [{"text": "zqreply1"}]),
    Kind("talk", 25, 3, [{"text": "zqreply1"}]),
    Kind("tools", 18, 1, [_bash("echo zqout1"), _bash("echo zqout2"), {"text": "zqreply1"}]),
    Kind("broken", 9, 1, [{"error": {"status": 401, "message": "zqreply1"}}]),
    Kind("stopped", 3.4, 1, [_bash("touch zqout1")], cancelled=True),
    Kind("waits", 0.4, 1, [_bash("touch zqout1"), {"text": "zqreply1"}]),
    Kind("asks", 0.2, 1, [_question("zqreply1"), {"text": "zqreply2"}]),
)
_PERMISSIONS = {"mode": "default", "rules": [{"tool": "bash", "match": "echo *", "decision": "allow"}]}


@dataclass(frozen=True, slots=True)
class Template:
    """A text in pieces: each is said as it is, then what stands at its place in a copy."""

    pieces: tuple[tuple[str, str, str], ...]  # (literal, kind of token, the token)
    rest: str

    @classmethod
    def of(cls, text: str) -> Template:
        """Find what differs from copy to copy."""
        pieces, end = [], 0
        for found in _TOKEN.finditer(text):
            pieces.append((text[end : found.start()], found.lastgroup or "", found[0]))
            end = found.end()
        return cls(tuple(pieces), text[end:])

    def filled(self, values: Callable[[str, str], str]) -> str:
        """The text of a copy; `values(kind, token)`."""
        said = []
        for literal, kind, token in self.pieces:
            said += (literal, values(kind, token))
        return "".join((*said, self.rest))


@dataclass(frozen=True, slots=True)
class Pattern:
    """The files of one session: (path, content), and the first and last of its event numbers."""

    files: tuple[tuple[Template, Template], ...]
    first: int
    last: int

    @property
    def entries(self) -> int:
        """How many event numbers a copy takes."""
        return self.last - self.first + 1

    def copy(self, number: int, name: str, day: str, first: int, speaker: Speaker) -> Iterator[tuple[str, str]]:
        """The files (path from the root, text) of a session whose entries begin at `first`."""
        known = {"name": name, "day": day}
        said: dict[str, str] = {}

        def value(kind: str, token: str) -> str:
            if kind == "n":
                return str(int(token) - self.first + first)
            if kind == "id":
                return f"{token[:-7]}{number:07d}"
            if kind == "text":
                if token not in said:
                    said[token] = speaker.words(*_LENGTHS[token[2:].rstrip("0123456789")])
                return said[token]
            return known[kind]

        for path, content in self.files:
            yield path.filled(value), content.filled(value)


def make(root: Path) -> list[Pattern]:
    """Have the daemon make one session of each kind."""
    (root / "permissions.yaml").write_text(json.dumps(_PERMISSIONS))
    for kind in KINDS:
        route = {"driver": "scripted", "script": {"turns": list(kind.turns)}}
        (root / "routes" / f"{kind.name}.yaml").write_text(json.dumps(route))
    config = root / "kheish.yaml"
    config.write_text(f"{config.read_text()}\ndefault_route: bench\n")
    with processes.daemon(root) as served:
        client = Kheish(url=served.url, token=served.token)
        for kind in KINDS:
            _play(client, kind)
    return [_read(root, kind) for kind in KINDS]


def _play(client: Kheish, kind: Kind) -> None:
    client.sessions.create(kind.session, route=kind.name, title="zqtitle")
    for number in range(kind.runs):
        run = client.runs.start(kind.session, f"zqask{number + 1}", wait=_WAIT)
        if run.status in ("queued", "running"):
            raise RuntimeError(f"the run of pattern {kind.name} is {run.status}")
        if kind.cancelled:
            run.cancel()


def _read(root: Path, kind: Kind) -> Pattern:
    (folder,) = root.glob(f"sessions/*/{kind.session}")
    pending = [path for path in root.glob("pending/*/*.yaml") if kind.session in path.read_text()]
    paths = [path for path in (*folder.rglob("*"), *pending) if path.is_file()]
    files = [(Template.of(str(path.relative_to(root))), Template.of(path.read_text())) for path in paths]
    return Pattern(tuple(files), *numbers(folder))


def numbers(session: Path) -> tuple[int, int]:
    """The first and last event number of a session, by its folder."""
    lines = (session / "journal" / "000001.jsonl").read_text().splitlines()
    return json.loads(lines[0])["n"], json.loads(lines[-1])["n"]
