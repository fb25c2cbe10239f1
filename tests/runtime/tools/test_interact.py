"""Questions, outputs and to-do lists become events, with ids that a retry finds again."""

from __future__ import annotations

import pytest

from kheish.domain.events import Option, OutputEmitted, QuestionAsked, Todo, TodoWritten
from kheish.runtime.tools.arguments import parse_arguments
from kheish.runtime.tools.base import Suspended, ToolError
from kheish.runtime.tools.interact import TOOLS

ASK, EMIT, TODO = TOOLS
COLOUR = {"header": "Colour", "text": "Which?", "options": [{"label": "Red"}, {"label": "Blue", "description": "calm"}]}


async def test_a_question_suspends_the_run(context) -> None:
    call = parse_arguments(ASK, {"questions": [COLOUR, {**COLOUR, "multi_select": True, "free_text": False}]})

    waiting = await ASK.run(call, context())
    again = await ASK.run(call, context())

    assert isinstance(waiting, Suspended)
    assert waiting.waiting == "waiting_for_question"
    (draft,) = waiting.drafts
    assert (draft.session, draft.run, draft.actor) == ("fix-it", "run_1", "agent_1")
    assert isinstance(draft.event, QuestionAsked)
    assert [item.id for item in draft.event.questions] == ["q1", "q2"]
    assert draft.event.questions[0].options[1] == Option(id="b", label="Blue", description="calm")
    assert [(item.multi_select, item.free_text) for item in draft.event.questions] == [(False, True), (True, False)]
    assert again == waiting
    assert await ASK.run(call, context(key="other")) != waiting


@pytest.mark.parametrize(
    "questions",
    [
        [],
        [COLOUR] * 5,
        [{**COLOUR, "options": [{"label": "only"}]}],
        [{**COLOUR, "options": [{"label": "same"}, {"label": "same"}]}],
        [{**COLOUR, "options": [{"label": str(n)} for n in range(5)]}],
        [{**COLOUR, "header": ""}],
    ],
)
def test_a_question_that_nobody_can_answer_is_told_to_the_model(questions: list[object]) -> None:
    with pytest.raises(ToolError, match="questions"):
        parse_arguments(ASK, {"questions": questions})


async def test_an_output_and_a_list_come_with_their_events(context) -> None:
    sent = await EMIT.run(parse_arguments(EMIT, {"content": "half way", "kind": "progress"}), context())
    listed = await TODO.run(
        parse_arguments(TODO, {"items": [{"content": "read", "status": "completed"}, {"content": "write"}]}), context()
    )

    (output,) = sent.drafts
    assert isinstance(output.event, OutputEmitted)
    assert (output.event.output_kind, output.event.content, output.event.call_id) == ("progress", "half way", "call_1")
    assert output.event.output_id.startswith("out_")
    (todo,) = listed.drafts
    assert todo.event == TodoWritten(items=(Todo(content="read", status="completed"), Todo(content="write")))
    assert listed.content == "To-do list: 1 of 2 done.\n[x] read\n[ ] write"
