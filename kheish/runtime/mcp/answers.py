"""Answers to questions that a call waits for while it is open, as they are journaled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from kheish.domain.events import QuestionAnswered


class Answers:
    """The questions that are waited for, by id."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[QuestionAnswered]] = {}

    @contextlib.contextmanager
    def expected(self, question_id: str) -> Iterator[asyncio.Future[QuestionAnswered]]:
        """Yield what an answer arrives in; it is awaited inside."""
        future = asyncio.get_running_loop().create_future()
        self._expected[question_id] = future
        try:
            yield future
        finally:
            del self._expected[question_id]
            future.cancel()

    def arrived(self, answer: QuestionAnswered) -> None:
        """Pass on an answer that was journaled."""
        future = self._expected.get(answer.question_id)
        if future is not None and not future.done():
            future.set_result(answer)
