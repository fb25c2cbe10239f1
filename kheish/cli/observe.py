"""`kheish observe`: send files as observations, or each line of stdin as one, in batches."""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import counted, emit, plain, say
from kheish.errors import Invalid, KheishError, TooMany, Unavailable, Unreachable

if TYPE_CHECKING:
    from kheish.client import Kheish

T = TypeVar("T")
KINDS = ("text", "log", "json", "image", "audio", "html")
LINES, BYTES, WAIT = 500, 1024 * 1024, 0.3  # of a batch: lines, bytes, and seconds after its first line
_READ_AHEAD = 5000
PATIENCE = 300.0  # seconds for which a daemon is awaited that is not there, or refuses because of a rate
_ITEM = re.compile(r"/items/([0-9]+)")


@dataclass(slots=True)
class Sent:
    """The outcome: the ids that were stored, the lines that were refused, and the lines or files that are done."""

    ids: list[str] = field(default_factory=list)
    count: int = 0
    refused: int = 0
    done: int = 0


@command()
@click.argument("source")
@click.argument("files", metavar="FILE…|-", nargs=-1, required=True)
@click.option("--whole", is_flag=True, help="Of stdin: one observation with all of it, instead of one for each line.")
@click.option("--kind", type=click.Choice(KINDS), help="Their kind; without it, the first of the source.")
@click.option("--stream", help="The stream that they are a part of.")
@click.option("--group", help="A name that they share.")
@pass_settings
def observe(
    settings: Settings, source: str, files: tuple[str, ...], whole: bool, kind: str | None, stream: str | None,
    group: str | None,
) -> int:  # fmt: skip
    """Send files to a source, each as one observation; `-` sends each line of stdin as one."""
    if "-" in files and len(files) > 1:
        raise click.UsageError("Name either files or `-`.")
    if whole and files != ("-",):
        raise click.UsageError("--whole is for `-`; a file is always one observation.")
    client, more = settings.client(), {"kind": kind, "stream": stream, "group": group}
    sent, has_lines = Sent(), files == ("-",) and not whole
    try:
        if has_lines:
            send_lines(client, source, sys.stdin.buffer, more, sent)
        else:
            for file in files:
                sent.ids += [one["observation_id"] for one in send_content(client, source, _content(file), more)]
                sent.count, sent.done = len(sent.ids), sent.done + 1
    except (KheishError, KeyboardInterrupt):
        rest = f"line {sent.done + 1}" if has_lines else files[sent.done]
        click.echo(plain(f"{counted(sent.count, 'observation')} stored; send again from {rest} on."), err=True)
        raise
    text = f"{counted(sent.count, 'observation')} stored" + (f", {sent.refused} refused" if sent.refused else "")
    emit(settings, {"stored": sent.count, "refused": sent.refused, "observation_ids": sent.ids}, ids=sent.ids,
         human=lambda: say(f"{text}."))  # fmt: skip
    return 1 if sent.refused else 0


def _content(file: str) -> bytes:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Invalid(f"Cannot read {file}: {error.strerror}.") from error
    if not content:
        raise Invalid(f"{'stdin' if file == '-' else file} is empty.")
    return content


def send_content(client: Kheish, source: str, content: bytes, more: dict[str, Any]) -> list[Any]:
    """Store the raw content of one observation, also through a restart of the daemon; return what was stored."""
    from kheish.client.uploads import store_observation

    call = store_observation(source, content, idempotency_key=os.urandom(16).hex(), **more)
    return list(persistent(lambda: client.send(call))["items"])


def send_lines(client: Kheish, source: str, stream: IO[bytes], more: dict[str, Any], sent: Sent) -> None:
    """Store each line of a stream as one observation, in batches, until it ends or the user interrupts; count in `sent`
    what is done."""
    for lines in batches(stream):
        numbered = [(sent.done + at, text) for at, line in enumerate(lines, 1) if (text := _clean(line))]
        _send(client, source, numbered, more, sent)
        sent.done += len(lines)


def _send(client: Kheish, source: str, lines: list[tuple[int, str]], more: dict[str, Any], sent: Sent) -> None:
    """Store lines; those that the daemon refuses are reported and left out."""
    given = {name: value for name, value in more.items() if value is not None}
    while lines:
        items = [{"text": text, **given} for _, text in lines]
        key = os.urandom(16).hex()
        try:
            stored = persistent(lambda items=items, key=key: client.observations.create(  # type: ignore[misc]  # mypy infers no lambda with defaults
                source, items, idempotency_key=key))  # fmt: skip
        except KheishError as error:
            faults = {int(match[1]): fault for fault in error.errors if (match := _ITEM.match(fault.path))}
            if not faults:
                raise
            for at, fault in sorted(faults.items()):
                click.echo(plain(f"line {lines[at][0]} is not stored: {fault.message}"), err=True)
            sent.refused += len(faults)
            lines = [line for at, line in enumerate(lines) if at not in faults]
            continue
        sent.count += len(lines)
        sent.ids = [*sent.ids, *(one["observation_id"] for one in stored["items"])][-_READ_AHEAD:]
        return


def _clean(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def batches(stream: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a stream together that come within a moment."""
    lines: queue.Queue[bytes | None] = queue.Queue(_READ_AHEAD)

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    is_over = False
    while not is_over:
        batch, size, end = list[bytes](), 0, 0.0
        try:
            while len(batch) < LINES and size < BYTES:
                line = lines.get(timeout=max(0.0, end - time.monotonic()) if batch else None)
                if line is None:
                    is_over = True
                    break
                if not batch:
                    end = time.monotonic() + WAIT
                batch.append(line)
                size += len(line)
        except queue.Empty:
            pass
        except KeyboardInterrupt:
            is_over = True
        if batch:
            yield batch


def persistent(send: Callable[[], T]) -> T:
    """Return the result of a request; repeat it while the daemon is not there, or the rate is exceeded. Raises the
    last error after `PATIENCE`, which begins after the first wait that the daemon asked for."""
    until, pause, has_waited = time.monotonic() + PATIENCE, 0.2, False
    while True:
        try:
            return send()
        except (TooMany, Unavailable, Unreachable) as error:
            wait = pause
            if isinstance(error, TooMany):
                wait = float(error.extra.get("retry_after", 1))
                if not has_waited:
                    until, has_waited = max(until, time.monotonic() + wait + PATIENCE), True
            if time.monotonic() + wait > until:
                raise
            time.sleep(wait)
            pause = min(pause * 2, 5.0)
