"""Hooks of a real daemon: scripts as users write them, around real tool calls, runs and sessions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, bash, call, until

SCRIPTS = Path(__file__).parents[2] / "examples" / "hooks"
PERMISSIONS = {
    "mode": "default",
    "rules": [
        {"tool": "bash", "match": "echo *", "decision": "allow"},
        {"tool": "bash", "match": "pytest *", "decision": "allow"},
        {"tool": "bash", "match": "rm *", "decision": "allow"},
        {"tool": "write_file", "match": "**", "decision": "allow"},
        {"tool": "read_file", "decision": "allow"},
    ],
}
Go = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("hooks"), permissions=PERMISSIONS) as daemon:
        yield daemon


@pytest.fixture
def go(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Go]:
    """`go(turns, guard={…})`: a run of a new session with a scripted model and these hooks, which are then removed."""
    made: list[str] = []
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[-60:].strip("-")

    def run(turns: list[dict[str, Any]], content: str = "go", wait: str = "30s", **hooks: Any) -> dict[str, Any]:
        for id, file in hooks.items():
            put(daemon, id, file)
            made.append(id)
        daemon.http("PUT", f"/v1/routes/{name}", {"driver": "scripted", "script": {"turns": turns}})
        daemon.client.sessions.create(name, route=name)
        return dict(daemon.client.runs.start(name, content, wait=wait).data)

    yield run
    for id in made:
        daemon.http("DELETE", f"/v1/hooks/{id}")


def put(daemon: Daemon, id: str, file: dict[str, Any]) -> dict[str, Any]:
    answer = daemon.http("PUT", f"/v1/hooks/{id}", file)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


def script(name: str, **more: Any) -> dict[str, Any]:
    return {"command": str(SCRIPTS / name), **more}


def python(code: str, **more: Any) -> dict[str, Any]:
    """A hook that runs Python code."""
    return {"command": [sys.executable, "-S", "-E", "-c", code], **more}


def results(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    return [entry["data"] for entry in daemon.journal(session) if entry["kind"] == "tool.finished"]


def ran(daemon: Daemon, session: str, event: str) -> list[dict[str, Any]]:
    """The outcomes at an event, without those at which no hook ran."""
    entries = [entry["data"] for entry in daemon.journal(session) if entry["kind"] == "hooks.ran"]
    return [entry for entry in entries if entry["event"] == event and entry["outcomes"]]


# --- scripts as users write them --------------------------------------------------------------------------------------


def test_a_script_blocks_rm_rf_by_exit_status_2(daemon: Daemon, go: Go) -> None:
    (daemon.workspace / "data").mkdir()
    turns = [bash("rm -rf data"), bash("echo hello"), {"text": "{{last_result}}"}]
    run = go(turns, guard=script("block_rm.sh", events="PreToolUse", matcher="Bash"))

    assert run["status"] == "completed" and run["output"].startswith("hello")
    refused = results(daemon, run["session_id"])[0]
    assert refused["code"] == "permission_denied" and "move the files to .trash/" in refused["content"]
    assert (daemon.workspace / "data").is_dir()
    outcome = ran(daemon, run["session_id"], "pre_tool_use")
    assert [one["outcomes"][0]["result"] for one in outcome] == ["blocked", "ok"]
    decided = [entry["data"] for entry in daemon.journal(run["session_id"]) if entry["kind"] == "permission.decided"]
    assert decided[0]["origin"] == "hook guard" and decided[0]["decision"] == "deny"


def test_a_script_denies_writes_to_env_with_json_on_stderr(daemon: Daemon, go: Go) -> None:
    patch = "*** Begin Patch\n*** Add File: .env\n+A=1\n*** End Patch\n"
    turns = [
        {"tool_calls": [call("write_file", path=".env", content="A=1"), call("apply_patch", patch=patch)]},
        {"tool_calls": [call("write_file", path="notes.txt", content="x")]},
        {"text": "done"},
    ]
    run = go(turns, guard=script("protect_env.py", events=["pre_tool_use"], matcher="Edit|Write"))

    first = results(daemon, run["session_id"])
    assert (
        all("holds secrets; ask a person" in one["content"] for one in first[:2])
        and not (daemon.workspace / ".env").exists()
    )
    assert (daemon.workspace / "notes.txt").read_text() == "x"


def test_a_script_rewrites_a_command(daemon: Daemon, go: Go) -> None:
    turns = [bash("pytest --version"), {"text": "done"}]
    run = go(turns, quiet=script("quiet_tests.py", events="PreToolUse", matcher="Bash"))

    started = [one["data"] for one in daemon.journal(run["session_id"]) if one["kind"] == "tool.started"]
    assert started[0]["arguments"] == {"command": "pytest --version -q"}
    assert run["status"] == "completed"


def test_a_script_adds_context_at_the_start_of_a_session(daemon: Daemon, go: Go) -> None:
    turns = [{"expect": "release branch is frozen", "text": "I know."}]
    run = go(turns, welcome=script("welcome.sh", events="SessionStart", matcher="startup"))

    assert (run["status"], run["output"]) == ("completed", "I know.")
    route = {"driver": "scripted", "script": {"turns": [{"text": "again"}]}}
    daemon.http("PUT", f"/v1/routes/{run['route']}", route)
    again = daemon.client.runs.start(run["session_id"], "go on", wait="30s")
    assert again.data["status"] == "completed"
    assert len(ran(daemon, run["session_id"], "session_start")) == 1


def test_a_script_does_not_let_the_run_stop_until_a_file_exists(daemon: Daemon, go: Go) -> None:
    (daemon.workspace / "REPORT.md").unlink(missing_ok=True)
    turns = [
        {"text": "I am done."},
        {"expect": "Write REPORT.md first", "tool_calls": [call("write_file", path="REPORT.md", content="all")]},
        {"text": "Now I am."},
    ]
    run = go(turns, report=script("until_done.sh", events=["Stop"]))

    assert (run["status"], run["output"]) == ("completed", "Now I am.")
    assert [one["decision"] for one in ran(daemon, run["session_id"], "stop")] == ["deny", None]


def test_a_stop_is_refused_eight_times_at_most(daemon: Daemon, go: Go) -> None:
    said = python("import json,sys; print(json.dumps({'decision': 'block', 'reason': 'no'}))", events="stop")
    run = go([{"text": "done"}], never=said)

    assert run["status"] == "failed" and run["error"]["code"] == "stop_hook_limit"
    assert len(ran(daemon, run["session_id"], "stop")) == 9


# --- what hooks read --------------------------------------------------------------------------------------------------

_KEEP = "import sys, os; open(os.environ['INTO'], 'a').write(sys.stdin.read())"


def test_the_input_is_one_line_in_the_public_form(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    into = tmp_path / "inputs"
    events = ["PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop", "SessionStart", "PostToolBatch"]
    turns = [
        {"tool_calls": [call("write_file", path="a.txt", content="hä"), call("read_file", path="a.txt")]},
        bash("echo hello", timeout=5),
        {"text": "all done"},
    ]
    run = go(turns, "the prompt", keep=python(_KEEP, events=events, env={"INTO": str(into)}))
    assert run["status"] == "completed"

    lines = into.read_text().splitlines()
    inputs = [json.loads(line) for line in lines]
    assert [one["hook_event_name"] for one in inputs] == [
        "SessionStart", "UserPromptSubmit", "PreToolUse", "PreToolUse", "PostToolUse", "PostToolUse", "PostToolBatch",
        "PreToolUse", "PostToolUse", "PostToolBatch", "Stop",
    ]  # fmt: skip
    first, prompt, write, read = inputs[:4]
    workspace = str(daemon.workspace)
    assert list(first)[:6] == [
        "session_id", "transcript_path", "cwd", "permission_mode", "hook_event_name", "model",
    ]  # fmt: skip
    assert first["cwd"] == workspace and first["source"] == "startup" and first["session_id"] == run["session_id"]
    assert prompt["prompt"] == "the prompt"
    assert (write["tool_name"], read["tool_name"]) == ("Write", "Read")
    assert write["tool_input"] == {"file_path": f"{workspace}/a.txt", "content": "hä"}
    assert list(write).index("tool_name") < list(write).index("tool_input")
    command, after = inputs[7], inputs[8]
    assert command["tool_input"] == {"command": "echo hello", "timeout": 5000, "run_in_background": False}
    assert after["tool_response"]["stdout"].startswith("hello") and after["duration_ms"] >= 0
    assert inputs[-1]["last_assistant_message"] == "all done" and inputs[-1]["stop_hook_active"] is False
    transcript = [json.loads(line) for line in Path(inputs[-1]["transcript_path"]).read_text().splitlines()]
    assert transcript[0]["type"] == "user" and transcript[0]["message"]["content"] == "the prompt"
    assert transcript[-1]["message"] == {"role": "assistant", "content": [{"type": "text", "text": "all done"}]}
    uses = [part for one in transcript for part in one["message"]["content"] if isinstance(part, dict)]
    assert {"Write", "Read", "Bash"} == {part["name"] for part in uses if part["type"] == "tool_use"}


def test_the_environment_is_clean(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    into = tmp_path / "env"
    code = f"import os, json; open({str(into)!r}, 'w').write(json.dumps(dict(os.environ)))"
    go([{"text": "x"}], look=python(code, events="SessionStart", env={"MINE": "1"}))

    seen = json.loads(into.read_text())
    assert seen["CLAUDE_PROJECT_DIR"] == seen["KHEISH_WORKSPACE"] == str(daemon.workspace) and seen["MINE"] == "1"
    assert not [name for name in seen if "TOKEN" in name or name.startswith("KHEISH_S")]


# --- decisions --------------------------------------------------------------------------------------------------------


def said(answer: dict[str, Any]) -> str:
    return f"print({json.dumps(answer)!r})"


def decision(what: str, **more: Any) -> str:
    own = {"hookEventName": "PreToolUse", "permissionDecision": what, "permissionDecisionReason": "because", **more}
    return said({"hookSpecificOutput": own})


def test_an_allow_answers_an_ask_of_the_mode_with_may_allow_only(daemon: Daemon, go: Go) -> None:
    turns = [bash("uname"), {"text": "{{last_result}}"}]
    run = go(turns, wait="10s", allows=python(decision("allow"), events="PreToolUse"))
    assert run["status"] == "waiting_for_approval"
    daemon.client.runs.cancel(run["run_id"])

    put(daemon, "allows", python(decision("allow"), events="PreToolUse", may_allow=True))
    again = daemon.client.runs.start(run["session_id"], "go", wait="30s").data
    assert again["status"] == "completed" and "Linux" in again["output"]


def test_ask_and_defer_ask(daemon: Daemon, go: Go) -> None:
    turns = [bash("echo hello"), {"text": "done"}]
    run = go(turns, wait="10s", asks=python(decision("defer"), events="PreToolUse"))

    assert run["status"] == "waiting_for_approval"
    [waiting] = run["pending_approvals"]
    assert "asked about by the hook asks: because" in daemon.client.approvals.get(waiting)["why"]
    daemon.client.approvals.allow(waiting)
    assert daemon.run(run["run_id"])["status"] == "completed"


def test_continue_false_ends_the_run_as_interrupted(daemon: Daemon, go: Go) -> None:
    stops = python(said({"continue": False, "stopReason": "enough"}), events="PostToolUse")
    run = go([bash("echo hello"), {"text": "done"}], stops=stops)

    assert run["status"] == "interrupted"
    assert daemon.journal(run["session_id"])[-1]["data"]["reason"] == "enough"


def test_a_refused_prompt_fails_the_run_and_reaches_no_model(daemon: Daemon, go: Go) -> None:
    refuses = python("import sys; print('no secrets', file=sys.stderr); sys.exit(2)", events="UserPromptSubmit")
    run = go([{"text": "hello"}], "my password is x", refuses=refuses)

    assert run["status"] == "failed" and run["error"]["code"] == "prompt_refused"
    assert "no secrets" in run["error"]["message"] and "model.requested" not in daemon.kinds(run["session_id"])


def test_a_result_is_replaced_and_commented(daemon: Daemon, go: Go) -> None:
    own = {"hookEventName": "PostToolUse", "updatedToolOutput": "changed", "additionalContext": "look at the clock"}
    turns = [bash("echo hello"), {"expect": "look at the clock", "text": "done"}]
    run = go(turns, changes=python(said({"hookSpecificOutput": own}), events="PostToolUse"))

    assert run["status"] == "completed"
    transcript = Path(daemon.root / f".kheish/transcripts/{run['session_id']}.jsonl").read_text()
    assert "hello" in transcript


def test_hooks_run_in_the_order_of_their_names_and_a_block_ends_the_deciding(
    daemon: Daemon, go: Go, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    def notes(name: str, more: str = "") -> str:
        return f"open({str(log)!r}, 'a').write({name!r} + ' ')\n{more}"

    go(
        [bash("echo hello"), {"text": "done"}],
        a=python(notes("a"), events="PreToolUse"),
        b=python(notes("b", "import sys; sys.exit(2)"), events="PreToolUse"),
        c=python(notes("c"), events="PreToolUse"),
        d=python(notes("d"), events="PreToolUse", observe=True),
    )
    assert log.read_text().split() == ["a", "b", "d"]


def test_conditions_and_matchers(daemon: Daemon, go: Go) -> None:
    never = python("import sys; sys.exit(2)", events="PreToolUse", matcher="Bash", **{"if": "Bash(rm *)"})
    other = python("import sys; sys.exit(2)", events="PreToolUse", matcher="mcp__.*")
    run = go([bash("echo hello"), bash("rm nothing"), {"text": "done"}], never=never, other=other)

    first, second = results(daemon, run["session_id"])
    assert not first["is_error"] and second["code"] == "permission_denied"


# --- hooks that fail --------------------------------------------------------------------------------------------------


def test_a_hook_that_hangs_is_ended_with_all_its_children(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = f"sleep 300 & echo $! > {pids}; sleep 300"
    run = go([bash("echo hello"), {"text": "{{last_result}}"}], hangs={
        "command": command, "events": ["PreToolUse"], "timeout": "500ms",
    })  # fmt: skip

    assert run["status"] == "completed" and run["output"].startswith("hello")
    [outcome] = ran(daemon, run["session_id"], "pre_tool_use")[0]["outcomes"]
    assert outcome["result"] == "failed" and "longer than 0.5 s" in outcome["reason"]
    until(lambda: not Path(f"/proc/{pids.read_text().strip()}").exists(), 10, what="the child has ended")
    dead = daemon.http("GET", "/v1/hooks/hangs/invocations?status=dead").json()["items"]
    assert [one["invocation_id"] for one in dead] == [outcome["invocation_id"]]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("import sys; sys.stdout.write('x' * 100_000_000)", "wrote more than"),
        ("import sys; print('oh no', file=sys.stderr); sys.exit(1)", "exit status 1: oh no"),
        ("print('{\"a\": ' * 100_000)", "levels deep"),
        ("print('{broken')", "no JSON"),
    ],
    ids=["dies", "floods", "fails", "nests", "breaks"],
)
def test_a_failing_hook_is_open_or_closed(daemon: Daemon, go: Go, code: str, reason: str) -> None:
    turns = [bash("echo hello"), {"text": "{{last_result}}"}]
    run = go(turns, fails=python(code, events="PreToolUse"))
    [outcome] = ran(daemon, run["session_id"], "pre_tool_use")[0]["outcomes"]
    assert outcome["result"] == "failed" and reason in outcome["reason"] and run["output"].startswith("hello")

    put(daemon, "fails", python(code, events="PreToolUse", failure="closed"))
    again = daemon.client.runs.start(run["session_id"], "go", wait="30s").data
    assert "gave no answer" in results(daemon, again["session_id"])[-1]["content"]


def test_odd_bytes_are_read(daemon: Daemon, go: Go) -> None:
    code = "import sys; sys.stdout.buffer.write(b'caf\\xe9 \\x00 \\xff ok'); sys.stderr.buffer.write(b'\\xff')"
    run = go([{"expect": "caf", "text": "done"}], odd=python(code, events="SessionStart"))
    assert run["status"] == "completed"


# --- other executors --------------------------------------------------------------------------------------------------


def test_a_prompt_asks_a_model_and_its_cost_counts(daemon: Daemon, go: Go) -> None:
    said = json.dumps({"ok": False, "reason": "not on a Friday"})
    daemon.http(
        "PUT",
        "/v1/routes/judge",
        {"driver": "scripted", "script": {"turns": [{"text": f"```json\n{said}\n```"}] * 3, "after_last": "repeat"}},
    )
    turns = [{"tool_calls": [call("write_file", path="b.txt", content="x")]}, {"text": "done"}]
    judge = {"prompt": {"text": "May it? $ARGUMENTS", "route": "judge"}, "events": "PreToolUse", "matcher": "Write"}
    run = go(turns, judge=judge)

    assert "not on a Friday" in results(daemon, run["session_id"])[0]["content"]
    assert run["usage"]["model_calls"] == 3
    daemon.http("DELETE", "/v1/hooks/judge")
    daemon.http("DELETE", "/v1/routes/judge")


def test_late_events_follow_the_journal(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    into = tmp_path / "late"
    events = ["session_end", "run_finished", "approval_requested", "notification", "question_asked", "SessionEnd"]
    run = go([bash("uname"), {"text": "done"}], wait="10s", late=python(_KEEP, events=events, env={"INTO": str(into)}))
    daemon.client.approvals.deny(run["pending_approvals"][0])
    daemon.run(run["run_id"])
    daemon.client.sessions.end(run["session_id"])

    def seen() -> list[dict[str, Any]] | None:
        lines = into.read_text().splitlines() if into.exists() else []
        return [json.loads(line) for line in lines] if len(lines) == 4 else None

    inputs = {one["hook_event_name"]: one for one in until(seen, 20)}
    assert set(inputs) == {"approval_requested", "Notification", "run_finished", "SessionEnd"}
    assert inputs["run_finished"]["status"] == "completed" and inputs["approval_requested"]["tool_name"] == "Bash"
    assert "Permission is needed to use Bash" in inputs["Notification"]["message"]


def test_a_trial_shows_the_answer(daemon: Daemon, go: Go) -> None:
    put(daemon, "trial", script("block_rm.sh", events="PreToolUse", matcher="Bash"))
    given = {"tool_name": "Bash", "tool_input": {"command": "rm -rf /"}}
    done = daemon.cli("hooks", "test", "trial", json.dumps(given), "--output", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["result"], answer["matches"], answer["answer"]["decision"]) == ("blocked", True, "deny")
    shown = daemon.http("GET", "/v1/hooks/trial").json()
    assert (shown["trusted"], shown["runs"], shown["failures"]) == (True, 1, 0)
    daemon.http("DELETE", "/v1/hooks/trial")


_SLOW_ONCE = """\
import os, time
old = os.path.exists("{mark}")
open("{mark}", "a").write("x")
old or time.sleep(60)
"""


# --- kills ------------------------------------------------------------------------------------------------------------


def test_a_kill_during_a_hook_repeats_it_with_the_same_id(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = _SLOW_ONCE.format(mark=mark)
    run = go([bash("echo hello"), {"text": "{{last_result}}"}], wait="0s", slow=python(code, events="PreToolUse"))
    until(lambda: mark.exists() and mark.read_text(), 20)
    daemon.restart()

    done = daemon.run(run["run_id"])
    assert done["status"] == "completed" and done["output"].startswith("hello")
    assert mark.read_text() == "xx"
    [outcome] = ran(daemon, run["session_id"], "pre_tool_use")[0]["outcomes"]
    invocations = daemon.http("GET", "/v1/hooks/slow/invocations").json()["items"]
    assert [one["invocation_id"] for one in invocations] == [outcome["invocation_id"]]
    assert daemon.http("GET", "/v1/hooks/slow").json()["runs"] == 2
    started = [one for one in daemon.journal(run["session_id"]) if one["kind"] == "tool.started"]
    assert len(started) == 1


def test_a_kill_during_a_late_hook_repeats_it(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    mark = tmp_path / "late-mark"
    code = _SLOW_ONCE.format(mark=mark)
    go([{"text": "done"}], late=python(code, events="run_finished"))
    until(mark.exists, 20)
    daemon.restart()

    until(lambda: mark.read_text() == "xx", 20)
    until(lambda: daemon.http("GET", "/v1/hooks/late/invocations").json()["items"][0]["status"] == "settled", 20)


def test_an_interrupted_run_ends_its_hook(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    run = go([bash("echo hello"), {"text": "done"}], wait="0s", held=python(code, events="PreToolUse"))
    until(lambda: pid.exists() and pid.read_text(), 20)
    daemon.client.sessions.interrupt(run["session_id"])

    assert daemon.run(run["run_id"])["status"] == "interrupted"
    until(lambda: not Path(f"/proc/{pid.read_text()}").exists(), 10, what="the hook has ended")
    [known] = daemon.http("GET", "/v1/hooks/held/invocations").json()["items"]
    assert (known["status"], known["result"]) == ("settled", "cancelled")


def test_a_script_that_changes_during_a_run_is_not_started(daemon: Daemon, go: Go, tmp_path: Path) -> None:
    script, mark = tmp_path / "check.sh", tmp_path / "pwned"
    script.write_text("#!/bin/sh\ntrue\n")
    script.chmod(0o755)
    run = go(
        [bash("uname"), bash("echo hello"), {"text": "done"}], wait="10s",
        check={"events": ["PreToolUse"], "command": str(script)},
    )  # fmt: skip
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    daemon.client.approvals.deny(run["pending_approvals"][0])

    assert daemon.run(run["run_id"])["status"] == "completed" and not mark.exists()
    outcomes = [one["outcomes"][0]["result"] for one in ran(daemon, run["session_id"], "pre_tool_use")]
    assert outcomes == ["ok", "untrusted"]


def test_hooks_of_a_run_survive_a_checkpoint_and_edits(daemon: Daemon, go: Go) -> None:
    refuses = python("import sys; sys.exit(2)", events="PreToolUse", matcher="Bash", **{"if": "Bash(rm *)"})
    turns: list[dict[str, Any]] = [bash(f"echo {'x' * 3000}{at}") for at in range(6)]
    turns += [bash("uname"), bash("rm x"), {"text": "done"}]
    daemon.http("PUT", "/v1/hooks/guard", refuses)
    name = "checkpointed"
    route = {"driver": "scripted", "script": {"turns": turns}, "capabilities": {"context_window": 6000}}
    daemon.http("PUT", f"/v1/routes/{name}", route)
    daemon.client.sessions.create(name, route=name)
    run = daemon.client.runs.start(name, "go", wait="30s").data
    assert run["status"] == "waiting_for_approval" and "checkpoint" in daemon.kinds(name)
    daemon.http("DELETE", "/v1/hooks/guard")
    daemon.restart()
    daemon.client.approvals.deny(run["pending_approvals"][0])

    assert daemon.run(run["run_id"])["status"] == "completed"
    assert results(daemon, name)[-1]["code"] == "permission_denied"
    assert ran(daemon, name, "pre_tool_use")[-1]["decision"] == "deny"


def test_a_run_shows_the_words_of_hooks(daemon: Daemon, go: Go) -> None:
    put(daemon, "words", python(said({"systemMessage": "look here"}), events="SessionStart"))
    done = daemon.cli("run", "shows-words", "hi", "--route", _echo(daemon), "--follow")
    assert done.returncode == 0 and "(hook words: look here)" in done.stdout
    assert "(hook words" not in daemon.client.runs.list(session="shows-words")["items"][0]["output"]
    daemon.http("DELETE", "/v1/hooks/words")


def _echo(daemon: Daemon) -> str:
    daemon.http("PUT", "/v1/routes/echo", {"driver": "scripted", "script": {"echo": True}})
    return "echo"


def test_a_run_without_hooks_has_no_entry_of_them(daemon: Daemon, go: Go) -> None:
    run = go([bash("echo hello"), {"text": "done"}])
    assert not [kind for kind in daemon.kinds(run["session_id"]) if "hook" in kind]
    assert not list((daemon.root / ".kheish").glob(f"transcripts/{run['session_id']}*"))
