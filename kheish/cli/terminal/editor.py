"""The line that a user edits below the conversation, with history and completion, and the status line above it.

Text is printed above the line, which moves down. Prompts for decisions accept only input that came after they were
shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import clear_typeahead, get_typeahead
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import PromptSession
from prompt_toolkit.styles import Style

from kheish.cli.asking import drop_typed
from kheish.cli.terminal import keys
from kheish.cli.terminal.keys import Act, Left, Typed

#: seconds without a key after which a prompt may take the place of an empty line, or of a line with text
_QUIET, _QUIET_IN_TEXT = 0.4, 2.0
#: seconds within which more input follows an answer if it was pasted
_PASTE_SECONDS = 0.05
#: seconds between two drawings of the status line
_FRAME = 0.1
_MENU_LINES = 8
_STYLE = Style.from_dict({"prompt": "bold", "busy": "fg:ansicyan", "note": "fg:ansiyellow"})


@dataclass(frozen=True, slots=True)
class Above:
    """The lines to show above the edited line: unfinished words, and the status."""

    words: tuple[str, ...] = ()
    status: str = ""
    is_urgent: bool = False


class Editor:
    """The terminal of a conversation. `above` returns what the lines above the edited one show."""

    def __init__(
        self,
        above: Callable[[int, int], Above],
        history: History,
        completions: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        self._above = above
        self._input = create_input(sys.stdin)
        self._output = Vt100_Output(sys.stdout, _size, term=os.environ.get("TERM"), enable_cpr=False)
        self._app: Application[Any] | None = None
        self._last_key = 0.0
        self._is_busy = False
        self._wakes = False
        self._lines: PromptSession[Typed | str] = PromptSession(
            message=self._message,
            input=self._input,
            output=self._output,
            history=history,
            multiline=True,
            enable_suspend=True,
            enable_open_in_editor=True,
            erase_when_done=True,
            enable_history_search=Condition(lambda: not self._is_command()),
            complete_while_typing=Condition(self._is_command),
            completer=_Commands(completions),
            reserve_space_for_menu=_MENU_LINES,
            prompt_continuation="  ",
            key_bindings=keys.of_line(self._end, self.is_busy),
            style=_STYLE,
        )

    @property
    def size(self) -> Size:
        """The rows and columns of the terminal."""
        return _size()

    def is_busy(self) -> bool:
        """Return whether a run is followed, which Esc and Ctrl-C interrupt."""
        return self._is_busy

    @contextlib.contextmanager
    def keyboard(self) -> Iterator[None]:
        """Read all keys, also those typed between two lines: none is echoed, and Ctrl-C sends no signal."""
        with self._input.raw_mode():
            yield

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Make Esc and Ctrl-C interrupt."""
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    async def read(self, draft: str = "") -> Typed:
        """Return the next line, or the key that ended it. The line begins as `draft`."""
        drawing = asyncio.create_task(self._animate())
        try:
            text = await self._run(self._lines, default=draft)
        finally:
            drawing.cancel()
        return text if isinstance(text, Typed) else Typed(Act.SUBMIT, text)

    async def ask(self, question: str, choices: Sequence[str] = ()) -> str:
        """Return an answer that was typed after the question was shown. Raise Left without one.

        Earlier input is discarded. A line that more input follows at once is rejected, and the question is repeated.
        With `choices`, so are pasted text and any other answer.
        """
        session: PromptSession[Typed | str] = PromptSession(
            message=[("class:prompt", f"{question} ")],
            input=self._input,
            output=self._output,
            key_bindings=keys.of_answer(self._end, takes_paste=not choices),
            style=_STYLE,
        )
        while True:
            answer = await self._fresh(session)
            if self._is_more_typed():
                self.show("(ignored: several lines arrived at once; please type the answer)\n")
            elif not choices or answer.strip().lower() in choices:
                return answer.strip()
            else:
                self.show(f"(type one of {', '.join(choices)})\n")

    async def edit(self, text: str) -> str:
        """Return a text as the user edited it. Raise Left if the user leaves."""
        session: PromptSession[Typed | str] = PromptSession(
            message=[("class:prompt", "edit> ")],
            input=self._input,
            output=self._output,
            multiline=True,
            prompt_continuation="      ",
            key_bindings=keys.of_line(self._end, lambda: True),
            style=_STYLE,
        )
        return await self._fresh(session, text)

    async def _fresh(self, session: PromptSession[Typed | str], default: str = "") -> str:
        clear_typeahead(self._input)
        drop_typed()
        answer = await self._run(session, default)
        if isinstance(answer, Typed):
            raise Left(answer.act)
        return answer

    async def run_screen(self, app: Application[Any]) -> Any:
        """Run a full-screen application."""
        self._app = app
        try:
            return await app.run_async()
        finally:
            self._app = None

    def screen(self, **options: Any) -> Application[Any]:
        """Return a full-screen application on this terminal."""
        return Application(input=self._input, output=self._output, full_screen=True, style=_STYLE, **options)

    def show(self, text: str) -> None:
        """Print text above the edited line, or at the cursor if there is none."""
        if not text:
            return
        app = self._app
        if app is None or not app.is_running or app.full_screen:
            sys.stdout.flush()
            self._output.write_raw(text)
            self._output.flush()
            return
        app.renderer.erase()
        self._output.write_raw(text)
        self._output.flush()
        app.invalidate()

    def redraw(self) -> None:
        """Draw the lines above the edited one again."""
        if self._app is not None:
            self._app.invalidate()

    def wake(self) -> None:
        """End `read` or `ask`, or the next one if there is none now; the text of the line is returned as it is."""
        self._wakes = True
        self._end(Act.WAKE)

    async def quiet(self) -> None:
        """Wait until the user pauses, so that no key meant for the line reaches a prompt."""
        while True:
            has_text = self._app is not None and bool(self._lines.default_buffer.text)
            left = self._last_key + (_QUIET_IN_TEXT if has_text else _QUIET) - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def _run(self, session: PromptSession[Typed | str], default: str) -> Typed | str:
        self._app = session.app
        session.app.ttimeoutlen, session.app.timeoutlen = 0.05, 0.1  # Esc alone has an effect at once
        session.app.key_processor.before_key_press += self._note_key
        try:
            return await session.prompt_async(default=default, set_exception_handler=False, pre_run=self._wake_at_once)
        except (EOFError, KeyboardInterrupt):
            return Typed(Act.LEAVE, session.default_buffer.text)
        finally:
            session.app.key_processor.before_key_press -= self._note_key
            self._app, self._wakes = None, False

    def _wake_at_once(self) -> None:
        if self._wakes:
            self._end(Act.WAKE)

    def _end(self, act: Act) -> None:
        app = self._app
        if app is None or not app.is_running or app.is_done:
            return
        app.exit(result=Typed(act, app.current_buffer.text))

    def _note_key(self, _: object) -> None:
        self._last_key = time.monotonic()

    def _is_command(self) -> bool:
        return self._lines.default_buffer.text.startswith("/")

    def _is_more_typed(self) -> bool:
        if get_typeahead(self._input):
            return True
        try:
            return bool(select.select([sys.stdin], [], [], _PASTE_SECONDS)[0])
        except (OSError, ValueError):
            return False

    def _message(self) -> StyleAndTextTuples:
        rows, columns = _size()
        above = self._above(rows, columns)
        shown: StyleAndTextTuples = [("", line + "\n") for line in above.words]
        if above.status:
            shown.append(("class:note" if above.is_urgent else "class:busy", above.status + "\n"))
        return [*shown, ("class:prompt", "> ")]

    async def _animate(self) -> None:
        while True:
            await asyncio.sleep(_FRAME)
            if self._is_busy:
                self.redraw()


class _Commands(Completer):
    """Completion of the first word after a `/`."""

    def __init__(self, commands: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield the commands that begin with the text."""
        text = document.text_before_cursor
        if not text.startswith("/") or " " in text or "\n" in text:
            return
        for name, about in self._commands():
            if f"/{name}".startswith(text):
                yield Completion(f"/{name}", start_position=-len(text), display_meta=about)


def _size() -> Size:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns, rows = 0, 0
    return Size(rows=rows or 24, columns=columns or 80)
