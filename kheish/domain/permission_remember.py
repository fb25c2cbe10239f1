"""Rules that an answer leaves behind: `remember: exact` (this very call) and `remember: pattern` (calls like it).

A pattern is made only where its reach can be told from its text. For a command: one simple command, none that runs
others, sets variables, redirects, destroys or uses the network. Of a program whose first word says what it does
(`git status`, `python -m pytest`), that much is kept and the rest may be anything; of one that only looks (`ls`,
`grep`), its name; of any other the whole command, letter by letter. For a file: files of the same folder with the same
ending. For a page: its host. The rule is shown with the approval, before anybody decides.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from kheish.domain import permission_match, permission_risk, permission_shell
from kheish.domain.permission_rules import FILE_TOOLS, SHELL_TOOLS, Rule
from kheish.errors import Fault, Invalid
from kheish.jobs import shellwords
from kheish.jobs.commandline import SimpleCommand

How = Literal["exact", "pattern"]
_SHOWN = 200
#: programs that do one thing per subcommand; the rest of the line only says to what
_SUBCOMMANDS = frozenset(["git", "npm", "pnpm", "yarn", "cargo", "go", "uv", "poetry", "dotnet", "mvn", "gradle"])
#: subcommands that change what others have, take commands, or fetch what then runs
_GRAVE_SUBCOMMANDS = frozenset([
    "push", "reset", "clean", "fetch", "pull", "clone", "rebase", "filter-branch", "restore", "checkout", "config",
    "submodule", "remote", "bisect", "difftool", "mergetool", "gc", "prune", "publish", "install", "i", "ci", "exec",
    "x", "dlx", "npx", "run-script", "add", "get", "pip", "tool", "sync", "unpublish", "login", "deploy", "worktree",
])  # fmt: skip
_INTERPRETERS = re.compile(r"(python[\d.]*|node|ruby|perl|php|deno|bun)\Z")
#: programs that look, or only say something; none writes a file or runs a program by an option
_LOOK = frozenset([
    "ls", "cat", "head", "tail", "wc", "grep", "egrep", "fgrep", "stat", "du", "df", "cmp", "cut", "basename",
    "dirname", "realpath", "readlink", "pwd", "echo", "printf", "true", "false", "test", "date", "whoami", "id",
    "uname", "which", "sleep", "seq", "jq", "sha256sum", "md5sum",
])  # fmt: skip


def suggested(tool: str, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """What each way to remember an allow would add; None where it would add nothing."""
    return {how: _try(how, tool, arguments) for how in ("exact", "pattern")}


def rule(how: How, tool: str, arguments: Mapping[str, Any], decision: Literal["allow", "deny"]) -> Rule:
    """The rule that an answer leaves. Raises Invalid where no such rule can be made."""
    if how == "exact":
        match = orjson.dumps(permission_match.essential(tool, arguments), option=orjson.OPT_SORT_KEYS).decode()
        if len(match) > 10_000:
            raise _impossible("the call is too long for a rule")
        return Rule(tool=tool, match=match, exact=True, decision=decision, reason=f"this very call: {_short(match)}")
    match, words = _pattern(tool, arguments)
    return Rule(tool=tool, match=match, decision=decision, reason=words)


def _try(how: Any, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return rule(how, tool, arguments, "allow").model_dump()
    except Invalid:
        return None


def _pattern(tool: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    if tool in SHELL_TOOLS:
        match = _command(str(arguments.get("command", "")))
        return match, f"every command `{_short(match)}`" + (" (* stands for anything)" if match.endswith("*") else "")
    if tool in FILE_TOOLS and isinstance(arguments.get("path"), str):
        match = _files(arguments["path"])
        return match, f"{tool} on every file {match} of the workspace"
    if tool == "web_fetch":
        host = urlsplit(str(arguments.get("url", ""))).hostname
        if host and re.fullmatch(r"[\w.-]+", host):
            return host, f"every page of {host}"
    raise _impossible(f"no pattern is made for this call of {tool}")


def _command(command: str) -> str:
    reading = permission_shell.read(command)
    line = shellwords.parse(command)
    if reading.refusal is not None or len(line.simple) != 1 or line.redirections:
        raise _impossible(
            "no pattern is made of a line with several commands, redirections, or parts that bash fills in"
        )
    [part], [simple] = reading.allowed, line.simple
    if part.closed or part.unsure or any(word.dynamic or word.glob for word in simple.words):
        raise _impossible(f"no pattern is made of `{part.text}`: {part.closed or 'only bash knows all of its words'}")
    if permission_risk.is_grave(simple):
        raise _impossible(f"no pattern is made of `{part.text}`: it destroys, changes rights or uses the network")
    kept, is_open = _kept(simple)
    return " ".join(shlex.quote(word) for word in kept) + (" *" if is_open else "")


def _kept(simple: SimpleCommand) -> tuple[Sequence[str], bool]:
    """The words that a pattern keeps, and whether anything may follow them."""
    words = [word.text for word in simple.words]
    name = words[0]
    operand = next((at for at, word in enumerate(words[1:], 1) if not word.startswith("-")), None)
    if name in _LOOK:
        return words[:1], True
    if name in _SUBCOMMANDS and operand == 1 and words[1] not in _GRAVE_SUBCOMMANDS | {"run"}:
        return words[:2], True
    if _INTERPRETERS.match(name) and words[1:2] == ["-m"] and operand == 2:
        return words[:3], True
    if _INTERPRETERS.match(name) and operand == 1:
        return words[:2], True
    return words, False


def _files(path: str) -> str:
    if re.search(r"[*?\[\]{}\\]", path) or ".." in path.split("/") or path.startswith("/"):
        raise _impossible(f"no pattern is made of the path {path!r}")
    folder, _, name = path.removeprefix("./").rpartition("/")
    ending = re.search(r"[^.]\.[\w-]+\Z", name)
    return f"{folder or '.'}/{'*' + ending[0][1:] if ending else name}"


def _impossible(why: str) -> Invalid:
    message = f"{why}; use exact, or write a rule"
    return Invalid(f"This cannot be remembered so: {message}.", errors=[Fault("/remember", message)])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
