"""Payloads below and above what a journal line takes, through each tool and source, with both durabilities.

A payload that is read back before the log has written it is the daemon's own: no client may ever see that it waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Turns, allow, ask, bash, call, until
from tests.support.site import Page, serve

KIB = 1024
#: below and above the 16 KiB of a line, and what is far beyond
SIZES = (15 * KIB, 16 * KIB, 17 * KIB, 100 * KIB, 5 * KIB * KIB)
BODY = 4 * KIB * KIB  # a request, a file in the inbox, a text that is held against a contract
#: a user's answer in words of their own, and a command
ANSWER, COMMAND = 20_000, 100_000
#: what tools show of what they read
READ, GREP, BASH, PAGE = 60 * KIB, 56 * KIB, 30 * KIB, 60_000
PLAIN = {"Content-Type": "text/plain"}
LAST: dict[str, Any] = {"text": "{{last_result}}"}
#: the model writes what it was told twice over: 5 MiB are more than a request may have
TWICE = "{{input}}{{input}}"


def one(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [call(name, **arguments)]}


def text_of(size: int) -> str:
    """So many bytes in lines of 64, each of them different."""
    lines = (f"{at:08d} ".ljust(63, "x") + "\n" for at in range(0, size, 64))
    return "".join(lines)[: size - 1] + "\n"


#: what a tool answers of what it reads
READS: dict[str, Turns] = {
    "read_file": [one("read_file", path="{{input}}", limit=2000), LAST],
    "grep_search": [one("grep_search", pattern="x", path="{{input}}", limit=1000), LAST],
    "bash": [bash("cat {{input}}"), LAST],
    "web_fetch": [one("web_fetch", url="{{input}}", limit=PAGE), LAST],
}
#: what a model says or writes
WRITES: dict[str, Turns] = {
    "write_file": [one("write_file", path="f", content=TWICE), LAST],
    "edit_file": [
        one("write_file", path="f", content="old"),
        one("edit_file", path="f", old_string="old", new_string=TWICE),
        LAST,
    ],
    "apply_patch": [one("apply_patch", patch=f"--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+{TWICE}\n"), LAST],
    "emit_output": [one("emit_output", content=TWICE), LAST],
    "answer": [{"text": TWICE}],
}
OTHERS: dict[str, Turns | dict[str, Any]] = {
    "echo": {"driver": "scripted", "script": {"echo": True}},
    "behind": [one("shell_task_start", command="cat {{input}}"), LAST],
    "asks": [ask("Which?"), LAST],
    "approve": [bash("wc -c <<< {{input}}"), LAST],
}


@pytest.fixture(
    scope="module", params=[("fsync", 5), ("os", 3), pytest.param(("os", 5), marks=pytest.mark.campaign)], ids=str
)
def variant(request: pytest.FixtureRequest) -> tuple[str, int]:
    """Return the durability, and how many of the sizes are tried with it."""
    return tuple(request.param)


@pytest.fixture(scope="module")
def sizes(variant: tuple[str, int]) -> tuple[int, ...]:
    return SIZES[: variant[1]]


@pytest.fixture(scope="module")
def daemon(variant: tuple[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all tests of a durability."""
    with serving(tmp_path_factory.mktemp("payloads"), durability=variant[0]) as served:
        yield served


@contextmanager
def serving(folder: Path, **config: Any) -> Iterator[Daemon]:
    """A daemon whose workspace has a file of each size."""
    rules = [{"tool": name, "decision": "allow"} for name in ("web_fetch", "edit_file", "apply_patch")]
    rules.append({"tool": "shell_task_start", "match": "cat *", "decision": "allow"})
    permissions = allow("cat *")
    permissions["rules"] += rules
    config = {"network": {"allow": ["127.0.0.1"]}, "default_route": "echo", **config}
    made = {"routes": {**READS, **WRITES, **OTHERS}, "permissions": permissions, "config": config}
    with Daemon.fresh(folder, **made) as served:
        for name, size in files_of(SIZES).items():
            (served.workspace / name).write_text(text_of(size))
        yield served


def files_of(sizes: tuple[int, ...]) -> dict[str, int]:
    return {f"{size}.txt": size for size in sizes}


def begin(daemon: Daemon, route: str, content: str, session: str, **more: Any) -> str:
    """A run of a session of its own; several are begun at once, so that their payloads wait for the log together."""
    daemon.client.sessions.create(session, route=route, **more)
    return daemon.client.runs.start(session, content).run_id


