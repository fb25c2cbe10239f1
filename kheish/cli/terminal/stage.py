"""The parts of a conversation on the terminal, and the lines above the edited one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from kheish.cli.output import paint, plain
from kheish.cli.terminal.activity import Activity
from kheish.cli.terminal.editor import Above, Editor
from kheish.cli.terminal.folding import Folds
from kheish.cli.terminal.transcript import Transcript
from kheish.cli.terminal.wrapping import wrap
from kheish.errors import KheishError

#: lines of unfinished words, at most a third of the screen
_LIVE_LINES = 12
#: lines of a message that are shown again when it was sent
_ECHO_LINES = 20
#: bytes of the history, of which the newer half is kept
_HISTORY_BYTES = 1024 * 1024


class Stage:
    """The terminal of a conversation: its editor, the run that is followed, and the results that are folded."""

    def __init__(self, completions: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self.folds = Folds()
        self.activity: Activity | None = None
        self.transcript = self.new_transcript()
        self.editor = Editor(self._above, _history(), completions)

    def new_transcript(self) -> Transcript:
        """Return the output of another run."""
        return Transcript(self._columns, self.folds)

    def show(self, text: str, **style: object) -> None:
        """Print a line of the program, wrapped at words."""
        lines = [part for line in plain(text).split("\n") for part in wrap(line, self._columns())]
        self.editor.show("".join(paint(line, **style) + "\n" for line in lines))

    def echo(self, text: str) -> None:
        """Print a message as the user sent it, a long one in part."""
        first, *rest = text.split("\n")
        lines = [f"> {first}", *(f"  {line}" for line in rest)]
        self.show("\n".join(lines[:_ECHO_LINES]), bold=True)
        if len(lines) > _ECHO_LINES:
            fold = self.folds.keep("Your message", [(line, {}) for line in lines])
            self.show(f"  (Ctrl-O or /output {fold.number} shows all {len(lines)} lines)", dim=True)

    def report(self, error: KheishError) -> None:
        """Print an error."""
        self.show(f"kheish: {error.detail}", fg="red")

    def unfold(self, number: int | None = None) -> None:
        """Print a folded result as a whole, the newest without a number."""
        fold = self.folds.find(number)
        if fold is None:
            self.show("No folded output." if number is None else f"There is no folded output {number}.", dim=True)
        else:
            self.editor.show(self.transcript.unfolded(fold))

    def _columns(self) -> int:
        return self.editor.size.columns - 1

    def _above(self, rows: int, columns: int) -> Above:
        if self.activity is None:
            return Above()
        return Above(
            self.transcript.live(min(_LIVE_LINES, rows // 3)),
            self.activity.line(columns - 1),
            is_urgent=bool(self.activity.note),
        )


def _history() -> History:
    """Return the history of earlier chats, readable by its user only; one of this process if it cannot be written."""
    try:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "kheish"
        path = folder / "chat-history"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _trim(path)
    except (OSError, RuntimeError):  # there is no home
        return InMemoryHistory()
    return Remembered(str(path))


class Remembered(FileHistory):
    """A history in a file, without the lines that begin with a blank."""

    def store_string(self, string: str) -> None:
        """Append a line to the file."""
        if not string.startswith(" "):
            super().store_string(string)


def _trim(path: Path) -> None:
    if path.stat().st_size <= _HISTORY_BYTES:
        return
    kept = path.read_bytes()[-_HISTORY_BYTES // 2 :]
    _, begin, rest = kept.partition(b"\n# ")  # the time that begins an entry
    path.write_bytes(begin.removeprefix(b"\n") + rest)
