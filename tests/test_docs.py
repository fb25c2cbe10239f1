"""The documentation, followed word for word: its commands against a real daemon, and every link."""

from __future__ import annotations

import configparser
import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from kheish.client import Kheish
from kheish.domain.definitions import KINDS
from kheish.jobs import probing
from kheish.store.edits.definitions import parse
from tests.support import forking
from tests.support.daemon import until
from tests.support.programs import Call, Programs, kheish

TOP = Path(__file__).parents[1]
PAGES = [TOP / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [*sorted((TOP / "docs").rglob("*.md")), TOP / "examples" / "README.md"]


def blocks(page: str) -> list[str]:
    """The shell commands of a page, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", (TOP / page).read_text(), re.MULTILINE | re.DOTALL)


def sleep(call: Call) -> int:
    """Sleep as long as a page says, and until everything is committed.

    A page says how long it takes on a quiet machine.
    """
    time.sleep(float(call.words[0]))
    client = Kheish(state_root=call.cwd / call.env["KHEISH_STATE_ROOT"])

    def is_settled() -> bool:
        said = client.status()
        return bool(said["git"]["committed_n"] == said["events"]["newest"])

    until(is_settled, 20, what="everything is committed")
    return 0


def test_the_changelog_names_nothing_twice() -> None:
    """A merge of two branches with the same entry keeps both."""
    entries = re.findall(r"^- .*(?:\n  .*)*", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert len(entries) > 100 and [one for one in entries if entries.count(one) > 1] == []


def files() -> list[tuple[str, str, str]]:
    """The files of Definitions that the pages show, by the comment that they begin with: page, path, content."""
    found = []
    for page in PAGES:
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            named = re.match(r"# ([a-z]+/[a-z0-9.-]+\.yaml)\b", text)
            if named and named[1].partition("/")[0] in KINDS:
                found.append((page.name, named[1], text))
    return found


@pytest.mark.parametrize(("page", "path", "text"), files(), ids=lambda one: one[:40] if "/" in one[:40] else None)
def test_the_files_that_a_page_shows_are_valid(page: str, path: str, text: str) -> None:
    model = KINDS[path.partition("/")[0]].model
    assert [str(one) for one in parse(model, text.encode(), path).problems] == [], page


class Reader:
    """Somebody who types what the page says, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "examples").symlink_to(TOP / "examples")
        (folder / "bin").mkdir()
        self._programs = Programs(folder / "bin", {"kheish": kheish, "sleep": sleep})
        self.is_forked = forking.is_used()
        path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        person = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_PAGER": "cat", "EDITOR": "true"}
        self.env = {"PATH": path, "HOME": str(folder), "PYTHONPATH": str(TOP), "KHEISH_BIND": "127.0.0.1:0", **person}
        self.env |= {f"GIT_COMMITTER_{key}": person[f"GIT_AUTHOR_{key}"] for key in ("NAME", "EMAIL")}
        self.env["KHEISH_COMMIT__EVERY"] = "500ms"  # each `sleep` waits for the commits
        self.daemon: subprocess.Popen[bytes] | forking.Forked | None = None
        if not self.is_forked:
            self.execute()

    def execute(self) -> None:
        """Have each `kheish` executed from now on, as it is for a reader of the page."""
        self.is_forked = False
        (self.folder / "bin" / "kheish").write_text(f'#!/bin/sh\nexec {sys.executable} -m kheish.cli.main "$@"\n')

    def type(self, block: str) -> str:
        """Run a block; exports hold for what comes after. The line that serves goes on in the background."""
        lines = block.splitlines()
        for line in [line for line in lines if line.startswith("kheish serve")]:
            lines.remove(line)
            self._run("\n".join(lines))
            return self._serve(line)
        for line in lines:
            if found := re.fullmatch(r"export (\w+)=(.*)", line):
                self.env[found[1]] = found[2].replace("$PWD", str(self.folder))
        return self._on_terminal(block) if "--follow" in block else self._run(block)

    def _run(self, script: str) -> str:
        words = ["bash", "-ec", script]
        done = subprocess.run(words, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _serve(self, line: str) -> str:
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            self.daemon = self._start(line.split(), out, err)
        return until((self.folder / "stdout").read_text, what="the ready line")

    def _start(self, words: list[str], out: IO[bytes], err: IO[bytes]) -> subprocess.Popen[bytes] | forking.Forked:
        if not self.is_forked:
            return subprocess.Popen(words, cwd=self.folder, env=self.env, stdout=out, stderr=err)
        with open(os.devnull, "rb") as null:
            places = {"stdin": null.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
            return forking.Forked(*forking.SERVER.fork(words[1:], env=self.env, cwd=self.folder, **places), None)

    def _on_terminal(self, script: str) -> str:
        """Under a terminal, with the answers that the quickstart tells to type."""
        terminal, inside = pty.openpty()
        words = ["bash", "-ec", script]
        process = subprocess.Popen(words, cwd=self.folder, env=self.env, stdin=inside, stdout=inside, stderr=inside)
        os.close(inside)
        seen, answers = "", {"Answer (": b"1\n", "Allow this call?": b"y\n"}
        with contextlib.suppress(OSError):  # Linux ends a terminal whose other side is closed with EIO
            while chunk := os.read(terminal, 4096):
                seen += chunk.decode(errors="replace")
                for prompt in [prompt for prompt in answers if prompt in seen]:
                    os.write(terminal, answers.pop(prompt))
        os.close(terminal)
        assert process.wait(10) == 0, seen
        return seen

    def leave(self) -> None:
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(20)
            self.daemon = None

    def close(self) -> None:
        self.leave()
        self._programs.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.found("C11")
def test_that_the_quickstart_works_word_for_word(reader: Reader) -> None:
    reader.execute()
    serve, status, follow, submit, answer, look, program = blocks("docs/quickstart.md")
    assert reader.type(serve).startswith("kheish ready http://127.0.0.1:")
    assert "tour" in reader.type(status)
    assert "completed" in reader.type(follow)
    assert "How should I greet?" in reader.type(submit)
    assert "completed" in reader.type(answer)
    seen = reader.type(look)
    assert "Hello!" in seen and "run completed: hello" in seen and "question.asked" in seen and "session.yaml" in seen
    seen = reader.type(program)
    assert '"status":"waiting_for_question"' in seen and "event: question.asked" in seen


def served(reader: Reader) -> None:
    """What the pages say that they begin with: the first two blocks of the quickstart."""
    serve, look, *_ = blocks("docs/quickstart.md")
    reader.type("git config --global user.name Ada\ngit config --global user.email ada@example.org")
    reader.type(serve)
    reader.type(look)
    # There may be other routes, from other pages; no page relies on being the first.
    (reader.folder / "my-state/routes/another.yaml").write_text("driver: scripted\nscript: {echo: true}\n")
    committed = "git -C my-state log --format=%s --name-only"
    until(
        lambda: {"routes/tour.yaml", "routes/another.yaml"} <= set(reader.type(committed).split()), what="both routes"
    )


def programs(page: str) -> list[str]:
    """The Python programs of a page."""
    return re.findall(r"^```python\n(.*?)^```", (TOP / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.found("C11")
def test_that_the_pages_work_one_after_the_other(reader: Reader) -> None:
    """As on a fresh machine: the README's state root and route, and in the same folder all that comes after."""
    reader.type("git config --global user.name Ada\ngit config --global user.email ada@example.org")
    [init] = [block for block in blocks("README.md") if block.startswith("kheish init")]
    reader.type(init)
    (reader.folder / "my-state/routes/main.yaml").write_text("driver: scripted\nscript: {echo: true}\n")
    serve, status, follow, submit, answer, look, program = blocks("docs/quickstart.md")
    reader.type(serve)
    assert "main" in (told := reader.type(status)) and "tour" in told
    assert "completed" in reader.type(follow)
    assert "How should I greet?" in reader.type(submit) and "completed" in reader.type(answer)
    reader.type(look)
    reader.type(program)

    (reader.folder / "my-project/greeting.txt").unlink()
    start, answers, follows, aio, errors = (
        reader.type(f"{sys.executable} - <<'END'\n{code}END\n") for code in programs("docs/python-client.md")
    )

    assert start.split() == ["waiting_for_question", "True", "False"]
    assert "completed" in answers and "+Hello!" in answers and "added greeting.txt" in answers
    assert "-> ask_user_question" in follows or "-> list_files" in follows
    assert aio.startswith("waiting_for_question") and errors.startswith("not_found 404")
    past, read, http, *_ = blocks("docs/history.md")
    assert "completed" in reader.type(past)
    logged = reader.type(read)
    number = reader.type("kheish sessions journal fix-it --limit 2 --quiet").split()[-1]
    between = reader.type(f"kheish diff fix-it n:{number} n:{int(number) + 2}")
    assert between.count("#") == 2 and "#" in logged
    assert '"last_n"' in reader.type(http)
    changed = reader.type("kheish changes client --stat")
    assert "greeting.txt" in changed


def test_that_editing_by_hand_works_word_for_word(reader: Reader) -> None:
    edit, broken, check, inbox, answer = blocks("docs/hand-editing.md")
    served(reader)
    reader.env["EDITOR"] = "sed -i -e $a#no-rule-of-mine"
    told = reader.type(edit)
    assert "edit: permissions.yaml" in told and "Ada" in told and "#no-rule-of-mine" in told
    told = reader.type(broken)
    assert told.count("routes/broken.yaml:1:1") == 4 and "did you mean 'model'?" in told
    assert "openai.yaml is valid" in reader.type(check)
    reader.type(inbox)
    until(lambda: "run_" in reader.type("kheish runs list --session mail --quiet"), what="the dropped file's run")
    reader.type(answer)
    until(lambda: "completed" in reader.type("kheish runs list --session asked"), what="answered in files")


def test_that_agents_are_spawned_word_for_word(reader: Reader) -> None:
    spawn, message = blocks("docs/agents.md")
    served(reader)
    seen = reader.type(spawn)
    assert "allowed" in seen and "reader  settled" in seen
    seen = reader.type(message)
    assert "And the license?" in seen and "Closed: " in seen


def test_that_a_change_is_reviewed_in_worktrees_word_for_word(reader: Reader) -> None:
    _, serve, start, look = blocks("examples/playbooks/README.md")
    reader.type("git config --global user.name Ada\ngit config --global user.email ada@example.org")
    assert reader.type(serve).startswith("kheish ready")
    seen = reader.type(start)
    assert "ZeroDivisionError" in seen and "average 0" in seen and "succeeded" in seen
    client = Kheish(state_root=reader.folder / "my-state")
    (flow,) = client.flows.list()["items"]
    assert [one["status"] for one in flow["phases"]] == ["satisfied"] * 2
    assert sorted(one["id"] for one in flow["evidence"]) == ["change", "review"]
    agent = client.sessions.get(flow["session_id"])["agent_id"]
    for one in client.agents.list(parent=agent)["items"]:
        assert (one["status"], one["isolation"], one["worktree"]["state"]) == ("settled", "worktree", "removed")
        assert one["worktree"]["path"] in one["result"]["output"], "it worked there"
    seen = reader.type(look)
    assert "first" in seen and "second" in seen and "Give the average of no values" in seen
    assert reader.type("git -C figures status --porcelain") == ""


def test_that_mailboxes_and_tasks_work_word_for_word(reader: Reader) -> None:
    served(reader)
    first, dead, steer, http = blocks("docs/mailboxes.md")
    told = reader.type(first)
    assert "delivering" in told or "acked" in told
    told = reader.type(dead)
    assert "dead_letter" in told and "late-1" in told
    assert "run_" in reader.type(steer)
    assert '"ci-2"' in (told := reader.type(http)) and '"failed":["test_parser"]' in told
    plan, assign = blocks("docs/tasks.md")
    told = reader.type(plan)
    assert "blocked" in told and "all green" in told and "pending" in told
    told = reader.type("\n".join([*plan.splitlines()[3:5], assign]).replace("parser", "lexer"))
    assert "is cancelled" in told and "task_assignment" in told


def test_that_schedules_are_kept_word_for_word(reader: Reader) -> None:
    store, fire = blocks("docs/schedules.md")
    served(reader)
    seen = reader.type(store)
    assert "morning.yaml is valid" in seen and "Morning report" in seen and "T09:00:00+0" in seen
    seen = reader.type(fire)
    assert "morning is dispatched: run_" in seen and "morning is paused" in seen and "morning is resumed" in seen
    until(
        lambda: "completed" in reader.type("kheish runs list --session reports"), what="the run that is fired completes"
    )


def test_that_connectors_take_requests_word_for_word(reader: Reader) -> None:
    [begin] = blocks("docs/connectors.md")
    served(reader)
    seen = reader.type(begin)
    assert "alerts.yaml is valid" in seen and seen.count("alerts answered 202") == 2
    assert '"duplicate": false' in seen and '"duplicate": true' in seen and "accepted" in seen


def test_that_assets_are_stored_word_for_word(reader: Reader) -> None:
    begin, upload = blocks("docs/assets.md")
    served(reader)
    seen = reader.type(begin)
    assert "outage.md, text/markdown, 29 characters" in seen and "The disk was full." in seen
    assert seen.count("sha256:") >= 4 and "Unused: 0 assets" in seen
    assert '"asset_id":"sha256:' in reader.type(upload)


def test_that_observations_are_sent_word_for_word(reader: Reader) -> None:
    begin, tokens = blocks("docs/observations.md")
    served(reader)
    seen = reader.type(begin)
    assert "2 observations stored." in seen and "GET /admin 500" in seen and "run_" in seen
    assert (seen := reader.type(tokens)).count("kheish_") == 2 and "The tokens of web are revoked." in seen


def test_that_goals_are_pursued_word_for_word(reader: Reader) -> None:
    begin, steer = blocks("docs/goals.md")
    served(reader)
    seen = reader.type(begin)
    assert "no_progress" in seen and "goal_" in seen and "suite" in seen.rpartition("no_progress")[2]
    seen = reader.type(steer)
    assert "is active" in seen and "is paused" in seen and "600000" in seen and "is removed" in seen


def test_that_channels_work_word_for_word(reader: Reader) -> None:
    room, proposals = blocks("docs/channels.md")
    served(reader)
    seen = reader.type(room)
    assert "The queries are as fast as yesterday. @network" in seen and "Two percent, since" in seen
    assert "a tag matches" in seen and "mentioned by an agent" in seen and "the replies are spent" in seen
    seen = reader.type(proposals)
    assert "is posted as post_" in seen and "Replace the switch in rack 3" in seen


def test_that_projects_work_word_for_word(reader: Reader) -> None:
    begin, claim = blocks("docs/projects.md")
    served(reader)
    seen = reader.type(begin)
    assert "build is started" in seen and "completed" in seen and "pending" in seen
    seen = reader.type(claim)
    assert "check is completed." in seen and "release" in seen


def test_that_mcp_servers_work_word_for_word(reader: Reader) -> None:
    begin, agent = blocks("docs/mcp.md")
    served(reader)
    seen = reader.type(begin)
    assert "mcp/notes is trusted" in seen and "notes is ready, notes 1.0 with protocol 2025-06-18" in seen
    assert "mcp__notes__add_note" in seen and "That was note 1." in seen and "1. Buy milk." in seen
    assert "2. Call Ann." in reader.type(agent)


def test_that_hooks_work_word_for_word(reader: Reader) -> None:
    begin, agent, imported = blocks("docs/hooks.md")
    served(reader)
    seen = reader.type(begin)
    assert "The hook block-rm is not started: it is not trusted yet" in seen and "hooks/block-rm is trusted" in seen
    assert "block-rm at pre_tool_use: blocked: rm -rf is not allowed here" in seen
    seen = reader.type(agent)
    assert "denied by the hook block-rm: rm -rf is not allowed here" in seen and "blocked" in seen
    seen = reader.type(imported)
    assert "SessionStart: claude-01-session-start" in seen and "WorktreeCreate: not imported" in seen
    assert "claude-01-session-start" in seen.partition("NAME")[2]


def test_that_outputs_are_delivered_word_for_word(reader: Reader) -> None:
    [begin] = blocks("docs/outputs.md")
    [letters] = blocks("docs/deliveries.md")
    served(reader)
    seen = reader.type(begin)
    assert "answers: sent" in seen and "delivered" in seen.partition("DELIVERY")[2]
    assert "0 would be sent again, 0 not." in reader.type(letters)


def test_that_the_mcp_server_works_word_for_word(reader: Reader) -> None:
    [block] = blocks("docs/mcp-server.md")
    served(reader)
    seen = reader.type(block)
    assert "desk is ready, kheish 0" in seen and "with protocol 2026-07-28" in seen
    assert "mcp__desk__start_run" in seen and "incident-triage" in seen and '"approvals": []' in seen


def test_that_memory_works_word_for_word(reader: Reader) -> None:
    served(reader)
    write, shown, origin, proposals, commits, search = blocks("docs/memory.md")
    seen = reader.type(write)
    assert "memory/shared/deploy.md  person  always" in seen and "Ada: edit: memory/shared/deploy.md" in seen
    assert "memory/shared/deploy.md" in reader.type(shown)
    seen = reader.type(origin)
    assert "counts as an agent's file" in seen and "is a user's file" in seen and "+Deploy on Mondays only." in seen
    assert reader.type(proposals) is not None
    assert "Ada: edit: memory/shared/deploy.md" in reader.type(commits)
    seen = reader.type(search)
    assert "memory/shared/deploy.md" in seen and "name: deploying" in seen


def test_that_stacks_are_applied_and_runs_debugged_word_for_word(reader: Reader) -> None:
    served(reader)
    (apply,), (capture,) = blocks("docs/stacks.md"), blocks("docs/debugging.md")
    seen = reader.type(apply)
    assert seen.count("+ create") == 4 and "2 files applied as the stack team." in seen and "team" in seen
    seen = reader.type(capture.replace("--debug", "--route team --debug"))
    assert "turn-0001-attempt-0001-model-request" in seen and '"name": "Instructions"' in seen


def test_that_skills_are_used_word_for_word(reader: Reader) -> None:
    if not probing.probe().available:
        pytest.skip("bubblewrap does not work here")
    use, trust = blocks("docs/skills.md")
    served(reader)
    (reader.folder / "my-project/main.py").write_text("# TODO: write it\n")
    seen = reader.type(use)
    assert "todo-report  skills/todo-report  model, users  no" in seen
    assert "my-state/skills/todo-report is valid" in seen
    seen = reader.type(trust)
    assert "skills/todo-report is trusted" in seen and seen.count("These are left to do.") >= 2
    assert "main.py:1:# TODO: write it" in seen and "waiting_for" not in seen


def test_that_history_is_read_word_for_word(reader: Reader) -> None:
    past, read, http, changes, alone, fork, delete = blocks("docs/history.md")
    served(reader)
    assert "completed" in reader.type(past)
    logged, shown = reader.type(read), reader.type("kheish show fix-it --at before-the-docs")
    assert "make the tests pass" in shown and "now the docs" not in shown
    assert 'run completed: fix-it "now the docs"' in logged and "edit: routes/echo.yaml" in reader.type("kheish log")
    assert "script: {echo: true}" in logged and "fix-it" in reader.type("kheish sessions search docs")
    assert '"last_n"' in (told := reader.type(http)) and "now the docs" in told
    reader.type(changes)
    told = reader.type(alone)
    assert "answers" in told and "+    now the docs" in told and '"kind"' not in told
    assert "now the changelog" in reader.type(fork)
    told = reader.type(delete)
    assert "Git keeps it" in told and "make the tests pass" in told


def test_that_a_push_is_a_backup_and_a_restore_brings_it_back(reader: Reader) -> None:
    served(reader)
    reader.type("git init --quiet --bare remote.git")
    push, edit, restore, resume = [block.replace("git@example.com:team/kheish-state.git", f"{reader.folder}/remote.git")
                                   for block in blocks("docs/backup.md")]  # fmt: skip
    assert "Pushed " in reader.type(push)
    assert "echo: true" in reader.type(edit)
    reader.leave()
    reader.env["KHEISH_STATE_ROOT"] = "restored"
    assert reader.type(restore).startswith("kheish ready")
    seen = reader.type(resume)
    assert "status            paused" in seen and "Resumed." in seen
    (first, *_) = reader.type("kheish events --after 0 --quiet").split()
    assert int(first) < 10
    newest = reader.type("kheish events --after 1000000 --quiet").split()
    assert newest, "numbers must go on far above those that the old root may have given since"
    assert "A spare route" in reader.type("git -C restored log --format=%s")


def test_that_the_systemd_unit_is_one(reader: Reader) -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```", (TOP / "docs/operations.md").read_text(), re.MULTILINE | re.DOTALL)
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(unit)
    assert (settings["Service"]["KillMode"], settings["Service"]["OOMPolicy"]) == ("process", "continue")
    words = settings["Service"]["ExecStart"].replace("%h", str(reader.folder)).split()
    assert words[0].endswith("/kheish") and "--state-root" in reader.type(f"kheish {words[1]} --help")
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed; the unit was only read")
    file = reader.folder / "kheish.service"
    file.write_text(unit.replace("%h/kheish/.venv/bin/kheish", str(reader.folder / "bin" / "kheish")))
    done = subprocess.run([program, "verify", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "kheish.service:" not in done.stderr, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_that_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if not path.startswith("http"):
            there = (page.parent / path) if path else page
            assert there.exists(), f"{page.name}: {target}"
            heads = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
