"""`kheish`: the root of all commands. It imports the module of a command on use, and turns errors into messages."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import click

from kheish.cli.options import Group, Settings

#: a value that is too long to be repeated in an error
_LONG = re.compile(r"'[^']{200,}'|\S{200,}")
#: name → (module, function, one line of help): enough to print the help without importing any of them
COMMANDS = {
    "init": ("init", "init", "Create a state root."),
    "up": ("up", "up", "Create a state root if it is missing, and serve it."),
    "serve": ("serve", "serve", "Run the daemon of a state root in the foreground."),
    "stop": ("stop", "stop", "Stop the daemon; running work is finished or kept."),
    "status": ("status", "status", "Show the activity and health of the daemon."),
    "runtime": ("runtime", "runtime", "Show routes, drivers, MCP servers, skills and slots by name."),
    "tools": ("tools", "tools", "List the tools of agents, with arguments and effects."),
    "doctor": ("doctor", "doctor", "Check this machine and state root for problems."),
    "demo": ("demo", "demo", "Show Kheish in a minute, with a scripted model."),
    "run": ("run", "run", "Give an agent a task."),
    "runs": ("runs", "runs", "List, show, follow, steer, cancel and retry runs."),
    "chat": ("chat", "chat", "Talk with an agent on the terminal."),
    "sessions": ("sessions", "sessions", "List, search, show, create, update, end, fork and delete sessions."),
    "tasks": ("tasks", "tasks", "List, create and change the tasks of a session."),
    "goals": ("goals", "goals", "Show, set, pause, resume, raise and clear the goal of a session."),
    "mailbox": ("mailbox", "mailbox", "Post messages to agents, and list them."),
    "memory": ("memory", "memory", "Show and edit agents' memory; decide on proposals."),
    "agents": ("agents", "agents", "List, spawn and close agents."),
    "assets": ("assets", "assets", "List, show, add, save and remove stored files, and their text."),
    "sources": ("sources", "sources", "Manage sources of observations, and their tokens."),
    "observe": ("observe", "observe", "Send files, or lines of stdin, as observations."),
    "capture": ("capture", "capture", "Send what a screen, a microphone or a camera captures."),
    "observations": ("observations", "observations", "List, show, save and materialize observations."),
    "flows": ("flows", "flows", "Start Playbooks, and follow their Flows."),
    "inbox": ("inbox", "inbox", "List pending approvals and questions, and answer them."),
    "approvals": ("approvals", "approvals", "List, show, allow and deny approvals."),
    "questions": ("questions", "questions", "List, show, answer and decline questions."),
    "routes": ("routes", "routes", "Manage routes to models."),
    "personas": ("personas", "personas", "Manage instruction texts for sessions."),
    "playbooks": ("playbooks", "playbooks", "Manage procedures, their versions and releases."),
    "skills": ("skills", "skills", "Manage skills: instructions with files for kinds of tasks."),
    "mcp": ("mcp", "mcp", "Manage MCP servers, and call their tools."),
    "hooks": ("hooks", "hooks", "Manage hooks, import and test them; list those that failed."),
    "connectors": ("connectors", "connectors", "Manage connectors, list their receipts, test them."),
    "outputs": ("outputs", "outputs", "Manage the places that outputs are delivered to, and test them."),
    "deliveries": ("deliveries", "deliveries", "List deliveries of outputs; send again or settle those that failed."),
    "schedules": ("schedules", "schedules", "Manage schedules, their times and their fires."),
    "workers": ("workers", "workers", "Manage, test and install workers: machines for the tools of sessions."),
    "projects": ("projects", "projects", "Manage projects, and the tasks of teams."),
    "channels": ("channels", "channels", "Talk with people and agents in channels, and manage those."),
    "permissions": ("permissions", "permissions", "Show, edit and restore permissions.yaml; explain decisions."),
    "events": ("events", "events", "Print past and new events."),
    "logs": ("logs", "logs", "Show the newest lines of the daemon's log."),
    "usage": ("usage", "usage", "Show model usage and cost."),
    "backup": ("backup", "backup", "Push the state root to a git remote."),
    "restore": ("restore", "restore", "Create a state root from a backup."),
    "log": ("log", "log", "List the commits of the state root."),
    "diff": ("history", "diff", "Show the events of a session between two revisions."),
    "changes": ("changes", "changes", "Show the files that a session changed, with diffs."),
    "show": ("history", "show", "Show a session and its conversation, now or earlier."),
    "blame": ("history", "blame", "Show the author and time of each line of a Definition."),
    "acp": ("acp", "acp", "Serve an editor by the Agent Client Protocol."),
    "replay": ("replay", "replay", "Repeat a session with its recorded answers, and show where it differs."),
    "fork": ("history", "fork", "Create a session with the history of another."),
    "secrets": ("secrets", "secrets", "Manage encrypted credentials."),
    "auth": ("auth", "auth", "List, revoke and restore access to credentials."),
    "audit": ("audit", "audit", "List audit records of external effects; verify them."),
    "trust": ("trust", "trust", "Trust what runs commands without asking."),
    "tokens": ("tokens", "tokens", "Manage the API tokens of other callers."),
    "login": ("login", "login", "Log a browser in with a single-use link."),
    "logout": ("login", "logout", "Log all your browsers out."),
    "state": ("state", "state", "Verify, pack and repair the state root."),
    "problems": ("problems", "problems", "List errors in files, with line and column."),
    "config": ("config", "config", "Show the effective settings; edit and restore kheish.yaml."),
    "prompt": ("prompt", "prompt", "Show and edit the base prompt of all agents (instructions.md)."),
    "plan": ("stacks", "plan", "Show what applying a folder of Definitions would change."),
    "apply": ("stacks", "apply", "Apply a folder of Definitions as one commit."),
    "export": ("stacks", "export", "Write the Definitions in effect to a folder."),
    "pause": ("pause", "pause", "Stop starting new steps."),
    "resume": ("pause", "resume", "Resume after a pause."),
    "worker": ("worker", "worker", "Serve the workspace tools of a daemon elsewhere; it starts this."),
    "completion": ("completion", "completion", "Print a shell completion script."),
}  # fmt: skip


class Root(Group):
    """A group whose commands are imported on use: `kheish --help` may take 150 ms, all modules take more."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, function, _ = COMMANDS[cmd_name]
        found = getattr(import_module(f"kheish.cli.{module}"), function)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean `kheish {near[0]}`?" if near else "See `kheish --help`."
            ctx.fail(f"Unknown command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"kheish {version('kheish')}")
        except PackageNotFoundError:
            click.echo("kheish (run from its source, not installed)")
        ctx.exit()


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def cli() -> None:
    """Run AI agents as durable services over a git repository of plain files."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors become text here and nowhere else."""
    from kheish.cli.output import report
    from kheish.errors import Invalid, KheishError

    words = list(sys.argv[1:] if args is None else args)
    settings = Settings()
    _keep_others_out()
    _write_what_the_terminal_can()
    try:
        code = cli.main(args=words, prog_name="kheish", standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except KheishError as error:
        return report(error, settings)
    except click.ClickException as error:
        return _usage(error, settings.output == "json" or _wants_json(words))
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return 130
    except UnicodeError as error:  # in the input: output is escaped as needed
        return report(
            Invalid(f"The input is not UTF-8 ({error.reason if hasattr(error, 'reason') else error})."), settings
        )
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; without this, the interpreter fails again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _write_what_the_terminal_can() -> None:
    r"""Escape characters that stdout and stderr cannot encode as `\u00e9`, and read stdin as UTF-8.

    Such characters occur with an ASCII locale and lone surrogates. The escapes are valid in JSON, too.
    """
    codecs.register_error("kheish", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="kheish")
    if isinstance(sys.stdin, io.TextIOWrapper) and codecs.lookup(sys.stdin.encoding).name == "ascii":
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high << 8 | low:04x}" for high, low in pairs), error.end


def _keep_others_out() -> None:
    """Set the usual umask if the current one makes new files world-writable, as in some containers and services."""
    mask = os.umask(0o077)
    os.umask(mask if mask & 0o002 else mask | 0o022)


def _usage(error: click.ClickException, as_json: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    detail = _LONG.sub(lambda value: f"{value[0][:100]}…", error.format_message())
    detail = detail if detail.endswith((".", "?", "!")) else f"{detail}."
    context = getattr(error, "ctx", None)
    help_line = f" See `{context.command_path} --help`." if context and "--help" not in detail else ""
    if as_json:
        problem: dict[str, Any] = {
            "type": "urn:kheish:error:usage", "title": "Usage", "status": 0, "detail": detail + help_line,
            "code": "usage", "domain": "cli", "errors": [],
        }  # fmt: skip
        click.echo(json.dumps(problem, ensure_ascii=False), err=True)
    else:
        click.echo(f"kheish: {detail}{help_line}", err=True)
    return 2


def _wants_json(words: Sequence[str]) -> bool:
    """Return whether the arguments request JSON; works for arguments that could not be parsed."""
    return "--output=json" in words or ("--output", "json") in pairwise(words)


if __name__ == "__main__":
    sys.exit(main())
