"""Names that people's tools leave behind, at every place where the daemon reads: told, and never its end."""

from __future__ import annotations

import contextlib
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, git, until

#: each byte that a name can have, and what is nearly UTF-8
BYTES = [bytes((code,)) for code in range(1, 256) if code not in b"/"]
CLASSES = [
    b"caf\xe9", b"\xed\xa0\x80\xed\xb0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"cut\xf0\x9f\x91", b"line\nbreak",
    b"\x1b[31mred", b"trailing ", b"dots...", b"-rf", "\u202egnp".encode(), "\U0001f44d".encode(), "e\u0301".encode(),
    b"back\\slash", rb"\xe9", b"%2e%2e", b"'\"`$(id)", b"{{x}}",
]  # fmt: skip
#: of these, what is no UTF-8 or ends a line is tried at each place also where names are sampled
ALWAYS = 6
LONG = b"\xe9" * 250
#: where each single byte is tried, and where each class of names is
BYTEWISE = ("inbox/notes", "routes", "secrets")
#: folders of Definitions in YAML, beside routes
KINDS = ("mcp", "hooks", "schedules", "channels", "projects", "outputs", "connectors", "sources", "workers")
PLACES = (
    *BYTEWISE, "personas", "playbooks/p", "pending/approvals", "inbox", "playbooks", "pending",
    "pending/questions", "sessions", "sessions/2026-01-01", "journals",
    "journals/daemon", "flows", "", ".kheish", "inbox/rejected", "schemas", "conflicts",
    *KINDS, "skills", "skills/s", "memory", "memory/shared", "memory/sessions/notes", "pending/memory", "observations",
    "assets", "inbox/observations", "inbox/observations/src",
)  # fmt: skip
COMMITTED = (
    b"routes/caf\xe9.yaml", b"inbox/notes/caf\xe9.txt", b"notes/a\nb", b"notes/\xff", b"sessions/x\xe9/y",
    b"playbooks/\xe9/z", b"memory/shared/\xe9.md", b"skills/\xe9/SKILL.md", b"mcp/\xe9.yaml",
)  # fmt: skip
LOOKS = (("log",), ("show", "notes", "--at", "HEAD~1"), ("diff", "notes", "HEAD~3", "HEAD"), ("state", "verify"))
ENDINGS = (b"", b".md", b".yaml", b".age", b".jsonl")


def fill(root: Path, place: str, sample: int) -> None:
    """Make a file and a folder for each byte at some places, and for each class of names files of each ending and a
    folder with one; with a `sample` files of every so many bytes, and two places of three without a class."""
    folder = os.fsencode(root / place)
    for at, name in enumerate(BYTES[::sample] if place in BYTEWISE else ()):
        write(folder + b"/n" + name + b"x" + ENDINGS[at % len(ENDINGS)])
        if sample == 1:
            os.mkdir(folder + b"/f" + name)
            write(folder + b"/f" + name + b"/x" + ENDINGS[at % len(ENDINGS)])
    turn = PLACES.index(place)
    for name in (one for at, one in enumerate(CLASSES) if sample == 1 or at < ALWAYS or (at + turn) % 3 == 0):
        for ending in ENDINGS if place in ("routes", "secrets", "playbooks/p") else ENDINGS[1:3]:
            write(folder + b"/" + name + ending)
        os.mkdir(folder + b"/d" + name)
        write(folder + b"/d" + name + b"/x.yaml")
    for ending in ENDINGS:
        write(folder + b"/" + LONG[: 255 - len(ending)] + ending)


def write(path: bytes) -> None:
    with open(path, "wb") as file:
        file.write(b"title: hello\n")


