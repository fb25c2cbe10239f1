"""Exit codes, errors, and options wherever people type them."""

import json
import re
import subprocess
import sys

import click
import pytest

from kheish.cli.main import COMMANDS, cli, main
from tests.support.daemon_standin import Standin, problem

APPROVAL = {
    "approval_id": "appr_1", "session_id": "s", "run_id": "run_1", "tool": "bash", "arguments": {"command": "make"},
    "digest": "d", "files": [], "why": "no rule", "risk": "medium", "status": "pending",
    "requested_at": "2026-11-22T12:00:00Z",
    "expires_at": None, "required": 1, "decisions": [],
}  # fmt: skip
PAGE = {"items": [APPROVAL], "next_cursor": None}


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "invalid_request", 2),
        (401, "unauthorized", 7),
        (403, "forbidden", 7),
        (404, "not_found", 3),
        (409, "session_conflict", 4),
        (412, "precondition_failed", 4),
        (400, "invalid_definition", 1),
        (503, "unavailable", 6),
        (500, "internal", 1),
    ],
)
def test_what_the_daemon_refuses_becomes_the_exit_code(
    at: Standin, capsys: pytest.CaptureFixture[str], status: int, code: str, exit_code: int
) -> None:
    at.answers["GET /v1/sessions/s"] = problem(status, code, "Do that.", errors=[{"path": "/a", "message": "is wrong"}])

    assert main(["sessions", "show", "s"]) == exit_code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "kheish: Do that.\n  /a: is wrong\n")

    assert main(["sessions", "show", "s", "--output", "json"]) == exit_code
    assert json.loads(capsys.readouterr().err)["code"] == code


def test_a_daemon_that_is_not_there_is_6_with_what_to_type(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--state-root", str(tmp_path)]) == 6
    assert "kheish init" in capsys.readouterr().err
    assert main(["--url", "http://127.0.0.1:1", "--output", "json", "status"]) == 6
    assert json.loads(capsys.readouterr().err)["code"] == "unreachable"


@pytest.mark.parametrize(
    "words",
    [
        ["runz"],
        ["runs", "show"],
        ["runs", "list", "--nope"],
        ["--output", "xml", "status"],
        ["9" * 5000],
        ["goals", "raise", "s", "--tokens", "9" * 5000],
        ["goals", "raise", "s", "--tokens", "-" + "9" * 4000],
        ["goals", "list", "--status", "so long " * 600],
    ],
)
def test_usage_errors_are_2_and_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("kheish: ") and err.count("\n") == 1 and len(err) < 500

    assert main(["--output=json", *words]) == 2
    assert json.loads(capsys.readouterr().err)["code"] == "usage"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_common_options_are_taken_anywhere(at: Standin, capsys: pytest.CaptureFixture[str], place: int) -> None:
    at.answers["GET /v1/approvals"] = 200, PAGE
    words = ["approvals", "list"]
    words[place:place] = ["--output", "json"]

    assert main(words) == 0

    assert json.loads(capsys.readouterr().out) == PAGE
    assert at.asked[0].query == {"status": "pending"}


def test_quiet_prints_ids_and_yaml_is_yaml(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    at.answers["GET /v1/approvals"] = 200, PAGE
    assert main(["approvals", "list", "-q"]) == 0
    assert capsys.readouterr().out == "appr_1\n"
    assert main(["approvals", "list", "--output", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == PAGE


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys; from kheish.cli.main import main; main(['--help']);"
        "heavy = {'httpx', 'pydantic', 'yaml', 'http.client', 'asyncio', 'kheish.client', 'kheish.cli.runs'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0

    assert capsys.readouterr().out.startswith(f"Usage: kheish {name} ")


def test_the_program_ends_with_the_exit_code() -> None:
    code = "import sys; from kheish.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--url", "http://127.0.0.1:1", "status"]

    assert subprocess.run(command, capture_output=True, check=False).returncode == 6
    assert cli.name == "cli"


@pytest.mark.parametrize("words", [["problems"], ["problems", "list"]])
def test_problems_are_listed_with_and_without_the_verb(
    at: Standin, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    found = {"problem_id": "p_1", "severity": "error", "path": "kheish.yaml", "line": 2, "column": 1, "message": "no"}
    at.answers["GET /v1/problems"] = 200, {"items": [found], "next_cursor": None}

    assert main([*words, "--limit", "1"]) == 0
    assert "kheish.yaml:2:1" in capsys.readouterr().out and at.of("GET /v1/problems")[0].query["limit"] == "1"
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == "p_1\n"


def test_problems_drop_no_option_before_the_verb(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems", "--limit", "1", "list"]) == 2
    assert "after `list`" in capsys.readouterr().err and not at.asked


def test_helps_have_the_article_of_their_noun() -> None:
    context = click.Context(cli)
    helps = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        helps += [one.help for one in inner if one is not None and one.help]

    assert "Create an output from FILE (`-`: stdin); fails if it exists." in helps
    wrong = re.compile(r"\b[Aa] (?:[aeio]|un|M[A-Z])\w*|\b[Aa]n [bcdfgjklmnpqrstvwxyz]\w*")
    assert [found for text in helps if (found := wrong.search(text))] == []
