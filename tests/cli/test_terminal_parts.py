"""The parts of the conversation on a terminal: wrapped lines, blocks of Markdown, folded results, the status line."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from hypothesis import given, strategies as st
from prompt_toolkit.utils import get_cwidth

from kheish.cli.cells import clip
from kheish.cli.followed import Followed, show_end
from kheish.cli.terminal.activity import Activity
from kheish.cli.terminal.folding import Folds
from kheish.cli.terminal.markdown import Blocks, render
from kheish.cli.terminal.transcript import Transcript
from kheish.cli.terminal.wrapping import wrap
from kheish.client.sse import Event
from tests.security.test_terminal import EVIL, OBEYED

WORDS = st.text(alphabet="ab cé日\u0301", max_size=80)


def event(kind: str, **data: Any) -> Event:
    return Event(kind, 1, "s", "run_1", None, None, data, "")


@given(WORDS, st.integers(4, 40))
def test_wrapped_lines_fit_and_lose_no_word(line: str, width: int) -> None:
    lines = wrap(line, width)
    assert all(get_cwidth(part) <= width for part in lines)
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")
    assert get_cwidth(clip(line, width)) <= width


def test_lines_are_wrapped_at_words_with_their_indent() -> None:
    assert wrap("  one two three", 9) == ["  one two", "  three"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


TEXT = "# Title\n\nA paragraph\nof two lines.\n\n- a\n\n  more of a\n- b\n\n```py\nx = 1\n\ny = 2\n```\n\nend"


@given(st.lists(st.integers(0, len(TEXT)), max_size=6))
def test_blocks_do_not_depend_on_how_the_text_came(cuts: list[int]) -> None:
    places = sorted({0, *cuts, len(TEXT)})
    blocks = Blocks()
    found = [block for begin, end in pairwise(places) for block in blocks.feed(TEXT[begin:end])]
    found.append(blocks.flush())
    assert "".join(found) == TEXT
    whole = Blocks()
    assert [*whole.feed(TEXT + "\n"), whole.flush().rstrip("\n")][-1] == found[-1].rstrip("\n")
    assert any(block.startswith("```py") and "y = 2\n```" in block for block in found)
    assert any("more of a\n- b" in block for block in found)


def test_markdown_never_writes_what_a_terminal_obeys() -> None:
    text = f"{EVIL} **{EVIL}** [a](http://x/{EVIL}) <b>tag</b> ![i](http://y)\n\n```\n{EVIL}\n```\n"
    shown = click.unstyle(render(text, 80))
    assert not OBEYED.search(shown.replace("\n", ""))
    assert "<b>tag</b>" in shown and "http://y" in shown
    assert "\x1b]" not in render("[text](http://evil)", 80)


def test_long_results_are_folded_and_kept() -> None:
    folds = Folds()
    transcript = Transcript(lambda: 80, folds)
    transcript.feed(event("tool.started", call_id="c", tool="bash", arguments={"command": "seq 9"}))
    shown = transcript.feed(event("tool.finished", call_id="c", tool="bash", content="\n".join("123456789")))
    assert "  6\n" in shown and "  7\n" not in shown and "/output 1 shows all 9 lines" in shown
    fold = folds.find(1)
    assert fold is not None and folds.find() == fold and folds.find(2) is None
    assert transcript.unfolded(fold).endswith("  8\n  9\n")
    for _ in range(60):
        folds.keep("x", [("line", {})])
    assert folds.find(1) is None and folds.find(61) is not None


def test_the_line_at_the_end_of_a_run_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"usage": {"model_calls": 2, "tool_calls": 1}}
    followed = SimpleNamespace(status="completed", data=data, ending=list)
    show_end(Transcript(lambda: 20, Folds()), cast(Followed, followed))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert lines == ["completed · 2 model", "calls · 1 tool call"]


def test_words_are_printed_by_whole_blocks_and_shown_before() -> None:
    transcript = Transcript(lambda: 80, Folds())
    assert transcript.feed(event("model.delta", turn=0, attempt=1, offset=0, text="Hello **you**.\nAnd")) == ""
    assert transcript.live(5) == ("Hello **you**.", "And")
    shown = transcript.feed(event("model.responded", turn=0, text="Hello **you**.\nAnd more."))
    assert "And more." in shown and "**" not in shown and transcript.live(5) == ()


def test_the_status_line_says_what_how_long_and_how_to_stop() -> None:
    now = [100.0]
    activity = Activity(lambda: now[0])
    assert activity.line(80).endswith("sending 0 s · Esc stops")
    activity.feed(event("run.started"))
    now[0] += 5
    assert "thinking 5 s" in activity.line(80)
    activity.feed(event("model.responded", usage={"input_tokens": 1200, "output_tokens": 34, "cost_usd": 0.5}))
    activity.feed(event("tool.started", call_id="c", tool="bash", arguments={"command": "make \x1b[2J"}))
    now[0] += 65
    line = activity.line(100)
    assert "running bash: make ␛[2J 1 min 05 s" in line and "1,234 tokens · $0.5000" in line
    activity.is_stopping = True
    assert activity.line(100).endswith(
        "stopping 1 min 05 s · 1 min 10 s in all · 1,234 tokens · $0.5000 · Ctrl-C leaves"
    )


@pytest.mark.parametrize("width", [1, 10, 30, 80, 200])
def test_the_status_line_fits(width: int) -> None:
    activity = Activity()
    activity.feed(event("tool.started", call_id="c", tool="bash", arguments={"command": "x" * 300}))
    assert get_cwidth(activity.line(width)) <= width
