"""A daemon under load, a person with git in its state root, and what must be true after each command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash import checker
from tests.support.daemon import Daemon, bash, git, until

SESSIONS = 5
TURNS = [bash("echo {{input}} >> ledger.txt"), {"text": "done"}]
#: how many runs go through during a command, and for how many seconds an editor is open: `make git-table` asks for more
RUNS = int(os.environ.get("GIT_TABLE_RUNS", "6"))
EDITING = float(os.environ.get("GIT_TABLE_EDITING", "1.5"))
#: seconds after which a person tries a command again that git refused
AGAIN = 0.7
#: seconds within which all is well again when nothing happens any more: a hold's end, a commit, the index
QUIET = 40.0
#: what a person says to git when a command got stuck half way
ABORTS = {
    "CHERRY_PICK_HEAD": "cherry-pick --abort",
    "REVERT_HEAD": "revert --abort",
    "MERGE_HEAD": "merge --abort",
    "rebase-merge": "rebase --abort",
}


def rows(*quick: str, others: tuple[str, ...]) -> list[Any]:
    """Parameters: commands of which `make test` tries each, and others that do much the same."""
    return [*quick, *(pytest.param(one, marks=pytest.mark.git_table) for one in others)]


class Table:
    """One state root: `at_work()` has runs go through it, `settled()` waits for quiet and lets the checker look."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon, self.root = daemon, daemon.root
        self.acks: dict[str, list[dict[str, Any]]] = {"runs": []}
        self.since: str | None = None
        self._number = 0
        self._failed: list[BaseException] = []

    def run(self, wait: str | None = None) -> str:
        """One more run, acknowledged; its id."""
        self._number += 1
        session = f"s{self._number % SESSIONS}"
        run = self.daemon.client.runs.start(session, f"{session}.{self._number}", wait=wait)
        self.acks["runs"].append({"id": run.run_id, "session": session, "n": run.data["n"]})
        return run.run_id

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Runs go through while the body does what it does."""
        under_way = threading.Event()
        thread = threading.Thread(target=self._submit, args=(under_way,))
        thread.start()
        try:
            under_way.wait(5)  # so that the command meets files that are being written
            yield
        finally:
            thread.join()
        assert not self._failed

    def _submit(self, under_way: threading.Event) -> None:
        try:
            for number in range(RUNS):
                self.run()
                if number == min(3, RUNS - 1):
                    under_way.set()
                time.sleep(0.03)
        except BaseException as error:  # noqa: BLE001 - told to the test, in its own thread
            self._failed.append(error)

    def git(self, *words: str, **more: Any) -> str:
        """git as the person has it."""
        return git(self.root, *words, **more)

    def insist(self, *words: str, **environ: str) -> None:
        """A command that git may refuse, because a file changed a moment before: as a person does, once more."""
        env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **environ}
        words = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words)
        said = ""

        def done() -> bool:
            nonlocal said
            found = subprocess.run(words, cwd=self.root, env=env, capture_output=True, text=True, timeout=60)
            said = found.stdout + found.stderr
            if found.returncode:
                self.give_up()
                time.sleep(AGAIN)
            return found.returncode == 0

        try:
            until(done, 30, what=" ".join(words))
        except AssertionError as error:
            raise AssertionError(f"{error}; git says: {said}") from None

    def give_up(self) -> None:
        """Leave what a command left half done."""
        for name, words in ABORTS.items():
            if (self.root / ".git" / name).exists():
                git(self.root, *words.split(), check=False)
        if (self.root / ".git" / "rebase-merge").exists():  # given up before it had begun: there is nothing to abort
            git(self.root, "rebase", "--quit")
            self.insist("stash", "pop")

    def mine(self, text: str, *, committed: bool = True) -> None:
        """A file that the daemon knows nothing of, and leaves alone."""
        self.daemon.write("notes.md", text)
        if committed:
            self.insist("add", "notes.md")
            self.insist("commit", "-q", "-m", text.strip(), "--", "notes.md")

    def held(self, word: str) -> None:
        """Waits until the daemon says that it holds, and why."""
        until(lambda: word in (self.daemon.client.status()["git"]["held"] or ""), what=f"it holds: {word}")

    def settled(self) -> None:
        """All that was acknowledged is done and in HEAD, the tree is clean, and the checker finds nothing."""
        ready = lambda: self.daemon.http("GET", "/readyz").status_code == 200  # noqa: E731
        until(ready, QUIET, what="it is ready")  # an index that was taken away is made again first
        for ack in self.acks["runs"][-RUNS - 5 :]:
            run = f"/v1/runs/{ack['id']}"  # it may be missed only after it was ready
            until(lambda run=run: self.daemon.http("GET", run).status_code != 503, QUIET, what="its index is whole")  # type: ignore[misc]
            self.daemon.run(ack["id"], "completed")
        until(self._is_looked_after, QUIET, what="the daemon has seen what was done to the branch")
        self.daemon.quiet(QUIET)
        found = checker.check(self.root, self.acks, self.daemon.workspace / "ledger.txt", since=self.since)
        assert not found, "\n".join(str(one)[:400] for one in found[:12])
        self.since = git(self.root, "rev-parse", "HEAD").strip()

    def _is_looked_after(self) -> bool:
        head, last = git(self.root, "rev-parse", "main", "refs/kheish/last").split()
        return head == last and self.daemon.client.status()["git"]["held"] is None

    def journals(self) -> dict[str, int]:
        """The sizes of all journal files."""
        return {str(path): path.stat().st_size for path in self.root.glob("sessions/*/*/journal/*.jsonl")}

    def log(self, *words: str) -> list[str]:
        """Subjects of commits, newest first."""
        return git(self.root, "log", "--format=%s", *words).splitlines()


def persona(words: str) -> str:
    """A persona's file."""
    return f"---\ndisplay_name: Terse\n---\n{words}\n"


def clone(table: Table, folder: Path) -> Path:
    """Another clone, by way of a bare remote that the state root knows as `origin`."""
    bare, other = folder / "remote.git", folder / "other"
    git(folder, "init", "-q", "--bare", "-b", "main", str(bare))
    git(table.root, "remote", "add", "origin", str(bare))
    git(table.root, "push", "-q", "-f", "origin", "main")
    git(folder, "clone", "-q", str(bare), str(other))
    return other


def edit_there(other: Path, words: str) -> None:
    """Somebody edits a persona in the other clone, and pushes it."""
    (other / "personas").mkdir(exist_ok=True)
    (other / "personas" / "there.md").write_text(persona(words))
    git(other, "add", "personas")
    git(other, "commit", "-q", "-m", f"there: {words}")
    git(other, "push", "-q", "origin", "main")
