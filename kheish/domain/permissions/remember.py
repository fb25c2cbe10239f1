"""Rules left by an answer: `remember: exact` (this very call) and `remember: pattern` (calls like it).

A pattern is made only if its text shows its reach. For a command, the line must be one plain simple command that does
not run others, redirect, destroy or use the network. If the table of programs lists it as read-only (`git status`,
`ls`), or as running code of the workspace (`python -m pytest`, `python manage.py`), the program's words stay and the
table gives the rest. For any other program, the pattern is the whole command, word by word. For a file, it is the files
of the same folder with the same ending. For a page, it is the host. The rule is shown with the approval, before the
decision.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from kheish.domain.permissions import match as permission_match, risk as permission_risk
from kheish.domain.permissions.rules import FILE_TOOLS, SHELL_TOOLS, Rule
from kheish.errors import Fault, Invalid
from kheish.jobs import plainline, shellwords
from kheish.jobs.programs import table as programs

How = Literal["exact", "pattern"]
_SHOWN = 200


def suggested(tool: str, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return the rule that each way of remembering an allow would add; None for a way that would add nothing."""
    return {how: _try(how, tool, arguments) for how in ("exact", "pattern")}


def rule(how: How, tool: str, arguments: Mapping[str, Any], decision: Literal["allow", "deny"]) -> Rule:
    """Return the rule that an answer leaves. Raises Invalid if no such rule can be made."""
    if how == "exact":
        match = orjson.dumps(permission_match.essential(tool, arguments), option=orjson.OPT_SORT_KEYS).decode()
        if len(match) > 10_000:
            raise _impossible("the call is too long for a rule")
        return Rule(tool=tool, match=match, exact=True, decision=decision, reason=f"this very call: {_short(match)}")
    match, words = _pattern(tool, arguments)
    workdir = _workdir(arguments) if tool in SHELL_TOOLS else "."
    return Rule(tool=tool, match=match, workdir=workdir, decision=decision, reason=words)


def _try(how: Any, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return rule(how, tool, arguments, "allow").model_dump()
    except Invalid:
        return None


def _pattern(tool: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    if tool in SHELL_TOOLS:
        match = _command(str(arguments.get("command", "")))
        return match, f"every command `{_short(match)}`" + (
            " (* covers arguments without further effects)" if match.endswith("*") else ""
        )
    if tool in FILE_TOOLS and isinstance(arguments.get("path"), str):
        match = _files(arguments["path"])
        return match, f"{tool} on every file {match} of the workspace"
    if tool == "web_fetch":
        host = urlsplit(str(arguments.get("url", ""))).hostname
        if host and re.fullmatch(r"[\w.-]+", host):
            return host, f"every page of {host}"
    raise _impossible(f"no pattern can be made for this call of {tool}")


def _command(command: str) -> str:
    plain = plainline.read(command)
    if isinstance(plain, plainline.Refusal):
        raise _impossible(f"no pattern can be made of a line that is not plain: {plain.why}")
    if len(plain.commands) != 1 or plain.commands[0].redirects:
        raise _impossible("no pattern can be made of a line with several commands or redirections")
    [one] = plain.commands
    if any(word.is_open for word in one.words) or one.words[0].text == "cd":
        raise _impossible(f"no pattern can be made of `{_short(one.text)}`: only bash can expand its words")
    if shellwords.runs_others(one.loose()):
        raise _impossible(f"no pattern can be made of `{_short(one.text)}`: it runs other commands, or may")
    if permission_risk.is_grave(one.loose()):
        raise _impossible(
            f"no pattern can be made of `{_short(one.text)}`: it destroys, changes rights or uses the network"
        )
    words = one.plain_words
    count, is_offered = programs.stem(words)
    wide = _quoted(words[:count]) + " *"
    return wide if is_offered and programs.fault(words, wide) is None else _quoted(words)


def _quoted(words: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _workdir(arguments: Mapping[str, Any]) -> str:
    """Return the folder that a pattern applies to: the one that the call names."""
    folder = posixpath.normpath(str(arguments.get("workdir") or "."))
    if folder.startswith(("/", "..", "~")) or re.search(r"[*?\[\]{}\\]", folder):
        raise _impossible(f"no pattern can be made for the folder {_short(folder)!r}")
    return folder


def _files(path: str) -> str:
    if re.search(r"[*?\[\]{}\\]", path) or ".." in path.split("/") or path.startswith("/"):
        raise _impossible(f"no pattern can be made of the path {path!r}")
    folder, _, name = path.removeprefix("./").rpartition("/")
    ending = re.search(r"[^.]\.[\w-]+\Z", name)
    return f"{folder or '.'}/{'*' + ending[0][1:] if ending else name}"


def _impossible(why: str) -> Invalid:
    message = f"{why}; use exact, or write a rule"
    return Invalid(f"This answer cannot be remembered: {message}.", errors=[Fault("/remember", message)])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
