"""`kheish tools`: all that the registry has, without a daemon."""

from __future__ import annotations

import json

import pytest

from kheish.cli.main import main
from kheish.offline import toolbook


@pytest.mark.found("C6")
def test_every_tool_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--quiet"]) == 0
    names = capsys.readouterr().out.split()
    assert names == [tool["name"] for tool in toolbook.tools()] and "bash" in names
    assert main(["tools", "read_file", "--output", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["effect"], shown["replay"]) == ("read", "safe")
    assert {"path", "offset", "limit"} <= {one["name"] for one in shown["arguments"]}
    assert main(["tools"]) == 0
    assert "coordination  questions\n" in capsys.readouterr().out
    assert main(["tools", "ask_user_question"]) == 0
    assert "questions[].options[].label: text, required" in capsys.readouterr().out


def test_an_unknown_tool_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "nothing"]) == 3
    assert "kheish tools" in capsys.readouterr().err
