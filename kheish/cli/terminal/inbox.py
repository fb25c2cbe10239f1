"""`kheish inbox` as a full-screen list: choose an item, read it, and answer it in the prompts of a conversation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window

from kheish.cli.cells import clip, pad
from kheish.cli.output import as_yaml, plain, say, shorten, when
from kheish.cli.rendering import short_call
from kheish.cli.terminal.decisions import Decisions, Postponed
from kheish.cli.terminal.keys import Left
from kheish.cli.terminal.stage import Stage
from kheish.cli.terminal.wrapping import wrap
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.client import Kheish
    from kheish.client.shapes import Approval, Question

_REFRESH_SECONDS = 3.0
_LIMIT = 200
_KEYS = "Up/Down select · Enter opens · r reads again · q leaves"
_SESSION_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Item:
    """A pending approval or question."""

    id: str
    session_id: str
    line: str
    detail: str
    approval: Approval | None = None
    question: Question | None = None


def run(client: Kheish) -> int:
    """Show the list until the user leaves; return the exit code."""
    return asyncio.run(Inbox(client).run())


def pending(client: Kheish) -> list[Item]:
    """Return what waits for a user, oldest first."""
    approvals = client.approvals.list(status="pending", limit=_LIMIT)["items"]
    questions = client.questions.list(status="pending", limit=_LIMIT)["items"]
    items = [(one["requested_at"], _of_approval(one)) for one in approvals]
    items += [(one["asked_at"], _of_question(one)) for one in questions]
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


class Inbox:
    """The list, the selected item, and what is shown of it."""

    def __init__(self, client: Kheish) -> None:
        self._client = client
        self._items: list[Item] = []
        self._selected = 0
        self._note = ""
        self._stage = Stage(lambda: ())
        self._decisions = Decisions(self._stage, client)

    async def run(self) -> int:
        """Show the list, and answer what the user opens."""
        with self._stage.editor.keyboard():
            return await self._choose()

    async def _choose(self) -> int:
        self._items = await asyncio.to_thread(pending, self._client)
        while True:
            app: Application[Item | None] = self._stage.editor.screen(
                layout=self._layout(), key_bindings=self._keys(), refresh_interval=None
            )
            refreshing = asyncio.create_task(self._refresh_often(app))
            try:
                item = await self._stage.editor.run_screen(app)
            finally:
                refreshing.cancel()
            if item is None:
                return 0
            await self._open(item)
            await self._refresh()

    async def _open(self, item: Item) -> None:
        """Ask for the decision on the ordinary screen."""
        say(plain(f"Session {item.session_id}"))
        try:
            if item.approval is not None:
                await self._decisions.approve(await asyncio.to_thread(self._client.approvals.get, item.id))
            else:
                await self._decisions.answer(await asyncio.to_thread(self._client.questions.get, item.id))
            self._note = f"{item.id} is answered."
        except (Left, Postponed):
            self._note = f"{item.id} still waits."
        except KheishError as error:
            self._note = plain(error.detail)

    async def _refresh_often(self, app: Application[Any]) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            await self._refresh()
            app.invalidate()

    async def _refresh(self) -> None:
        """Read the list; the selected item stays selected while it is pending."""
        selected = self._items[self._selected].id if self._items else None
        try:
            self._items = await asyncio.to_thread(pending, self._client)
        except KheishError as error:
            self._note = plain(error.detail)
            return
        ids = [item.id for item in self._items]
        at = ids.index(selected) if selected in ids else self._selected
        self._selected = max(0, min(at, len(ids) - 1))

    def _layout(self) -> Layout:
        rows = FormattedTextControl(self._rows, focusable=True, show_cursor=False)
        return Layout(
            HSplit(
                [
                    Window(FormattedTextControl(self._head), height=1, style="bold"),
                    Window(rows, height=lambda: max(3, self._stage.editor.size.rows // 3), style="class:list"),
                    Window(height=1, char="─"),
                    Window(FormattedTextControl(self._detail)),
                    Window(FormattedTextControl(lambda: self._note), height=1),
                    Window(FormattedTextControl(_KEYS), height=1, style="reverse"),
                ]
            )
        )

    def _head(self) -> str:
        return f"{len(self._items)} pending" if self._items else "Nothing waits for you."

    def _rows(self) -> StyleAndTextTuples:
        width = self._stage.editor.size.columns
        shown: StyleAndTextTuples = []
        for at, item in enumerate(self._items):
            is_selected = at == self._selected
            if is_selected:
                shown.append(("[SetCursorPosition]", ""))
            mark = ">" if is_selected else " "
            line = f"{mark} {pad(clip(item.session_id, _SESSION_WIDTH), _SESSION_WIDTH)}  {item.line}"
            shown.append(("reverse" if is_selected else "", clip(line, width) + "\n"))
        return shown

    def _detail(self) -> str:
        if not self._items:
            return ""
        width = self._stage.editor.size.columns
        return "\n".join(part for line in self._items[self._selected].detail.split("\n") for part in wrap(line, width))

    def _keys(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("up")
        @bindings.add("k")
        def _up(event: KeyPressEvent) -> None:
            self._selected = max(0, self._selected - 1)

        @bindings.add("down")
        @bindings.add("j")
        def _down(event: KeyPressEvent) -> None:
            self._selected = max(0, min(len(self._items) - 1, self._selected + 1))

        @bindings.add("enter")
        @bindings.add("c-j")
        def _choose(event: KeyPressEvent) -> None:
            if self._items:
                event.app.exit(result=self._items[self._selected])

        @bindings.add("r")
        def _again(event: KeyPressEvent) -> None:
            event.app.create_background_task(self._refresh())

        @bindings.add("q")
        @bindings.add("c-c")
        @bindings.add("c-d")
        @bindings.add("escape")
        @bindings.add("<sigint>")
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit(result=None)

        return bindings


def _of_approval(approval: Approval) -> Item:
    detail = f"{approval['tool']} ({approval['risk']} risk; {approval['why']})\n{as_yaml(approval['arguments'])}"
    asked = f"{approval['approval_id']}, asked {when(approval['requested_at'])}"
    return Item(
        approval["approval_id"],
        plain(approval["session_id"]),
        plain(short_call(approval)),
        plain(f"{asked}\n{detail}"),
        approval=approval,
    )


def _of_question(question: Question) -> Item:
    texts = [one["text"] for one in question["questions"]]
    asked = f"{question['question_id']}, asked {when(question['asked_at'])}"
    return Item(
        question["question_id"],
        plain(question["session_id"]),
        "? " + "; ".join(shorten(text, 80) for text in texts),
        plain("\n".join([asked, *texts])),
        question=question,
    )
