"""Questions by HTTP: list, show, answer, decline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api import at_revision, views
from kheish.api.http import media, paging
from kheish.api.http.bodies import Because, Body, Key, Name
from kheish.api.http.operation import bind, get, post
from kheish.api.mcp import answers as mcp_answers
from kheish.api.services import Services
from kheish.domain import keys, questions
from kheish.domain.questions import Question
from kheish.state import pins

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("pending", "answered", "declined", "expired", "cancelled")),
    *(paging.text(name) for name in questions.NOUN.filters),
    paging.PREFIX,
)


class GivenAnswer(Body):
    """The selected options, and free text if it is permitted."""

    selected: list[Name] = Field(default_factory=list, max_length=100)
    """Ids of the selected options."""
    text: Annotated[str, Field(max_length=20_000)] | None = None
    """Free text."""


class AnswerQuestion(Body):
    """Answers to all items of a question at once, by their ids."""

    answers: Annotated[dict[Name, GivenAnswer], Field(max_length=100)]
    """`{"q1": {"selected": ["a"], "text": null}}`"""
    via: mcp_answers.Via | None = None
    """`mcp` for an answer that an MCP client brings; `mcp_tool` for one by its tool, which `mcp.approvals` of
    kheish.yaml must permit."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same answer. It may also be sent as the header Idempotency-Key."""


class DeclineQuestion(Because):
    """A refusal to answer."""

    idempotency_key: Key | None = None
    """The same key with the same request gives the same answer. It may also be sent as the header Idempotency-Key."""


class Questions:
    """The resource of `/v1/questions` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_questions(self, req: Request, resp: Response) -> None:
        """Answer with a page of questions, newest first."""
        media.send(resp, await views.listed(self._state, Question, req.context.query))

    async def get_question(self, req: Request, resp: Response, question_id: str) -> None:
        """Answer with one question, now or as of a commit (`?at=`)."""
        if (rev := req.context.query.get("at")) is not None:
            return media.send(resp, await at_revision.document(self._services, resp, Question, question_id, rev))
        return media.send(resp, await views.document(self._state, Question, question_id))

    async def answer_question(self, req: Request, resp: Response, question_id: str) -> None:
        """Answer all items of a question at once."""
        body = await media.read(req, AnswerQuestion)
        mcp_answers.check(self._services, body.via)
        key = await keys.known(self._state, media.idempotency(req, body, f"questions/{question_id}/answer"))
        if key is not None and key.result is not None:
            return await self.get_question(req, resp, question_id)
        answers = {id: given.model_dump() for id, given in body.answers.items()}
        async with self._pending(question_id):
            question = questions.answer(
                self._state, question_id, answers, by=req.context.principal, via=body.via or "api", key=key
            )
        return await self._answer(resp, question)

    async def decline_question(self, req: Request, resp: Response, question_id: str) -> None:
        """Decline to answer a question."""
        body = await media.read(req, DeclineQuestion)
        key = await keys.known(self._state, media.idempotency(req, body, f"questions/{question_id}/decline"))
        if key is not None and key.result is not None:
            return await self.get_question(req, resp, question_id)
        async with self._pending(question_id):
            question = questions.decline(
                self._state, question_id, by=req.context.principal, via="api", reason=body.reason, key=key
            )
        return await self._answer(resp, question)

    @asynccontextmanager
    async def _pending(self, question_id: str) -> AsyncIterator[None]:
        """Keep the question in memory while it is answered. Raises NotFound, QuestionResolved."""
        async with pins.thing(self._state, Question, question_id) as old:
            if old is not None:
                raise questions.late(old)
            yield

    async def _answer(self, resp: Response, question: Question) -> None:
        doc, n = views.of(self._state, question), self._state.n
        await self._state.durable()
        media.send(resp, doc, n=n)


ONE = "/v1/questions/{question_id}"
OPERATIONS = bind(
    Questions,
    get(
        "/v1/questions",
        Questions.list_questions,
        "List questions, newest first.",
        questions.QuestionView,
        *LIST,
        page=True,
        tie="query",
    ),
    get(
        ONE,
        Questions.get_question,
        "Get one question, now or as of a commit.",
        questions.QuestionView,
        at_revision.AT,
        problems=(404,),
        tie=Question,
    ),
    post(
        f"{ONE}/answer",
        Questions.answer_question,
        "Answer all items of a question.",
        AnswerQuestion,
        questions.QuestionView,
        problems=(404, 409),
        key=True,
        tie=Question,
    ),
    post(
        f"{ONE}/decline",
        Questions.decline_question,
        "Decline to answer a question.",
        DeclineQuestion,
        questions.QuestionView,
        problems=(404, 409),
        key=True,
        tie=Question,
    ),
)
