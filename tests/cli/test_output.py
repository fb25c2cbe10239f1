"""Tables, colour, and what a terminal must not obey."""

import os
import pty
import subprocess
import sys
import time

import pytest
from rich.cells import cell_len

from kheish.cli import output
from kheish.cli.output import as_yaml, plain, shorten

CODE = "from kheish.cli.output import table; table([{'a': 'failed', 'b': 'x' * 300}], [('A', 'a'), ('B', 'b')])"


def on_a_terminal(**environment: str) -> str:
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    env = clean | {"TERM": "xterm", "COLUMNS": "60"} | environment
    subprocess.run([sys.executable, "-c", CODE], stdout=theirs, stdin=theirs, env=env, check=True)
    os.close(theirs)
    found = os.read(ours, 65536).decode()
    os.close(ours)
    return found


def test_colour_is_for_terminals_whose_owner_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b[31mfailed" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(TERM="dumb")
    output.table([{"a": "failed"}], [("A", "a")])
    assert capsys.readouterr().out == "A\nfailed\n"


def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert max(len(line) for line in on_a_terminal(NO_COLOR="1").splitlines()) == 60
    output.table([{"b": "x" * 300}], [("B", "b")])
    assert "x" * 300 in capsys.readouterr().out
    output.table([{"a": "x" * 300, "b": "y"}, {"a": "z", "b": "y"}], [("A", "a"), ("B", "b")])
    head, long, short = capsys.readouterr().out.splitlines()
    assert long == f"{'x' * 300}  y", "it is whole"
    assert short == f"z{' ' * 81}y" and len(head) == len(short), "and pads no other row to its length"


def test_wide_characters_do_not_shift_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    titles = ["plain", "請求書の確認", "ship 🚀 it", "👩\u200d💻 at work", "e\u0301te\u0301"]
    output.table([{"title": title, "end": "x"} for title in titles], [("TITLE", "title"), ("END", "end")])
    lines = capsys.readouterr().out.splitlines()
    assert {cell_len(line[: line.rindex("x")]) for line in lines[1:]} == {lines[0].index("END")}
    output.table([{"title": "a\tb\nc"}], [("TITLE", "title")])
    assert capsys.readouterr().out == "TITLE\na b c\n", "a tab has no width of its own"


def test_a_wide_text_is_cut_at_the_width_of_the_terminal() -> None:
    assert shorten("請求書の確認", 6) == "請求…"
    assert shorten("請求書", 6) == "請求書"


def test_control_characters_become_visible() -> None:
    assert plain("a\tb\r\nc\x1b[0m\x07\x9b1\u202ed\x7f") == "a\tb\nc␛[0m␇\ufffd1\ufffdd␡"
    assert shorten("first\nsecond", 80) == "first"
    assert shorten("x" * 20, 10) == "x" * 9 + "…"


def test_yaml_keeps_order_and_shows_texts_as_blocks() -> None:
    assert as_yaml({"b": "one\ntwo\n", "a": [1]}) == "b: |\n  one\n  two\na:\n- 1"
    assert as_yaml("word") == "word"


@pytest.mark.found("C12")
@pytest.mark.parametrize(
    ("zone", "shown"), [("UTC", "2026-11-28 12:00:01Z"), ("Europe/Berlin", "2026-11-28 13:00:01+01"),
                        ("Asia/Kolkata", "2026-11-28 17:30:01+0530")]
)  # fmt: skip
def test_times_are_local_and_say_their_offset(monkeypatch: pytest.MonkeyPatch, zone: str, shown: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert output.when("2026-11-28T12:00:01.123456Z") == shown
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.found("B6")
def test_what_an_ascii_terminal_cannot_take_is_escaped_as_json_does() -> None:
    code = (
        "import sys; from kheish.cli import main; main._write_what_the_terminal_can();"
        "sys.stdout.write('\"h\\u00e9 \\U0001f44d \\udce9\"')"
    )
    for encoding, wanted in (("ascii", rb'"h\u00e9 \ud83d\udc4d \udce9"'), ("utf-8", '"hé 👍 \\udce9"'.encode())):
        environ = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
        assert done.stdout == wanted


def test_times_are_local_and_marked_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kheish.cli.history import conversation

    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        output.details({"created_at": "2026-11-28T20:00:14.565776Z", "title": "2026-11-28T20:00:14Z is a time"})
        conversation("2026-11-28 20:00:14Z  asks  #5  ada\n    2026-11-28 20:00:14Z  said so")
    finally:
        monkeypatch.undo()
        time.tzset()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "created_at  2026-11-29 01:45:14+0545"
    assert lines[1:] == [
        "title       2026-11-28T20:00:14Z is a time",
        "2026-11-29 01:45:14+0545  asks  #5  ada",
        "    2026-11-28 20:00:14Z  said so",
    ]
