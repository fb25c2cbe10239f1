"""The text of a skill as the model gets it: with its arguments and its folder put in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

#: the variables that name the folder of a skill, in its text and in the environment of commands
DIR_VARIABLES = ("KHEISH_SKILL_DIR", "CLAUDE_SKILL_DIR")
_PLACE = re.compile(
    r"\$\{(?P<dir>KHEISH_SKILL_DIR|CLAUDE_SKILL_DIR)\}|\$(?P<bare>KHEISH_SKILL_DIR|CLAUDE_SKILL_DIR)\b"
    r"|\$ARGUMENTS\[(?P<index>[0-9]{1,3})\]|(?P<all>\$ARGUMENTS)\b|\$(?P<number>[0-9]{1,3})\b|\$(?P<name>[A-Za-z_][\w-]*)"
)


def put_dir(text: str, folder: str) -> str:
    """Return a text with the variables of the skill's folder replaced."""
    for name in DIR_VARIABLES:
        text = text.replace(f"${{{name}}}", folder)
    return text


def fill(body: str, *, folder: str, arguments: str, names: Sequence[str] = ()) -> tuple[str, bool]:
    """Return the text with `$ARGUMENTS`, `$0`…, `$name` and the folder's variables replaced, in a single pass: nothing
    in an argument is replaced. A number without an argument stays as it is. The second value is whether the text uses
    its arguments.
    """
    given = split(arguments)
    used = False

    def put(match: re.Match[str]) -> str:
        nonlocal used
        if match["dir"] or match["bare"]:
            return folder
        if match["all"]:
            used = True
            return arguments
        if (number := match["index"] or match["number"]) is not None:
            if int(number) >= len(given):
                return "" if match["index"] else match[0]
            used = True
            return given[int(number)]
        if match["name"] not in names:
            return match[0]
        used = True
        at = list(names).index(match["name"])
        return given[at] if at < len(given) else ""

    return _PLACE.sub(put, body), used


def split(arguments: str) -> list[str]:
    """Return the arguments of a line, by the shell's quotes where they are closed."""
    try:
        return shlex.split(arguments)
    except ValueError:
        return arguments.split()
