"""Suggestions for a state root without a route: the models available here, and the command that adds each.

The module writes nothing and reads no key; it checks that a variable is set, and that a local server answers.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: environment variable → (name of the route, driver, model)
_KEYS = {
    "OPENAI_API_KEY": ("openai", "openai", "gpt-5.4-mini"),
    "ANTHROPIC_API_KEY": ("anthropic", "litellm", "anthropic/claude-sonnet-4-5"),
    "GEMINI_API_KEY": ("gemini", "litellm", "gemini/gemini-2.5-flash"),
    "MISTRAL_API_KEY": ("mistral", "litellm", "mistral/mistral-small-latest"),
}
#: where local servers usually are
_SERVERS = (
    ("Ollama", "http://127.0.0.1:11434/v1"),
    ("llama.cpp", "http://127.0.0.1:8080/v1"),
    ("vLLM", "http://127.0.0.1:8000/v1"),
)
_PATIENCE = 0.5  # seconds for a server of this machine to say which models it has
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A detected model, and the command that adds a route to it."""

    found: str
    command: str


def look(environ: Mapping[str, str], servers: Sequence[tuple[str, str]] = _SERVERS) -> Iterator[Suggestion]:
    """Yield the detected models. Blocks up to half a second per server."""
    for variable, (name, driver, model) in _KEYS.items():
        if environ.get(variable, "").strip():
            lines = [f"driver: {driver}", f"model: {model}", f"auth_ref: env:{variable}"]
            yield Suggestion(f"{variable} is set", _command(name, lines))
    for name, address in servers:
        if served := _first_model(address):
            lines = ["driver: openai", f"model: {json.dumps(served)}", f"api_base: {address}"]
            yield Suggestion(f"a server answers at {address} ({name}?) with {served}", _command("local", lines))


def say(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the lines that `serve` logs without a route."""
    lines = ["There is no route to a model yet: runs cannot be submitted. routes/README.md has an example."]
    return lines + [f"{one.found}; to add it: {one.command}" for one in look(environ)]


def _command(name: str, lines: Sequence[str]) -> str:
    return f"printf '%s\\n' {' '.join(_quoted(line) for line in lines)} | kheish routes add {name}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _first_model(address: str) -> str | None:
    """Return the first model that the server lists; None without a valid response."""
    try:
        with _DIRECT.open(f"{address}/models", timeout=_PATIENCE) as answer:
            listed = json.loads(answer.read(1_000_000))["data"]
            model = listed[0]["id"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return model if isinstance(model, str) and model.isprintable() else None
