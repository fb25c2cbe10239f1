"""Questions by HTTP: list, show, answer, decline."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import at_revision, models, views
from kheish.api.http import media, paging
from kheish.api.services import Services
from kheish.domain import keys, questions
from kheish.domain.events import Idempotency
from kheish.domain.keys import KeyUse, key_id
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

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._state = parts.state

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of questions, newest first."""
        media.send(resp, await views.listed(self._state, Question, req.context.query, FIELDS))

    async def on_get_one(self, req: Request, resp: Response, question_id: str) -> None:
        """One question, now or as a commit has it (`?at=`)."""
        if (rev := req.context.query.get("at")) is not None:
            return media.send(resp, await at_revision.document(self._parts, resp, Question, question_id, rev))
        return media.send(resp, await views.document(self._state, Question, question_id))

    async def on_post_answer(self, req: Request, resp: Response, question_id: str) -> None:
        """Answer all of its items at once."""
        body = await media.read(req, models.AnswerQuestion)
        key = media.idempotency(req, body, f"questions/{question_id}/answer")
        if await self._was_answered(key):
            return await self.on_get_one(req, resp, question_id)
        await self._pending(question_id)
        answers = {id: given.model_dump() for id, given in body.answers.items()}
        question = questions.answer(
            self._state, question_id, answers, by=req.context.principal, via="api", idempotency=key
        )
        return await self._answer(resp, question)

    async def on_post_decline(self, req: Request, resp: Response, question_id: str) -> None:
        """Say that there will be no answer."""
        body = await media.read(req, models.DeclineQuestion)
        key = media.idempotency(req, body, f"questions/{question_id}/decline")
        if await self._was_answered(key):
            return await self.on_get_one(req, resp, question_id)
        await self._pending(question_id)
        question = questions.decline(
            self._state, question_id, by=req.context.principal, via="api", reason=body.reason, idempotency=key
        )
        return await self._answer(resp, question)

    async def _was_answered(self, key: Idempotency | None) -> bool:
        """Whether the same request was taken before. Raises IdempotencyConflict."""
        if key is None:
            return False
        await self._state.recall(KeyUse, key_id(key.scope, key.key))
        return keys.earlier(self._state, key) is not None

    async def _pending(self, question_id: str) -> None:
        """Have it in memory. Raises NotFound, QuestionResolved."""
        old = await self._state.load_for(Question, question_id)
        if old is not None:
            raise questions.late(old)

    async def _answer(self, resp: Response, question: Question) -> None:
        doc, n = views.of(self._state, question), self._state.n
        await self._state.durable()
        media.send(resp, doc, n=n)
