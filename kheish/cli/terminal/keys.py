"""The keys of the edited line and of prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import click
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys


class Act(StrEnum):
    """A way in which reading a line ends."""

    SUBMIT = "submit"
    INTERRUPT = "interrupt"  # Esc
    BREAK = "break"  # Ctrl-C
    LEAVE = "leave"  # Ctrl-D
    EXPAND = "expand"  # Ctrl-O
    WAKE = "wake"  # by the program


@dataclass(frozen=True, slots=True)
class Typed:
    """The way in which reading a line ended, and the text of the line."""

    act: Act
    text: str


class Left(click.Abort):
    """A prompt was left without an answer."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self.act = act


End = Callable[[Act], None]


def of_line(end: End, is_busy: Callable[[], bool]) -> KeyBindings:
    """Return the keys of a line: Enter submits it, Alt-Enter or a backslash before Enter starts another line."""
    bindings = KeyBindings()

    @bindings.add("enter", filter=~is_searching)
    @bindings.add("c-j", filter=~is_searching)  # a line break that a program writes
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if _has_more(event):  # a paste that the terminal did not mark
            buffer.insert_text("\n")
        elif buffer.document.char_before_cursor == "\\":
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    @bindings.add("escape", "c-j")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("escape", filter=Condition(is_busy))
    def _escape(event: KeyPressEvent) -> None:
        end(Act.INTERRUPT)

    @bindings.add("c-c", filter=~is_searching)
    @bindings.add("<sigint>")
    def _break(event: KeyPressEvent) -> None:
        if event.current_buffer.text and not is_busy():
            event.current_buffer.reset()
        else:
            end(Act.BREAK)

    @bindings.add("c-d", filter=Condition(_is_empty) & ~is_searching)
    def _leave(event: KeyPressEvent) -> None:
        end(Act.LEAVE)

    @bindings.add("c-o")
    def _expand(event: KeyPressEvent) -> None:
        end(Act.EXPAND)

    return bindings


def of_answer(end: End, *, takes_paste: bool) -> KeyBindings:
    """Return the keys of a prompt, which Esc, Ctrl-C and Ctrl-D leave. Without `takes_paste`, pastes are ignored."""
    bindings = KeyBindings()

    @bindings.add("escape")
    @bindings.add("c-c")
    @bindings.add("<sigint>")
    def _leave(event: KeyPressEvent) -> None:
        end(Act.INTERRUPT)

    @bindings.add("c-d")
    def _end_of_input(event: KeyPressEvent) -> None:
        end(Act.LEAVE)

    if not takes_paste:

        @bindings.add(Keys.BracketedPaste)
        def _ignore(event: KeyPressEvent) -> None:
            event.current_buffer.reset()

    return bindings


def _has_more(event: KeyPressEvent) -> bool:
    """Return whether more keys arrived together with this one."""
    return bool(event.app.key_processor.input_queue)


def _is_empty() -> bool:
    return not get_app().current_buffer.text
