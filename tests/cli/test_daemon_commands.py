"""`stop`, `log`, `events`, `permissions check`, definitions, `completion`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kheish.cli.main import main
from tests.support.daemon_standin import Standin, frame, problem


def note(root: Path, pid: int) -> None:
    (root / ".kheish" / "daemon.json").write_text(json.dumps({"pid": pid, "url": "http://127.0.0.1:1"}))


@pytest.mark.parametrize(("ends", "code"), [("sys.exit(0)", 0), ("None", 1)])
def test_stop_signals_and_waits(at: Standin, ends: str, code: int) -> None:
    handler = f"import signal, sys, time; signal.signal(15, lambda *_: {ends})"
    daemon = f"{handler}; print('kheish', flush=True); time.sleep(30)"
    with subprocess.Popen([sys.executable, "-c", daemon], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"kheish\n"
        note(at.root, child.pid)
        try:
            assert main(["stop", "--timeout", "5s" if code == 0 else "100ms"]) == code
        finally:
            child.kill()


def test_stop_spares_a_process_that_only_has_the_old_number(at: Standin) -> None:
    other = subprocess.Popen(["sleep", "30"])
    note(at.root, other.pid)

    try:
        assert main(["stop"]) == 6
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_log_comes_from_git_where_no_daemon_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kheish.yaml").touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Ann", "-c", "user.email=a@b.c"]
    subprocess.run([*git[:3], "init", "-q"], check=True)
    for message in ("one\n\nKheish-Session: a", "two\n\nKheish-Session: b"):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)

    assert main(["log", "--state-root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[2:] for line in lines] == [["two", "(Ann)"], ["one", "(Ann)"]]
    assert main(["log", "a", "--state-root", str(tmp_path), "--output", "json"]) == 0
    assert [one["message"] for one in json.loads(capsys.readouterr().out)["items"]] == ["one"]


def test_events_are_lines_verbatim(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.streams["/v1/events"] = [
        [frame(4, "tool.started", tool="bash", arguments={"command": "ls"}), frame(None, "x")]
    ] * 2

    assert main(["events", "--after", "3", "--session", "s", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 4
    assert at.asked[0].query == {"session": "s", "after": "3"}
    assert main(["events"]) == 0
    assert "tool.started" in (out := capsys.readouterr().out) and "bash: ls" in out


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["bash", "git status"], {"command": "git status"}),
        (["bash", "A=1", "make"], {"command": "A=1 make"}),
        (["bash", '{"command": "ls"}'], {"command": "ls"}),
        (["read_file", "a.py"], {"path": "a.py"}),
        (["write_file", "path=a.py", "content=x=y"], {"path": "a.py", "content": "x=y"}),
    ],
)
def test_permissions_check_takes_arguments_as_people_type_them(
    at: Standin, words: list[str], arguments: dict[str, str]
) -> None:
    at.answers["POST /v1/permissions/check"] = 200, {"decision": "ask", "why": "mode default"}

    assert main(["permissions", "check", *words]) == 0

    assert at.asked[0].json == {"tool": words[0], "arguments": arguments}


def test_a_route_is_added_once_and_edited_with_its_etag(
    at: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "local.yaml"
    file.write_text("driver: scripted # mine\n")
    at.answers["PUT /v1/routes/local"] = 201, {"id": "local"}
    assert main(["routes", "add", "local", str(file)]) == 0
    assert at.of("PUT /v1/routes/local")[0].body == "driver: scripted # mine\n"

    at.headers["ETag"] = '"e1"'
    at.answers["GET /v1/routes/local"] = 200, "driver: scripted # mine\n"
    monkeypatch.setenv("VISUAL", "sed -i s/mine/ours/")
    assert main(["routes", "edit", "local"]) == 0
    edited = at.of("PUT /v1/routes/local")[1]
    assert (edited.body, edited.headers["if-match"]) == ("driver: scripted # ours\n", '"e1"')
    at.answers["GET /v1/routes/local"] = 200, {"id": "local"}
    assert main(["routes", "add", "local", str(file)]) == 4


def test_logs_are_read_from_the_top(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"number": n, "at": "2026-11-22T12:00:00.000000Z", "level": "info", "name": "x", "text": f"line {n}"}
             for n in (2, 1)]  # fmt: skip
    at.answers["GET /v1/logs"] = 200, {"items": lines, "next_cursor": "c"}
    assert main(["logs", "--level", "info"]) == 0
    out, err = capsys.readouterr()
    assert [line.rpartition(" ")[2] for line in out.splitlines()] == ["1", "2"] and "--cursor c" in err
    assert at.asked[0].query == {"level": "info"}


def test_usage_is_summed_up_by_what_is_asked_for(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    spent = {
        "model_calls": 2,
        "input_tokens": 30,
        "output_tokens": 4,
        "cached_tokens": 0,
        "cost_usd": 0.25,
        "estimated": False,
    }
    row = {"session_id": None, "route": "main", "day": "2026-11-22", **spent, "estimated": False}
    at.answers["GET /v1/usage"] = 200, {"items": [row], "next_cursor": None}
    assert main(["usage", "--session", "s"]) == 0
    assert at.asked[0].query == {"by": "route,day", "session": "s"}
    assert capsys.readouterr().out.splitlines()[1].split() == ["main", "2026-11-22", "2", "30", "0", "4", "0.2500"]


def test_a_session_is_changed_and_settings_are_taken_back(at: Standin) -> None:
    at.answers["PATCH /v1/sessions/s"] = 200, {"session_id": "s"}
    words = ["--title", "Mine", "--label", "a=b", "--deny-tool", "bash", "--reset", "permission-rules"]
    assert main(["sessions", "update", "s", *words]) == 0
    scope = {"allow": None, "deny": ["bash"]}
    wanted = {"title": "Mine", "labels": {"a": "b"}, "capability_scope": scope, "permission_rules": None}
    assert at.asked[0].json == wanted
    assert main(["sessions", "update", "s"]) == 2 and len(at.asked) == 1


def test_kheish_yaml_is_edited_and_only_written_where_it_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "root")]) == 0
    file = tmp_path / "root" / "kheish.yaml"
    before, words = file.read_text(), ["--state-root", str(tmp_path / "root"), "config", "edit"]
    monkeypatch.setenv("VISUAL", "sed -i '$a default_route: nosuch'")
    assert main(words) == 2
    assert "there is no route 'nosuch'" in capsys.readouterr().err and file.read_text() == before

    monkeypatch.setenv("VISUAL", "sed -i '$a shutdown_grace: 3s'")
    assert main(words) == 0
    assert file.read_text() == before + "shutdown_grace: 3s\n"


def test_an_empty_list_does_not_say_that_there_is_nothing_where_only_some_were_asked_for(
    at: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    at.answers["GET /v1/runs"] = 200, {"items": [], "next_cursor": None}
    assert main(["runs", "list"]) == 0 and "kheish run SESSION" in capsys.readouterr().err
    assert main(["runs", "list", "--status", "failed"]) == 0
    assert capsys.readouterr().err == "No matches.\n"


def test_a_list_shows_what_its_kind_has(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"id": "reviewer", "status": {"state": "ready"}, "value": {"display_name": "The reviewer"}}
    at.answers["GET /v1/personas"] = 200, {"items": [one], "next_cursor": None}
    assert main(["personas", "list"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "STATE", "SHOWN", "AS"] and row.split() == ["reviewer", "ready", "The", "reviewer"]


def test_validation_errors_are_1(at: Standin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("drivr: x\n")
    at.answers["POST /v1/routes/validate"] = (
        200,
        {
            "valid": False,
            "problems": [{"line": 1, "column": 1, "message": "unknown key 'drivr'; did you mean 'driver'?"}],
        },
    )
    assert main(["routes", "validate", str(file)]) == 1
    assert "1:1: unknown key 'drivr'; did you mean 'driver'?" in capsys.readouterr().out
    at.answers["POST /v1/routes/validate"] = problem(400, "invalid_definition", "drivr is unknown.")
    assert main(["routes", "validate", str(file)]) == 1


def test_completion_is_a_script_of_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        assert "_KHEISH_COMPLETE" in capsys.readouterr().out


def test_login_prints_a_link_with_the_daemons_address(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    made = {"path": "/login?code=kheish_link_x", "expires_at": "2026-11-22T12:00:00.000000Z"}
    at.answers["POST /v1/auth/login-links"] = 201, made
    at.answers["DELETE /v1/auth/login"] = 204, None

    assert main(["login"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{at.url}/login?code=kheish_link_x\n" and "valid once" in said.err
    assert main(["login", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == f"{at.url}/login?code=kheish_link_x"
    assert main(["logout"]) == 0
    assert len(at.of("DELETE /v1/auth/login")) == 1


def test_login_opens_the_browser_that_there_is(at: Standin, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    at.answers["POST /v1/auth/login-links"] = 201, {"path": "/login?code=x", "expires_at": "2026-11-22T12:00:00Z"}
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    words = [sys.executable, "-m", "kheish.cli.main", "login", "--open"]

    done = subprocess.run(words, env={**os.environ, "BROWSER": f"{browser} %s"}, check=False, capture_output=True)

    assert done.returncode == 0 and b"It is open in a browser" in done.stderr
    assert (tmp_path / "opened").read_text() == f"{at.url}/login?code=x"