def begin_at_home(daemon: Daemon, route: str, content: str, session: str) -> str:
    """The same with a workspace of its own."""
    home = daemon.workspace / session
    home.mkdir()
    return begin(daemon, route, content, session, workspace=str(home))


def done(daemon: Daemon, run_id: str) -> dict[str, Any]:
    run = daemon.run(run_id)
    assert run["status"] == "completed", run["error"]
    return run


@pytest.mark.found("A1")
@pytest.mark.parametrize(
    ("route", "shown"), [("read_file", READ), ("grep_search", GREP), ("bash", BASH), ("web_fetch", PAGE)]
)
def test_what_a_tool_reads_is_whole_or_cut_as_documented(
    daemon: Daemon, sizes: tuple[int, ...], route: str, shown: int
) -> None:
    files = files_of(sizes)
    with serve({f"/{name}": Page(text_of(size).encode(), headers=PLAIN) for name, size in files.items()}) as site:
        prefix = f"{site.url}/" if route == "web_fetch" else ""
        runs = {name: begin(daemon, route, prefix + name, f"{route}-{size}") for name, size in files.items()}
        for name, run_id in runs.items():
            output = done(daemon, run_id)["output"]
            lines = text_of(files[name]).splitlines()
            assert lines[0] in output
            if files[name] <= 17 * KIB:
                assert all(line in output for line in lines)
            else:
                assert shown / 2 < len(output) <= shown * 1.1
                assert any(word in output for word in ("Read on with offset", "left out of", "matches shown"))


