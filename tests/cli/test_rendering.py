"""Events in, text out."""

from typing import Any

import pytest

from kheish.cli.rendering import Rendering, short_call
from kheish.client.sse import Event

DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-old\n+new\n"


def event(kind: str, *, live: bool = False, **data: Any) -> Event:
    return Event(kind=kind, n=None if live else 1, session="s", run="run_1", at="t", actor="a", data=data, raw="")


def marked(text: str, **style: Any) -> str:
    return f"<{style.get('fg') or '-'}>{text}"


def text(*events: Event, paint: Any = lambda text, **_: text) -> str:
    rendering = Rendering(paint)
    return "".join(rendering.feed(one) for one in events)


def test_a_turn_reads_as_words_call_and_result() -> None:
    call = {"call_id": "c1", "tool": "bash", "arguments": {"command": "pytest -q"}}

    shown = text(
        event("model.delta", live=True, turn=1, attempt=1, offset=0, text="I run "),
        event("model.responded", turn=1, text="I run it.", calls=[]),
        event("permission.decided", decision="allow", **call),
        event("tool.started", **call),
        event("tool.finished", call_id="c1", tool="bash", is_error=False, content="\n".join("abcdefgh"), detail={}),
    )

    assert shown == "I run it.\n→ bash: pytest -q\n  a\n  b\n  c\n  d\n  e\n  f\n  … 2 more lines\n"


def test_a_diff_is_coloured_and_an_error_red() -> None:
    shown = text(
        event("tool.started", call_id="c1", tool="edit_file", arguments={"path": "x.py", "old": "a"}),
        event("tool.finished", call_id="c1", tool="edit_file", is_error=False, content="ok", detail={"diff": DIFF}),
        event("tool.finished", call_id="c2", tool="bash", is_error=True, content="exit 1", detail={}),
        paint=marked,
    )

    assert "<cyan>→ edit_file: x.py\n" in shown
    assert "<red>  -old\n<green>  +new\n" in shown
    assert "<cyan>← bash\n<red>  exit 1\n" in shown


def test_parallel_results_say_whose_they_are() -> None:
    start = [event("tool.started", call_id=c, tool="read_file", arguments={"path": c}) for c in ("a", "b")]
    end = [event("tool.finished", call_id=c, tool="read_file", is_error=False, content=f"in {c}") for c in ("a", "b")]

    assert text(*start, *end).endswith("← read_file: a\n  in a\n← read_file: b\n  in b\n")


def test_a_large_result_shows_its_preview() -> None:
    spill = {"spill": {"sha256": "abc", "bytes": 99999, "preview": "it begins"}}

    shown = text(event("tool.finished", call_id="c", tool="bash", is_error=False, content=spill, detail={}))

    assert "it begins\n" in shown and "99999 bytes in all, in spill/abc" in shown


def test_what_an_agent_writes_cannot_command_the_terminal() -> None:
    shown = text(
        event("model.responded", turn=1, text="\x1b[2Jhi\u202e"),
        event("tool.started", call_id="c", tool="bash", arguments={"command": "rm -rf /\rls"}),
    )

    assert "\x1b" not in shown and "\r" not in shown and "\u202e" not in shown
    assert "rm -rf /␍ls" in shown


def test_people_and_denials_are_told() -> None:
    shown = text(
        event("permission.decided", call_id="c", tool="bash", decision="deny", why="rule 3"),
        event("approval.resolved", approval_id="x", outcome="denied", decision="deny", by="ann", reason="no"),
        event(
            "question.answered", question_id="q", outcome="answered", answers={"q1": {"selected": ["a"], "text": None}}
        ),
        event("checkpoint", nouns={}),
    )

    assert shown == "✗ bash is not allowed: rule 3\n  denied by ann: no\n  answered: a\n"


