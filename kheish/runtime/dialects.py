"""Dialects: which messages a server accepts. One table of rules, and which of them hold for a model.

The rules were collected from what the servers answer (a 400 with these words), since no provider documents all of them:

- OpenAI: names `^[a-zA-Z0-9_-]{1,64}$`, call ids of at most 40 characters, texts of at most 10 MB.
- Mistral: call ids of exactly 9 letters and digits; "Unexpected role 'user' after role 'tool'".
- Gemma and many templates of local servers: users and assistants alternate, no system role, no tool role.
- Gemini: a name begins with a letter or an underscore; no empty parts; a call comes right after a user or a result.
- Anthropic: call ids `^[a-zA-Z0-9_-]+$`; no empty text; results right after their calls; calls only where tools are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_MISTRAL = re.compile(r"ministral|mistral|mixtral|codestral|devstral|magistral|pixtral", re.IGNORECASE)
#: Gemma 4 and FunctionGemma have roles for systems and tools
_GEMMA = re.compile(r"(?<![a-z])gemma(?:[-_:]?(?:[123]n?(?![0-9])|7b)|(?![-_:]?[0-9])\b)", re.IGNORECASE)
_ANTHROPIC = re.compile(r"claude|anthropic", re.IGNORECASE)
_GEMINI = re.compile(r"gemini", re.IGNORECASE)

TEXT_CHARACTERS = 10_000_000  # of one message; OpenAI refuses more than 10,485,760


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The message formats that one server accepts."""

    call_id: re.Pattern[str] = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
    id_length: int = 24  # length of an id that replaces another
    alternates: bool = True  # users and assistants alternate; a result counts as the assistant's
    system: bool = True  # whether there is a system role
    calls_as_text: bool = False  # whether calls and results become plain text
    calls_need_tools: bool = False  # the same, for a request that offers no tools
    opaque: bool = True  # whether a provider's own blocks are sent back to it


_NINE = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS = re.compile(r"[A-Za-z0-9_-]{1,40}")

DEFAULT = Rules()
MISTRAL = Rules(call_id=_NINE, id_length=9)
GEMMA = Rules(system=False, calls_as_text=True, opaque=False)
GEMINI = Rules(call_id=_LETTERS)
ANTHROPIC = Rules(call_id=_LETTERS, calls_need_tools=True)
#: no server: a script sees its conversation unchanged
SCRIPTED = Rules(alternates=False, call_id=re.compile(r".+", re.DOTALL))

#: the highest strictness: 0 is the dialect itself
STRICTEST = 2


def of(driver: str, model: str | None, api_base: str | None, strictness: int = 0) -> Rules:
    """Return the rules for a server. Each degree of `strictness` removes more that a server may refuse."""
    if driver == "scripted":
        return SCRIPTED
    rules = _rules_by_name(f"{model or ''} {api_base or ''}")
    if strictness >= 1:
        rules = replace(rules, call_id=_NINE, id_length=9, opaque=False, calls_need_tools=True)
    if strictness >= STRICTEST:
        rules = replace(rules, system=False, calls_as_text=True)
    return rules


def _rules_by_name(name: str) -> Rules:
    if _MISTRAL.search(name):
        return MISTRAL
    if _GEMMA.search(name):
        return GEMMA
    if _ANTHROPIC.search(name):
        return ANTHROPIC
    return GEMINI if _GEMINI.search(name) else DEFAULT