@pytest.mark.found("A1")
@pytest.mark.parametrize("route", WRITES)
def test_what_a_model_writes_is_whole(daemon: Daemon, sizes: tuple[int, ...], route: str) -> None:
    runs = {size: begin_at_home(daemon, route, "w" * (size // 2), f"{route}-{size}") for size in sizes}
    for size, run_id in runs.items():
        run = done(daemon, run_id)
        written = daemon.workspace / f"{route}-{size}" / "f"
        if route == "apply_patch" and size > 1_000_000:
            assert "1000000" in run["output"] and not written.exists()
        elif route == "emit_output":
            assert [one["content"] for one in run["outputs"]] == ["w" * size]
        elif route == "answer":
            assert run["output"] == "w" * size
        else:
            assert written.read_text().rstrip("\n") == "w" * size


@pytest.mark.found("A1")
def test_an_answer_is_held_against_its_contract(daemon: Daemon, sizes: tuple[int, ...]) -> None:
    contract = {"type": "string", "pattern": "^c+$"}
    more = {"output_contract": contract}
    runs = {size: begin(daemon, "answer", "c" * (size // 2), f"contract-{size}", **more) for size in sizes}
    for size, run_id in runs.items():
        if size <= BODY:
            assert done(daemon, run_id)["output"] == "c" * size
        else:
            assert daemon.run(run_id)["error"]["code"] == "output_contract_unsatisfied"
            told = lambda name=f"contract-{size}": "is longer than" in str(daemon.journal(name))  # noqa: E731
            until(told, what="the journal has the reason: it waits where a git is at work")


@pytest.mark.found("A1")
def test_a_task_is_taken_whole_or_refused(daemon: Daemon, sizes: tuple[int, ...]) -> None:
    daemon.client.sessions.create("tasks", route="echo")
    inbox = daemon.root / "inbox" / "dropped"
    inbox.mkdir(parents=True)
    for size in sizes:
        answer = daemon.http("POST", "/v1/sessions/tasks/runs?wait=20s", {"content": text_of(size)})
        (inbox / f"{size}.md").write_text(text_of(size))
        if size > BODY:
            assert answer.status_code == 413
            until((daemon.root / "inbox" / "rejected" / f"dropped.{size}.md").exists)
            continue
        assert answer.json()["output"] == text_of(size)
        again = daemon.client.runs.retry(answer.json()["run_id"]).run_id
        assert done(daemon, again)["output"] == text_of(size)
    taken = sum(size <= BODY for size in sizes)
    dropped = until(lambda: (found := daemon.client.runs.list(session="dropped")["items"])[taken - 1 :] and found)
    assert {len(done(daemon, run["run_id"])["output"]) for run in dropped} == {size for size in sizes if size <= BODY}


@pytest.mark.found("A1")
def test_what_a_user_answers_is_whole_or_refused(daemon: Daemon, sizes: tuple[int, ...]) -> None:
    runs = {size: begin(daemon, "asks", "go", f"asks-{size}") for size in sizes}
    for size, run_id in runs.items():
        (question,) = daemon.run(run_id, "waiting_for_question")["pending_questions"]
        answered = {"answers": {"q1": {"selected": [], "text": "a" * size}}}
        status = daemon.http("POST", f"/v1/questions/{question}/answer", answered).status_code
        assert status == (200 if size <= ANSWER else 400 if size <= BODY else 413)
        if status == 200:
            assert "a" * size in done(daemon, run_id)["output"]
        else:
            assert daemon.client.runs.get(run_id).status == "waiting_for_question"


@pytest.mark.found("A1")
def test_a_command_that_waits_for_approval_is_whole_or_refused(daemon: Daemon, sizes: tuple[int, ...]) -> None:
    accepted = [size for size in sizes if size <= BODY]
    runs = {size: begin(daemon, "approve", "c" * size, f"approve-{size}") for size in accepted}
    for size, run_id in runs.items():
        if size > COMMAND - 100:
            assert "command" in done(daemon, run_id)["output"]
            continue
        (approval,) = daemon.run(run_id, "waiting_for_approval")["pending_approvals"]
        asked = daemon.client.approvals.get(approval)
        assert asked["arguments"]["command"] == "wc -c <<< " + "c" * size
        daemon.client.approvals.allow(approval)
        assert done(daemon, run_id)["output"].strip() == str(size + 1)


@pytest.mark.found("A1")
def test_what_runs_in_the_background_is_whole(daemon: Daemon, sizes: tuple[int, ...]) -> None:
    runs = {f"behind-{size}": begin(daemon, "behind", f"{size}.txt", f"behind-{size}") for size in sizes}
    for (name, run_id), size in zip(runs.items(), sizes, strict=True):
        done(daemon, run_id)
        listed = lambda name=name: daemon.client.sessions.tasks(name)["items"]  # noqa: E731
        (task,) = until(lambda listed=listed: [one for one in listed() if one["ended_at"]], what="the command ended")  # type: ignore[misc]
        assert task["output"] == text_of(size)


@pytest.mark.found("A1")
@pytest.mark.campaign
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_kills_leave_no_payload_in_part(tmp_path: Path, durability: str) -> None:
    """Each tool and source, killed at any moment; a call whose end is unknown is made again."""
    chance = random.Random(10)
    text = text_of(100 * KIB)
    files = {"/x.txt": Page(text.encode(), headers=PLAIN)}
    config = {"durability": durability, "recovery": {"ambiguous": "retry"}}
    with serve(files) as site, serving(tmp_path, **config) as daemon:
        for number in range(6):
            path = f"{100 * KIB}.txt"
            given = {route: f"{site.url}/x.txt" if route == "web_fetch" else path for route in READS}
            given |= dict.fromkeys(WRITES, "w" * 9 * KIB) | {"echo": text, "behind": path}
            runs = {route: begin_at_home(daemon, route, given[route], f"{route}-{number}") for route in WRITES}
            runs |= {
                route: begin(daemon, route, given[route], f"{route}-{number}") for route in (*READS, "echo", "behind")
            }
            (daemon.root / "inbox" / f"dropped-{number}").mkdir(parents=True)
            (daemon.root / "inbox" / f"dropped-{number}" / "x.md").write_text(text)
            for _ in range(2):
                time.sleep(chance.random() * 0.6)
                daemon.restart()
            for route, run_id in runs.items():
                run = done(daemon, run_id)
                assert route != "echo" or run["output"] == text
                assert route != "answer" or run["output"] == "w" * 18 * KIB
            for route in ("write_file", "edit_file", "apply_patch"):
                written = (daemon.workspace / f"{route}-{number}" / "f").read_text()
                assert written.rstrip("\n") == "w" * 18 * KIB
            dropped = lambda number=number: daemon.client.runs.list(session=f"dropped-{number}")["items"]  # noqa: E731
            (run,) = until(dropped, what="the file is taken")
            assert done(daemon, run["run_id"])["output"] == text
        assert daemon.cli("state", "verify").returncode == 0