def test_a_call_is_told_by_its_telling_argument() -> None:
    assert short_call({"tool": "bash", "arguments": {"command": "a\nb\nc"}}) == "bash: a (+2 lines)"
    assert short_call({"tool": "todo_write", "arguments": {"items": [1]}}) == 'todo_write: {"items": [1]}'
    assert len(short_call({"tool": "bash", "arguments": {"command": "x" * 500}})) < 120


def test_one_of_two_persons_the_mode_and_what_completes_a_run() -> None:
    findings = [{"number": 1, "met": True}, {"number": 2, "met": False, "told": "no"}, {"number": 3, "met": None}]
    shown = text(
        event("approval.decided", approval_id="x", by="token:ann", person="ann"),
        event("run.mode_changed", mode="plan", reason=None),
        event("completion.checked", turn=1, findings=findings, met=False, commands_met=False),
    )
    assert shown == (
        "  allowed by ann; a second person must allow it, too\n"
        "(permission mode: plan)\n"
        "(completion: 1 of 2 requirements met)\n"
    )


def test_requirements_that_nobody_can_check_are_not_counted_as_none_of_none() -> None:
    findings = [{"number": 1, "met": None}]
    assert text(event("completion.checked", turn=1, findings=findings, met=True, commands_met=True)) == ""


@pytest.mark.found("C9")
def test_what_failed_shows_its_end_and_the_exit_status() -> None:
    content = "\n".join([*map(str, range(20)), "AssertionError: 1 != 2", "[exit status 3]"])
    spilled = {"sha256": "ab", "bytes": 90_000, "preview": "a\n" * 20}
    for one, detail in ((content, {"exit_status": 3}), (spilled, {"exit_status": 3})):
        shown = text(event("tool.finished", call_id="c", tool="bash", is_error=True, content=one, detail=detail))
        assert shown.splitlines()[-1] == "  [exit status 3]" and "lines before" in shown
    assert "AssertionError" in text(event("tool.finished", call_id="c", tool="bash", is_error=True, content=content))


@pytest.mark.found("C12")
def test_what_is_asked_in_place_is_printed_once() -> None:
    """The prompt shows the call and its diff; the stream then says only what is new."""
    options = [{"id": "a", "label": "yes"}]
    edit = {"call_id": "c1", "tool": "edit_file", "arguments": {"path": "x.py"}}
    requested = event("approval.requested", approval_id="appr_1", why="no rule", **edit)
    question = event(
        "question.asked", question_id="q_1", questions=[{"id": "q1", "text": "Which?", "options": options}]
    )
    rest = (
        event("approval.resolved", approval_id="appr_1", outcome="allowed", decision="allow", by="ann"),
        event("tool.started", **edit),
        event(
            "tool.finished", call_id="c1", tool="edit_file", is_error=False, content="Edited.", detail={"diff": DIFF}
        ),
        event(
            "question.answered", question_id="q_1", outcome="answered", by="ann", answers={"q1": {"selected": ["a"]}}
        ),
        event("tool.finished", call_id="c2", tool="ask_user_question", is_error=False, content="H: yes", detail={}),
        event(
            "tool.finished", call_id="c3", tool="bash", is_error=True, content="no", code="approval_denied", detail={}
        ),
    )

    def shown(asks: bool, in_place: bool) -> str:
        rendering = Rendering(lambda text, **_: text, asks=asks)
        first = rendering.feed(requested) + rendering.feed(question)
        assert bool(first) is not asks
        if in_place:
            rendering.asked("appr_1", DIFF)
            rendering.asked("q_1")
        return first + "".join(rendering.feed(one) for one in rest)

    assert shown(asks=True, in_place=True) == "  allowed by ann\n→ edit_file: x.py\n  Edited.\n  answered: yes\n"
    elsewhere, plain = shown(asks=True, in_place=False), shown(asks=False, in_place=False)
    for told in (elsewhere, plain):
        assert told.count("? asks to use edit_file: x.py") == told.count("? Which?") == 1 and "+new" in told
