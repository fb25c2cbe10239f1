"""The risk of a call, as a hint for the user who decides. It is not a permission."""

from __future__ import annotations

from kheish.domain.permissions import shell as permission_shell
from kheish.domain.permissions.rules import SHELL_TOOLS, Risk, ToolCall
from kheish.jobs import shellwords
from kheish.jobs.commandline import SimpleCommand
from kheish.jobs.programs import table as programs

_BY_EFFECT: dict[str, Risk] = {"read": "low", "coordination": "low", "write": "medium", "effect": "high"}
#: programs that destroy data, change identity, or use the network
_GRAVE = frozenset([
    "rm", "rmdir", "dd", "shred", "truncate", "wipefs", "fdisk", "parted", "mount", "umount", "sudo", "su", "doas",
    "pkexec", "chroot", "chmod", "chown", "chgrp", "setfacl", "kill", "pkill", "killall", "shutdown", "reboot",
    "halt", "systemctl", "crontab", "at", "iptables", "nft", "curl", "wget", "ssh", "scp", "sftp", "rsync", "nc",
    "ncat", "netcat", "socat", "telnet", "ftp", "docker", "podman", "kubectl", "terraform",
])  # fmt: skip
_SUBCOMMANDS: dict[str, frozenset[str]] = {
    "git": frozenset({"push", "reset", "clean", "fetch", "pull", "clone", "rebase", "filter-branch", "restore"}),
    "npm": frozenset({"publish", "install", "i", "ci", "unpublish"}),
    "pip": frozenset({"install", "uninstall", "download"}),
    "uv": frozenset({"pip", "add", "sync", "publish"}),
    "cargo": frozenset({"publish", "install"}),
    "apt": frozenset({"install", "remove", "purge", "update", "upgrade"}),
    "apt-get": frozenset({"install", "remove", "purge", "update", "upgrade"}),
}


def risk(call: ToolCall) -> Risk:
    """Return the risk of a call.

    low: it reads or coordinates. medium: it writes in the workspace, fetches a page, or is a plain command. high: a
    command that names a program which destroys, changes rights or uses the network, that cannot be parsed, or that
    redirects to an absolute path; also any other tool with effects (MCP).
    """
    if call.tool == "web_fetch":
        return "medium"
    if call.tool not in SHELL_TOOLS:
        return _BY_EFFECT.get(call.effect, "high")
    command = call.arguments.get("command")
    if not isinstance(command, str):
        return "high"
    line = shellwords.parse(command)
    outside = any(
        redirection.writes
        and (redirection.target is None or redirection.target.startswith("/") or ".." in redirection.target)
        for redirection in line.redirections
        if redirection.target not in permission_shell.ALWAYS_OPEN
    )
    grave = line.unreadable is not None or outside or any(is_grave(simple) for simple in line.simple)
    return "high" if grave else "medium"


def is_grave(simple: SimpleCommand) -> bool:
    """Return whether a simple command names a program that destroys data, changes identity, or uses the network."""
    names = [word.text.rsplit("/", 1)[-1] for word in simple.words]
    if not names:
        return False
    names[0] = programs.base(names[0])
    if names[0] == "python" and "-m" in names[1:]:
        names = names[names.index("-m") + 1 :] or names
    if simple.words[0].dynamic or names[0] in _GRAVE or names[0].startswith("mkfs"):
        return True
    if shellwords.runs_others(simple) and (_GRAVE & set(names) or any(" " in name for name in names)):
        return True
    return bool(_SUBCOMMANDS.get(names[0], frozenset()) & set(names[1:4]))
