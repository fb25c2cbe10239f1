"""Every option that a command accepts has an effect, or is refused."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kheish.cli.main import cli, main
from tests.support.daemon_standin import Standin, run_view


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reads_each_of_its_options(name: str) -> None:
    callback = COMMANDS[name].callback
    assert callback is not None
    function = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(callback)))).body[0]
    assert isinstance(function, ast.FunctionDef)
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    given = function.args.kwarg.arg if function.args.kwarg is not None else None
    own = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    for option in COMMANDS[name].params:
        if option.expose_value and option.name is not None:
            assert (option.name if option.name in own else given) in read, f"{option.opts} is accepted and ignored"


@pytest.mark.parametrize(
    "words",
    [
        "run s go --follow --wait 1s",
        "run s go --no-create --workspace w",
        "run s go --no-create --permission-mode plan",
        "runs cancel --session s --all",
        "runs cancel run_1 --session s",
        "runs cancel",
        "flows start p --follow --wait 1s",
        "secrets set slot --from-env A --file b",
        "secrets rotate slot --from-env A --file b",
        "sessions update s --route r --reset route",
        "sessions update s --allow-tool x --reset capability-scope",
        "trust --digest abc",
        "trust --yes",
        "trust p@1.0.0 --limit 3",
        "init a --state-root b",
        "init a --url http://127.0.0.1:1",
        "up a --state-root b",
        "stop --url http://127.0.0.1:1",
        "doctor --url http://127.0.0.1:1",
        "state verify --url http://127.0.0.1:1",
        "audit verify --url http://127.0.0.1:1",
        "serve --url http://127.0.0.1:1",
        "secrets reveal slot --url http://127.0.0.1:1",
        "backup add there --url http://127.0.0.1:1",
    ],
)
def test_options_that_exclude_each_other_are_refused(
    at: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    at.answers |= {"GET /v1/sessions": (200, {"items": [], "next_cursor": None}), "GET /v1/secrets/slot": (200, {})}
    assert main(words.split()) == 2
    assert not [one for one in at.asked if one.method != "GET"], "nothing was sent"
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.parametrize("selection", [{"session": "s"}, {"status": "queued"}, {"route": "r"}, {"all": True}])
def test_many_runs_are_cancelled_for_the_reason_that_is_given(at: Standin, selection: dict[str, object]) -> None:
    at.answers |= {
        "GET /v1/sessions": (200, {"items": [], "next_cursor": None}),
        "GET /v1/routes": (200, {"items": [], "next_cursor": None}),
        "POST /v1/runs/cancel": (200, {"items": [], "failed": []}),
    }
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in selection.items()]
    assert main(["runs", "cancel", *words, "--reason", "a mistake"]) == 0
    sent = at.of("POST /v1/runs/cancel")[0].json
    assert {name: value for name, value in sent.items() if value} == {**selection, "reason": "a mistake"}


@pytest.mark.parametrize(
    ("later", "line"),
    [
        ("cancelled", "run_1 is cancelled. Stopped with it: reviewer."),
        ("running", "run_1 was asked to stop, and still works. Stopped with it: reviewer."),
    ],
)
def test_a_cancel_waits_a_moment_for_the_end(
    at: Standin, capsys: pytest.CaptureFixture[str], later: str, line: str
) -> None:
    at.answers |= {
        "GET /v1/runs": (200, {"items": [run_view("running")], "next_cursor": None}),
        "GET /v1/runs/run_1": (200, run_view(later)),
        "POST /v1/runs/run_1/cancel": (200, run_view("running", stopped={"agents": ["reviewer"], "runs": []})),
        "POST /v1/runs/cancel": (200, {"items": [run_view(later)], "next_cursor": None}),
    }
    assert main(["runs", "cancel", "run_1"]) == 0
    assert capsys.readouterr().out == f"{line}\n"
    assert main(["runs", "cancel", "--all"]) == 0
    assert capsys.readouterr().out == f"{line.split(' Stopped')[0]}\n"
