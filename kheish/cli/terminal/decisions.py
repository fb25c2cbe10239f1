"""Approvals and questions, asked in place: answers are typed after the prompt is shown."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from kheish.cli import asking
from kheish.cli.rendering import Rendering
from kheish.cli.terminal.keys import Act, Left
from kheish.cli.terminal.stage import Stage
from kheish.errors import ApprovalResolved, Invalid, KheishError, PersonRequired, QuestionResolved, SamePerson
from kheish.texts import is_blank

if TYPE_CHECKING:
    from kheish.client import Kheish, Run
    from kheish.client.shapes import Answer, Approval, Question


class Postponed(Exception):
    """The user decides later."""


class Decisions:
    """The prompts of a conversation. `asked` is the id of the decision that is asked for."""

    def __init__(self, stage: Stage, client: Kheish) -> None:
        self.asked: str | None = None
        self._stage = stage
        self._client = client

    async def attend(self, run: Run, rendering: Rendering) -> None:
        """Ask for each pending decision of a run. Raise Left, and Postponed for a later answer."""
        approvals, questions = run.waits_for
        for id in approvals:
            approval = await asyncio.to_thread(self._client.approvals.get, id)
            if approval["status"] == "pending":
                preview = approval.get("preview")
                rendering.asked(id, preview["diff"] if preview else None)
                await self.approve(approval)
        for id in questions:
            question = await asyncio.to_thread(self._client.questions.get, id)
            if question["status"] == "pending":
                rendering.asked(id)
                await self.answer(question)

    async def approve(self, approval: Approval) -> None:
        """Ask for one approval, and send the decision. Raise Left, and Postponed for a later answer."""
        self.asked = approval["approval_id"]
        try:
            asking.show_call(approval)
            rules = self._show_rules(approval)
            while not await self._decide(approval, rules):
                pass
        finally:
            self.asked = None

    async def answer(self, question: Question) -> None:
        """Ask a question, and send the answers. Raise Left, and Postponed for a later answer."""
        self.asked = question["question_id"]
        try:
            answers: dict[str, Answer] = {}
            for item in question["questions"]:
                asking.show_question(item)
                prompt = asking.prompt_of(item)
                while item["id"] not in answers:
                    text = await self._stage.editor.ask(prompt)
                    if asking.postpones(text):
                        raise Postponed
                    if not is_blank(text):
                        self._choose(answers, item, text)
            await asyncio.to_thread(self._client.questions.answer, question["question_id"], answers)
        except QuestionResolved as late:
            self._stage.show(f"  {late.detail}")
        finally:
            self.asked = None

    def _choose(self, answers: dict[str, Answer], item: Any, text: str) -> None:
        try:
            answers[item["id"]] = asking.choose(item, text)
        except Invalid as error:
            self._stage.show(error.detail)

    def _show_rules(self, approval: Approval) -> list[str]:
        """Print the rules that an answer may add, and return their keys."""
        rules = asking.rules_of(approval)
        for line in rules.values():
            self._stage.show(line, dim=True)
        return list(rules)

    async def _decide(self, approval: Approval, rules: list[str]) -> bool:
        """Ask once. Return whether the approval needs no further answer."""
        question = f"Allow this call? [y]es, [n]o, [l]ater, [e]dit{asking.always(rules)}:"
        choice = (await self._stage.editor.ask(question, ["y", "n", "l", "e", *rules])).lower()
        try:
            match choice:
                case "l":
                    raise Postponed
                case "n":
                    reason = await self._stage.editor.ask("Why not? (the model reads it)")
                    return await self._resolve(approval, "deny", reason=reason or None)
                case "e":
                    return await self._edit(approval)
            return await self._resolve(approval, "allow", remember=asking.REMEMBERED.get(choice))
        except Left as left:
            if left.act is not Act.INTERRUPT:
                raise
            return False  # back to the choices

    async def _edit(self, approval: Approval) -> bool:
        given = approval["arguments"]
        text = given["command"] if isinstance(given.get("command"), str) else None
        edited = await self._stage.editor.edit(
            text if text is not None else json.dumps(given, ensure_ascii=False, indent=2)
        )
        try:
            arguments = {**given, "command": edited} if text is not None else _object(edited)
        except Invalid as error:
            self._stage.show(error.detail)
            return False
        asking.show_call({**approval, "arguments": arguments, "preview": None, "files": []})
        if (await self._stage.editor.ask("Allow the edited call? [y]es, [b]ack:", ["y", "b"])).lower() == "b":
            return False
        return await self._resolve(approval, "allow", arguments=arguments)

    async def _resolve(self, approval: Approval, decision: str, **more: Any) -> bool:
        """Send a decision. Return whether it counts, or another user has decided."""
        try:
            await asyncio.to_thread(self._client.approvals.resolve, approval["approval_id"], decision, **more)
        except ApprovalResolved as late:
            self._stage.show(f"  {late.detail}")
        except (PersonRequired, SamePerson) as other:  # another user has to decide
            self._stage.show(f"  {other.detail}")
            raise Postponed from None
        except KheishError as error:
            self._stage.report(error)
            return False
        return True


def _object(text: str) -> dict[str, Any]:
    """Return the arguments that JSON gives. Raise Invalid."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Invalid(f"The arguments are not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Invalid("The arguments are not a JSON object.")
    return found
