"""Questions by HTTP: list, show, answer, decline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from falcon.asgi import Request, Response

from kheish.api import media, models, paging, past, views
from kheish.api.parts import Parts
from kheish.domain import keys, pins, questions
from kheish.domain.questions import Question

FIELDS = ("run_id",)
LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("pending", "answered", "declined", "expired", "cancelled")),
    *(paging.text(name) for name in FIELDS),
    paging.PREFIX,
)


class Questions:
    """`/v1/questions` and what is below."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._state = parts.state

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of questions, newest first."""
        media.send(resp, await views.listed(self._state, Question, req.context.query, FIELDS))

    async def on_get_one(self, req: Request, resp: Response, question_id: str) -> None:
        """One question, now or as a commit has it (`?at=`)."""
        if (rev := req.context.query.get("at")) is not None:
            return media.send(resp, await past.document(self._parts, resp, Question, question_id, rev))
        return media.send(resp, await views.document(self._state, Question, question_id))

    async def on_post_answer(self, req: Request, resp: Response, question_id: str) -> None:
        """Answer all of its items at once."""
        body = await media.read(req, models.AnswerQuestion)
        key = await keys.known(self._state, media.idempotency(req, body, f"questions/{question_id}/answer"))
        if key is not None and key.result is not None:
            return await self.on_get_one(req, resp, question_id)
        answers = {id: given.model_dump() for id, given in body.answers.items()}
        async with self._pending(question_id):
            question = questions.answer(self._state, question_id, answers, by=req.context.principal, via="api", key=key)
        return await self._answer(resp, question)

    async def on_post_decline(self, req: Request, resp: Response, question_id: str) -> None:
        """Say that there will be no answer."""
        body = await media.read(req, models.DeclineQuestion)
        key = await keys.known(self._state, media.idempotency(req, body, f"questions/{question_id}/decline"))
        if key is not None and key.result is not None:
            return await self.on_get_one(req, resp, question_id)
        async with self._pending(question_id):
            question = questions.decline(
                self._state, question_id, by=req.context.principal, via="api", reason=body.reason, key=key
            )
        return await self._answer(resp, question)

    @asynccontextmanager
    async def _pending(self, question_id: str) -> AsyncIterator[None]:
        """Keep it in memory. Raises NotFound, QuestionResolved."""
        async with pins.thing(self._state, Question, question_id) as old:
            if old is not None:
                raise questions.late(old)
            yield

    async def _answer(self, resp: Response, question: Question) -> None:
        doc, n = views.of(self._state, question), self._state.n
        await self._state.durable()
        media.send(resp, doc, n=n)