def problems(daemon: Daemon) -> dict[str, str]:
    found, cursor = dict[str, str](), ""
    while True:
        answer = daemon.http("GET", f"/v1/problems?limit=200{cursor}")
        assert answer.status_code == 200, answer.text
        found |= {one["path"]: one["code"] for one in answer.json()["items"]}
        if answer.json()["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.json()['next_cursor']}"


def is_rejected(daemon: Daemon, path: str) -> bool:
    texts = (reason.read_text() for reason in (daemon.root / "inbox" / "rejected").glob("*.problem.txt"))
    return any(f"{path} was not used" in text for text in texts)


def is_committed(daemon: Daemon) -> bool:
    said = daemon.client.status()
    return bool(said["git"]["committed_n"] == said["events"]["newest"])


@pytest.mark.found("A2")
@pytest.mark.parametrize("sample", [7, pytest.param(1, marks=pytest.mark.campaign)])
def test_odd_names_everywhere_are_told_and_never_the_end(tmp_path: Path, sample: int) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi {{input}}"}]}) as daemon:
        daemon.client.sessions.create("notes", route="hello")
        daemon.write("playbooks/p/playbook.yaml", "title: P\n")
        for place in PLACES:
            (daemon.root / place).mkdir(parents=True, exist_ok=True)
            fill(daemon.root, place, sample)

        until(lambda: not list((daemon.root / "inbox" / "notes").rglob("*.md")), 60, what="the inbox was taken")
        told = check(daemon)
        assert daemon.stop(60) == 0
        daemon.start()
        until(lambda: problems(daemon).keys() >= told - {""}, 60, what="told again")
        check(daemon)
        for words in (("doctor",), ("state", "verify"), ("doctor", "--scan-history"), ("log",)):
            assert "Traceback" not in (said := daemon.cli(*words, timeout=120)).stderr, said.stderr
        assert daemon.stop(60) == 0
        assert "Traceback" not in daemon.stderr(10**7), daemon.stderr()


def check(daemon: Daemon) -> set[str]:
    """The daemon answers, works, and says what is wrong; returns the paths that it names."""
    places = ("routes/{}.yaml", "personas/{}.md", "playbooks/p/{}", "secrets/{}.age", "pending/approvals/{}.yaml",
              "pending/questions/{}.yaml", "pending/memory/{}.yaml", "memory/shared/{}.md",
              *(f"{kind}/{{}}.yaml" for kind in KINDS))  # fmt: skip
    names = (r"caf\xe9", r"\xed\xa0\x80\xed\xb0\x80", r"\xc0\xaf")
    wanted = {place.format(name) for place in places for name in names}
    until(lambda: wanted <= problems(daemon).keys(), 60, what="all are told")
    told = problems(daemon)
    for path in (r"inbox/notes/caf\xe9.md", "inbox/notes/line\nbreak.yaml"):
        until(partial(is_rejected, daemon, path), 60, what=f"{path} is rejected")
    assert daemon.client.runs.start("notes", "work", wait="20s").status == "completed"
    for words in (("status",), ("problems",)):
        said = daemon.cli(*words)
        assert said.returncode in (0, 1) and "Traceback" not in said.stderr, said.stderr
        assert "\x1b[31m" not in said.stdout and "\u202e" not in said.stdout
    until(lambda: r"caf\xe9" in (daemon.root / "PROBLEMS.md").read_text(), what="PROBLEMS.md has them")
    until(lambda: is_committed(daemon), 60, what="commits go on")
    return set(told)


@pytest.mark.found("A2")
def test_odd_names_that_somebody_committed(tmp_path: Path) -> None:
    """In history, in the index, at revisions, in branches and tags; and an inbox file that git has is taken from it."""
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        daemon.client.sessions.create("notes", route="hello")
        daemon.quiet()
        daemon.stop()
        for path in COMMITTED:
            target = os.fsencode(daemon.root) + b"/" + path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write(target)
        git(daemon.root, "add", "-f", "-A")
        git(daemon.root, "commit", "-q", "-m", "odd")
        git(daemon.root, "tag", "-a", "-m", "x", "playbook/p\udce9/1.0.0")
        git(daemon.root, "branch", "caf\udce9")
        daemon.start()
        until(lambda: r"routes/caf\xe9.yaml" in problems(daemon), what="told")
        tag = r".git/refs/tags/playbook/p\xe9/1.0.0"
        until(lambda: problems(daemon).get(tag) == "not_a_version", what="the tag is told")
        daemon.client.runs.start("notes", "after", wait="20s")
        until(lambda: b"inbox/notes/caf\xe9.txt" not in tracked(daemon.root), what="it is taken from git as well")
        assert set(tracked(daemon.root)) >= {b"notes/a\nb", b"notes/\xff", b"routes/caf\xe9.yaml"}
        git(daemon.root, "fsck", "--strict")
        for words in LOOKS:
            assert "Traceback" not in (said := daemon.cli(*words)).stderr, said.stderr
        daemon.http("GET", "/v1/state/log?limit=50").raise_for_status()
        shutil.rmtree(daemon.root / "playbooks")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.fsencode(daemon.root) + b"/routes/caf\xe9.yaml")
        until(lambda: r"routes/caf\xe9.yaml" not in problems(daemon), what="told no more")
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.stderr(10**7), daemon.stderr()


def tracked(root: Path) -> list[bytes]:
    return os.fsencode(git(root, "-c", "core.quotePath=false", "ls-tree", "-rz", "--name-only", "HEAD")).split(b"\0")
