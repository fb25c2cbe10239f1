"""Messages of the agent to people during its work: `ask_user_question`, `emit_output`, `todo_write`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from kheish.domain.assets import asset as assets
from kheish.domain.events import (
    Artifact,
    Draft,
    Event,
    Option,
    OutputEmitted,
    QuestionAsked,
    QuestionItem,
    Todo,
    TodoWritten,
)
from kheish.domain.runs import Run
from kheish.errors import NotFound
from kheish.runtime.assets.tool import check_seen
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Suspended, Tool, ToolError

_LETTERS = "abcd"
_MARKS: Mapping[str, str] = {"pending": "[ ]", "in_progress": "[~]", "completed": "[x]"}


class Choice(Arguments):
    label: str = Field(min_length=1, max_length=200, description="What the person chooses, in a few words.")
    description: str | None = Field(None, max_length=2000, description="What choosing it means.")


class Question(Arguments):
    header: str = Field(min_length=1, max_length=40, description="A title of one to three words.")
    text: str = Field(min_length=1, max_length=4000, description="The whole question, ending in a question mark.")
    options: tuple[Choice, ...] = Field(min_length=2, max_length=4, description="2 to 4 distinct answers.")
    multi_select: bool = Field(False, description="Whether several options may be chosen.")
    free_text: bool = Field(True, description="Whether the person may answer in words of their own instead.")

    @model_validator(mode="after")
    def _labels_differ(self) -> Question:
        labels = [option.label for option in self.options]
        if len(set(labels)) < len(labels):
            raise ValueError("two options have the same label")
        return self


class AskUserQuestion(Arguments):
    questions: tuple[Question, ...] = Field(
        min_length=1, max_length=4, description="1 to 4 questions, answered all at once."
    )


class EmitOutput(Arguments):
    content: str = Field(min_length=1, description="What to send.")
    kind: str = Field(
        "message", pattern=r"^[a-z][a-z0-9_.-]{0,63}$", description="What it is, such as message, progress, report."
    )

    attachments: tuple[str, ...] = Field(
        (), max_length=10, description="Ids of assets to send with it; store_asset makes one from a file."
    )


class TodoItem(Arguments):
    content: str = Field(min_length=1, max_length=1000, description="The work, in one line.")
    status: Literal["pending", "in_progress", "completed"] = "pending"


class TodoWrite(Arguments):
    items: tuple[TodoItem, ...] = Field(
        max_length=200, description="The whole list, in order; it replaces the one before. May be empty."
    )


def derived(prefix: str, key: str) -> str:
    """Return an id derived from the call's key, so that a repeated call gets the same."""
    return f"{prefix}_{hashlib.sha256(key.encode()).hexdigest()[:26]}"


def is_unattended(context: Context) -> bool:
    """Return whether no person attends the run of a call."""
    return context.state.get(Run, context.run_id).settings.unattended == "deny"


def check_attended(context: Context) -> None:
    """Raise ToolError if no person attends the run of a call, so that none may be asked."""
    if is_unattended(context):
        raise ToolError("No person attends this run, so nothing was asked. Decide by yourself, or say what is open.")


async def _ask(arguments: AskUserQuestion, context: Context) -> Suspended:
    check_attended(context)
    items = tuple(
        QuestionItem(
            id=f"q{number}",
            header=question.header,
            text=question.text,
            options=tuple(
                Option(id=letter, label=option.label, description=option.description)
                for letter, option in zip(_LETTERS, question.options, strict=False)
            ),
            multi_select=question.multi_select,
            free_text=question.free_text,
        )
        for number, question in enumerate(arguments.questions, 1)
    )
    asked = QuestionAsked(question_id=derived("q", context.key), call_id=context.call_id, questions=items)
    return Suspended(drafts=(_draft(asked, context),), waiting="waiting_for_question")


async def _emit(arguments: EmitOutput, context: Context) -> Result:
    artifacts = await _artifacts(arguments.attachments, context)
    emitted = OutputEmitted(
        output_id=derived("out", context.key),
        output_kind=arguments.kind,
        content=arguments.content,
        call_id=context.call_id,
        artifacts=artifacts,
    )
    return Result(
        content="Sent.",
        detail={"output_id": emitted.output_id, "kind": arguments.kind},
        drafts=(_draft(emitted, context),),
    )


async def _artifacts(asset_ids: Sequence[str], context: Context) -> tuple[Artifact, ...]:
    """Return the files of an output. Raises ToolError."""
    asset_ids = tuple(dict.fromkeys(asset_ids))
    if not asset_ids:
        return ()
    await check_seen(asset_ids, context)
    try:
        stored = [await assets.get(context.state, asset_id) for asset_id in asset_ids]
    except NotFound as error:
        raise ToolError(error.detail) from error
    return tuple(
        Artifact(asset_id=one.asset_id, name=one.name, media_type=one.media_type, bytes=one.bytes) for one in stored
    )


async def _todo(arguments: TodoWrite, context: Context) -> Result:
    items = tuple(Todo(content=item.content, status=item.status) for item in arguments.items)
    lines = [f"{_MARKS[item.status]} {item.content}" for item in items]
    done = sum(item.status == "completed" for item in items)
    head = f"To-do list: {done} of {len(items)} done." if items else "The to-do list is empty now."
    return Result(
        content="\n".join([head, *lines]),
        detail={"items": len(items), "completed": done},
        drafts=(_draft(TodoWritten(items=items), context),),
    )


def _draft(event: Event, context: Context) -> Draft:
    return event.on(context.session_id, context.run_id, by=context.agent_id)


TOOLS = (
    Tool(
        name="ask_user_question",
        description=(
            "Ask the person who gave you the task, and wait for the answer. Use it when a decision is theirs and you "
            "cannot find it out yourself; ask everything at once."
        ),
        arguments=AskUserQuestion,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_ask,
    ),
    Tool(
        name="emit_output",
        description=(
            "Send something to the caller now, while the work continues: an interim result, a progress note. The final "
            "answer is not sent with this; it is the text of your last turn."
        ),
        arguments=EmitOutput,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_emit,
    ),
    Tool(
        name="todo_write",
        description=(
            "Keep the session's to-do list, for work of several steps. Write the whole list each time; have one item "
            "in_progress, and set it completed as soon as it is done."
        ),
        arguments=TodoWrite,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_todo,
    ),
)
