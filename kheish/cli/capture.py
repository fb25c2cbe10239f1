"""`kheish capture`: send what a screen, a microphone or a camera shows, with the tools that the machine has."""

from __future__ import annotations

import os
import shutil
import subprocess  # nosec B404 - programs of this list, without a shell
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from kheish import ids
from kheish.cli.observe import send_content
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import counted, emit, plain, say
from kheish.errors import Invalid, Unavailable

DEVICES = ("screen", "microphone", "camera")
#: by device, the program, the variable without which it is useless, and its words; {file} and {seconds} are filled in
TOOLS: Mapping[str, Sequence[tuple[str, str | None, tuple[str, ...]]]] = {
    "screen": (
        ("grim", "WAYLAND_DISPLAY", ("{file}",)),
        ("import", "DISPLAY", ("-silent", "-window", "root", "png:{file}")),
        ("ffmpeg", "DISPLAY", ("-f", "x11grab", "-i", "{display}", "-frames:v", "1", "{file}")),
        ("screencapture", None, ("-x", "-t", "png", "{file}")),
    ),
    "microphone": (
        ("ffmpeg", None, ("-f", "{sound}", "-i", "default", "-t", "{seconds}", "-ac", "1", "-ar", "16000", "{file}")),
    ),
    "camera": (("ffmpeg", None, ("-f", "v4l2", "-i", "/dev/video0", "-frames:v", "1", "{file}")),),
}
_ENDINGS = {"screen": "png", "microphone": "wav", "camera": "png"}
_KINDS = {"screen": "image", "microphone": "audio", "camera": "image"}
_FFMPEG = ("-nostdin", "-loglevel", "error", "-y")
_PATIENCE = 60.0


@command()
@click.argument("device", type=click.Choice(DEVICES))
@click.argument("source")
@click.option("--every", metavar="TIME", default="30s", show_default=True, help="The time between two captures.")
@click.option("--count", type=click.IntRange(1), help="The number of captures; without it, until it is interrupted.")
@click.option("--length", metavar="TIME", default="10s", show_default=True, help="Of sound: the length of each.")
@pass_settings
def capture(settings: Settings, device: str, source: str, every: str, count: int | None, length: str) -> None:
    """Send captures of a DEVICE to a source: screen, microphone or camera."""
    pause, seconds = _seconds("--every", every), _seconds("--length", length)
    tool = _tool(device)
    client, made, begun = settings.client(), list[str](), time.monotonic()
    try:
        while True:
            content = _capture(device, tool, seconds)
            more = {"kind": _KINDS[device], "stream": device, "captured_at": ids.now(), "sequence": len(made) + 1}
            made += [one["observation_id"] for one in send_content(client, source, content, more)]
            if len(made) == count:
                break
            time.sleep(max(0.0, begun + len(made) * pause - time.monotonic()))
    except KeyboardInterrupt:
        if not made:
            raise
    text = f"{counted(len(made), 'capture')} stored."
    emit(settings, {"observation_ids": made}, ids=made, human=lambda: say(text))


def _seconds(name: str, text: str) -> float:
    try:
        return ids.duration(text)
    except ValueError as error:
        raise click.UsageError(f"{name}: {error}.") from error


def _tool(device: str) -> tuple[str, tuple[str, ...]]:
    """Return the program for a device that this machine has, and its words. Raises Unavailable."""
    for name, variable, words in TOOLS[device]:
        path = shutil.which(name)
        if path is not None and (variable is None or os.environ.get(variable)):
            return path, words
    named = " or ".join(
        f"{name}{f' (with {variable} set)' if variable else ''}" for name, variable, _ in TOOLS[device]
    )  # fmt: skip
    raise Unavailable(f"Capturing the {device} needs {named}; there is none here. Install one, and retry.")


def _capture(device: str, tool: tuple[str, tuple[str, ...]], seconds: float) -> bytes:
    """Return what a device captures now. Raises Invalid with the program's own words."""
    path, words = tool
    sound = "avfoundation" if sys.platform == "darwin" else "pulse"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"capture.{_ENDINGS[device]}"
        given = {"file": str(file), "seconds": f"{seconds:g}", "sound": sound, "display": os.environ.get("DISPLAY", "")}
        filled = [word.format(**given) for word in words]
        program = [path, *(_FFMPEG if path.endswith("ffmpeg") else ()), *filled]
        try:
            done = subprocess.run(program, capture_output=True, timeout=_PATIENCE + seconds, check=False)  # nosec B603
        except (OSError, subprocess.SubprocessError) as error:
            raise Invalid(f"{path} could not capture the {device}: {error}.") from error
        if done.returncode != 0 or not file.exists():
            said = plain(done.stderr.decode("utf-8", "replace").strip()[-400:]) or f"exit status {done.returncode}"
            raise Invalid(f"{path} could not capture the {device}: {said}.")
        return file.read_bytes()
