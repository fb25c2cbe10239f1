"""Nothing but `kheish/beneath` opens a file or a folder of a workspace: a search of the code, which every other open
must pass with the reason why it is none of those."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "kheish"
#: names of functions and methods that reach the disk by a path
OPENS = frozenset((
    "open", "fdopen", "scandir", "listdir", "walk", "fwalk", "readlink", "stat", "lstat", "mkdir", "makedirs",
    "unlink", "rename", "replace", "rmdir", "symlink", "link", "read_text", "read_bytes", "write_text", "write_bytes",
    "iterdir", "glob", "rglob", "iglob", "exists", "is_file", "is_dir", "is_symlink", "touch", "chmod", "utime",
    "copyfile", "copy2", "copytree", "rmtree", "which", "resolve", "realpath", "truncate", "mkfifo", "access",
))  # fmt: skip
#: receivers whose methods of such a name are no files
NO_FILES = frozenset(
    ("dataclasses", "playbooks", "approvals", "recipients", "references", "re", "past", "patches", "keeper", "scopes")
)
#: module and function, with what it reaches: none of it is a path of a workspace that is opened
ALLOWED = {
    "runtime/agents/spawning.py": "the real path of a child's folder, and whether it is one; nothing in it is opened",
    "runtime/agents/worktrees.py": "names in the daemon's own folder of worktrees, in which git works as a job",
    "runtime/workers/depot.py": "names in a depot, the daemon's own; git reads the workspace, and writes to none here",
    "runtime/places.py": "which kind of name a folder of a command is, for its verdict; nothing is opened",
    "runtime/project/folders.py": "which folder above a workspace has a repository, and whose; nothing is opened",
    "runtime/skills/copies.py": "copies in the daemon's own folder; what is copied is opened through the door",
    "runtime/skills/scanning.py": "whether something changed since the door opened it, and descriptors from the door",
    "runtime/tools/files.py": "entries of descriptors that the door has opened",
    "runtime/tools/by_descriptor.py": "names in descriptors that the door has opened",
    "runtime/tools/scan.py": "an isolated process, which walks by descriptors (os.fwalk) and never follows a link",
    "runtime/tools/processes.py": "what /proc says of its own children",
    "runtime/tools/search.py": "descriptors, and where ripgrep is installed",
    "runtime/tools/skills.py": "the place of a descriptor from the door, and the workspace's own name",
    "runtime/tools/shell.py": "the workspace's own path, for the sandbox",
    "runtime/hooks/binding.py": "files that a hook names, outside of any workspace or not: only their digests count",
    "runtime/hooks/named.py": "the plain form of a path that a hook names; nothing is opened",
    "runtime/hooks/transcript.py": "transcripts in the state root",
    "runtime/mcp/connection.py": "connections to MCP servers",
    "runtime/workers/carrying.py": "connections to workers, packs in a depot, and the list of depots",
    "runtime/workers/copies.py": "the note and the packs in a depot",
    "runtime/workers/cluster/gateway.py": "the record of an actor in the state root, and its own standard output",
    "runtime/workers/mounting.py": "copies of skills, which are the daemon's own, and an archive of one",
    "runtime/workers/far/parts.py": "packs and archives that arrive, in the worker's own folder",
    "runtime/workers/far/skills.py": "the worker's own copies of skills, and archives that arrive",
    "runtime/workers/far/about.py": "the worker's own folder",
    "runtime/workers/far/workspaces.py": "packs and holders in a depot, and whether the worker has the folder",
    "runtime/workers/connection.py": "connections to workers",
    "runtime/workers/pool.py": "connections to workers, and the name of the state root in it",
    "runtime/workers/placed.py": "connections to workers",
    "runtime/workers/ssh.py": "where ssh is installed",
    "runtime/workers/far/stdio.py": "the descriptors of standard input and output",
    "runtime/mcp/servers.py": "connections to MCP servers",
    "runtime/mcp/errors.py": "logs of MCP servers in the state root",
    "runtime/mcp/memory.py": "what the daemon knows about MCP servers, in the state root",
    "runtime/mcp/opening.py": "working folders of MCP servers, which are the daemon's own",
    "runtime/mcp/processes.py": "whether the folder of a server's process, and those of its sandbox, exist",
    "runtime/assets/keeper.py": "an upload in the state root, before it is stored",
    "runtime/debug/capture.py": "whether the daemon has an identity to encrypt for",
    "runtime/debug/files.py": "captured artifacts in the state root",
    "runtime/outputs/http.py": "times",
    "domain/memory/file.py": "times",
    "domain/schedules/timing.py": "times, and the link /etc/localtime",
    "domain/workspaces.py": "whether a folder may be a workspace; nothing in it is opened",
    "domain/forks/fork.py": "journals of the state root",
    "domain/forks/inherited.py": "journals of the state root",
    "state/loading.py": "journals of the state root",
    "domain/audits.py": "the state root",
}


def opens(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of each call that may reach the disk."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == "open":
            found.append((node.lineno, "open"))
        elif isinstance(function, ast.Attribute) and function.attr in OPENS:
            on = function.value
            is_text = function.attr == "replace" and len(node.args) == 2 and not _is_os(on)
            is_named = isinstance(on, ast.Name) and on.id in NO_FILES
            if not is_text and not is_named:
                found.append((node.lineno, f"{ast.unparse(on)}.{function.attr}"))
    return found


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("os", "shutil")


@pytest.mark.found("S1")
def test_nothing_else_opens_beneath_a_workspace() -> None:
    found = []
    for folder in ("runtime", "domain"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name not in ALLOWED:
                found += [f"{name}:{line}: {what}" for line, what in opens(ast.parse(path.read_text()))]
    assert not found, "open it through kheish.beneath, or say here why it is no path of a workspace"


def test_the_door_itself_follows_no_path() -> None:
    """In the package, only `kernel` opens by name; the rest works on descriptors."""
    for path in sorted((ROOT / "beneath").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_os(node.func.value):
                words = {one.arg for one in node.keywords}
                if node.func.attr in ("open", "stat", "readlink", "mkdir", "unlink") and path.name != "kernel.py":
                    assert "dir_fd" in words, f"{path.name}:{node.lineno}: os.{node.func.attr} by path"
                if node.func.attr in ("stat",) and path.name != "kernel.py":
                    assert "follow_symlinks" in words, f"{path.name}:{node.lineno}"


def test_what_opens_is_found() -> None:
    text = "Path('x').read_text(); open('x'); os.open('x', 0); a.replace('b', 'c'); os.replace('a', 'b'); p.replace(q)"
    assert [name for _, name in opens(ast.parse(text))] == [
        "Path('x').read_text", "open", "os.open", "os.replace", "p.replace",
    ]  # fmt: skip


def test_workspaces_are_named_where_they_are_handed_on_only() -> None:
    """The daemon and the API never make a path below a session's workspace."""
    for folder in ("daemon", "api", "auth"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name.startswith("demo") or path.name == "workspaces.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                    assert "workspace" not in ast.unparse(node.left), f"{path}:{node.lineno}: {ast.unparse(node)}"
