"""The public names of tools, as files of coding agents have them, and the tools here that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: tools by their public names
TOOLS: Mapping[str, tuple[str, ...]] = {
    "Agent": ("spawn_agent", "wait_agent", "get_agent", "list_agents", "message_agent", "close_agent"),
    "AskUserQuestion": ("ask_user_question",),
    "Bash": ("bash", "shell_task_start"),
    "BashOutput": ("task_output",),
    "Edit": ("edit_file", "apply_patch"),
    "ExitPlanMode": ("exit_plan_mode",),
    "Glob": ("glob_search", "list_files"),
    "Grep": ("grep_search",),
    "KillShell": ("task_stop",),
    "LS": ("list_files",),
    "MultiEdit": ("edit_file", "apply_patch"),
    "Read": ("read_file", "list_files"),
    "Skill": ("use_skill",),
    "Task": ("spawn_agent", "wait_agent", "get_agent", "list_agents", "message_agent", "close_agent"),
    "TodoWrite": ("todo_write",),
    "WebFetch": ("web_fetch",),
    "WebSearch": ("web_search",),
    "Write": ("write_file",),
}


def translated(names: Iterator[str] | list[str]) -> Iterator[str]:
    """Yield the names that tools have here. Of `Bash(git *)` only the tool counts, since rules decide on calls."""
    for name in names:
        plain = name.partition("(")[0].strip()
        yield from TOOLS.get(plain, (plain,)) if plain else ()


#: tools whose calls others see by a public name: hooks get and give that name, with the public arguments
SHOWN: Mapping[str, str] = {
    "apply_patch": "apply_patch",
    "ask_user_question": "AskUserQuestion",
    "bash": "Bash",
    "edit_file": "Edit",
    "exit_plan_mode": "ExitPlanMode",
    "glob_search": "Glob",
    "grep_search": "Grep",
    "read_file": "Read",
    "shell_task_start": "Bash",  # a command must not evade a hook by running in the background
    "spawn_agent": "Agent",
    "todo_write": "TodoWrite",
    "use_skill": "Skill",
    "web_fetch": "WebFetch",
    "write_file": "Write",
}
#: further names by which a matcher may mean a tool
_ALSO: Mapping[str, tuple[str, ...]] = {
    "apply_patch": ("Edit", "Write", "MultiEdit"),
    "store_asset": ("Read",),  # a file must not evade a hook on its way to read_file
}


def shown(tool: str) -> str:
    """Return the public name of a tool; most tools have none, and keep their own."""
    return SHOWN.get(tool, tool)


def names_of(tool: str) -> tuple[str, ...]:
    """Return all names by which a matcher may mean a tool, its public name first."""
    main = [name for name, tools in TOOLS.items() if tools[0] == tool]
    return tuple(dict.fromkeys((shown(tool), tool, *main, *_ALSO.get(tool, ()))))
