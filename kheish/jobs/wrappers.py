"""Commands that run other commands from their arguments or their input."""

from __future__ import annotations

import re

from kheish.jobs.commandline import SimpleCommand

_SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "busybox")
#: options after which a word is split or replaced, or no command follows
_SPLITS = re.compile(r"--split|-\w*[SsieI](?!\{\}$)|--replace|--shell")
_SHELL = re.compile(r"(ba|da|z|k)?sh[0-9.-]*")
_BUILTINS = ("command", "exec", "builtin", "coproc", "time", "eval", "source", ".", "trap")
#: commands whose words, or whose input, are commands
ALWAYS = frozenset((*_SHELLS, *_BUILTINS)) | {
    "xargs", "parallel", "env", "sudo", "doas", "su", "runuser", "pkexec", "nohup", "timeout", "nice", "ionice",
    "chrt", "taskset", "stdbuf", "setsid", "setpriv", "chroot", "unshare", "nsenter", "bwrap", "firejail", "script",
    "watch", "strace", "ltrace", "gdb", "perf", "valgrind", "flock", "entr", "ssh", "at", "batch", "systemd-run",
    "dbus-run-session", "capsh", "start-stop-daemon", "expect", "unbuffer", "rlwrap", "jobs", "npx", "bunx",
    "uvx", "pipx", "fakeroot", "faketime", "proot", "tmux", "screen", "nsjail", "ssh-agent", "catchsegv",
}  # fmt: skip
#: commands that run the command after their own options, and nothing else
_TRANSPARENT = frozenset([
    "env", "nohup", "timeout", "nice", "ionice", "time", "stdbuf", "setsid", "command", "exec", "builtin", "chrt",
    "taskset", "sudo", "doas", "unbuffer", "xargs", "find", "fd", "fdfind",
])  # fmt: skip
#: commands that fill in more words, and the options after which their command begins ("": after their own options)
_FILL_IN: dict[str, tuple[str, ...]] = {
    "xargs": ("",),
    "find": ("-exec", "-execdir", "-ok", "-okdir"),
    **dict.fromkeys(("fd", "fdfind"), ("-x", "-X", "--exec", "--exec-batch")),
}
_XARGS = re.compile(r"-[0rtpxo]+|-[adELnPs].+|--(null|no-run-if-empty|verbose|exit|interactive|open-tty)|--[a-z-]+=.*")
#: programs whose words may be code that runs commands
OTHER_LANGUAGES = frozenset([
    "python", "perl", "ruby", "node", "php", "lua", "deno", "bun", "Rscript", "tclsh", "awk", "gawk", "mawk", "sed",
    "make", "vi", "vim", "nvim", "emacs", "ed", "ex", "less", "man", "sqlite3", "psql", "mysql", "gdb", "tar", "rsync",
    "scp",
])  # fmt: skip
#: options before a subcommand that take the next word
TAKE_VALUES: dict[str, frozenset[str]] = {
    "git": frozenset(["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env"]),
    "npm": frozenset(["-C", "--prefix", "-w", "--workspace", "--loglevel"]),
    "cargo": frozenset(["--config", "-Z", "-C", "--color"]),
}
#: options that make a command run another; for git by subcommand, "" means before the subcommand
_OPTIONS: dict[str, tuple[str, ...]] = {
    "find": ("-exec", "-execdir", "-ok", "-okdir"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "fdfind": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre", "--hostname-bin"),
    "tar": (
        "-I", "-F", "--to-command", "--checkpoint-action", "--use-compress-program", "--info-script", "--rsh-command",
    ),
    "rsync": ("-e", "--rsh", "--rsync-path"),
    "sort": ("--compress-program",),
    "man": ("-P", "--pager", "-H", "--html"),
    "split": ("--filter",),
    "zip": ("-T", "--unzip-command"),
}  # fmt: skip
_GIT: dict[str, tuple[str, ...]] = {
    "": ("-c", "--config-env", "--exec-path"),
    "clone": ("-c", "--config", "-u", "--upload-pack"),
    "fetch": ("--upload-pack",),
    "pull": ("--upload-pack",),
    "ls-remote": ("--upload-pack", "--exec"),
    "push": ("--receive-pack", "--exec"),
    "archive": ("--exec",),
    "rebase": ("-x", "--exec"),
    "grep": ("-O", "--open-files-in-pager"),
}
#: subcommands without such an option: no word after them runs another command, whatever bash fills in
_GIT_PLAIN = frozenset((
    "add", "blame", "branch", "checkout", "cherry-pick", "commit", "diff", "log", "ls-files", "merge", "reset",
    "restore", "rev-list", "rev-parse", "show", "stash", "status", "switch", "tag",
))  # fmt: skip
_GIT_RUNS = frozenset(("submodule", "bisect", "filter-branch", "difftool", "mergetool", "fetch-pack", "send-pack"))


def commands_at(words: tuple[str, ...]) -> list[int] | None:
    """Return the positions of the commands that a program fills words into; None if any word may begin a command."""
    after = _FILL_IN.get(words[0].rsplit("/", 1)[-1])
    if after is None:
        return None
    if after != ("",):
        return [at + 1 for at, word in enumerate(words[:-1]) if word in after]
    at = 1
    while at < len(words) and words[at].startswith("-"):
        if not re.fullmatch(r"-[adEILnPs]", words[at]) and not _XARGS.fullmatch(words[at]) and words[at] != "-I{}":
            return None
        at += 2 if len(words[at]) == 2 and words[at][1] in "adEILnPs" else 1
    return [at] if at < len(words) else []


def hides(words: tuple[str, ...]) -> bool:
    """Return whether a wrapper command may run text that none of its words contains: a script, its input."""
    name, rest = words[0].rsplit("/", 1)[-1], words[1:]
    if re.fullmatch(_SHELL, name) or name in _SHELLS:
        options = [word for word in rest if word.startswith("-")]
        return (
            not options or not all(re.fullmatch(r"-[ceux]+", word) for word in options) or "c" not in "".join(options)
        )
    if name not in _TRANSPARENT:
        return True
    if name in ("env", "sudo", "doas", "xargs") and any(
        re.match(r"--split|-\w*[SsieI]|--replace|--shell", word) for word in rest
    ):
        return True
    if name in _FILL_IN:
        return False
    opaque = ALWAYS - _TRANSPARENT if name in _BUILTINS else ALWAYS - _TRANSPARENT - frozenset(_BUILTINS)
    return any(word.rsplit("/", 1)[-1] in opaque for word in rest)


def runs_others(simple: SimpleCommand) -> bool:
    """Return whether the command runs its words (or its input), so that its first words do not determine its effect.

    A command with an unknown name counts too. Interpreters of other languages (python, awk, make) do not: a rule that
    allows them allows all of their effects.
    """
    if not simple.words:
        return False
    first, *rest = simple.words
    name = first.text.rsplit("/", 1)[-1]
    if first.dynamic or name in ALWAYS or re.fullmatch(_SHELL, name):
        return True
    if name != "git" and name not in _OPTIONS:
        return False
    if name == "git" and rest and not rest[0].dynamic and rest[0].text in _GIT_PLAIN:
        return False
    if name != "find":  # after `--` there are no options
        rest = rest[: next((at for at, word in enumerate(rest) if word.text == "--"), len(rest))]
    # A word that only bash can evaluate may turn into such an option; so may a pattern that can begin with a dash.
    if any(word.dynamic or (word.glob and word.text[:1] in "*?[-") for word in rest):
        return True
    texts = [word.text for word in rest]
    if name == "git":
        return _git_runs_others(texts)
    if name == "tar" and texts:
        texts[0] = "-" + texts[0].lstrip("-") if not texts[0].startswith("--") else texts[0]
    return _has_option(texts, _OPTIONS[name])


def _git_runs_others(texts: list[str]) -> bool:
    at = 0
    while at < len(texts) and texts[at].startswith("-"):
        if _has_option([texts[at]], _GIT[""]):
            return True
        at += 2 if texts[at] in TAKE_VALUES["git"] else 1
    if at >= len(texts):
        return False
    return texts[at] in _GIT_RUNS or _has_option(texts[at + 1 :], _GIT.get(texts[at], ()))


def _has_option(texts: list[str], options: tuple[str, ...]) -> bool:
    """Return whether one of the options is among the words: as it is, with `=value`, abbreviated (`--upload-p`), or in
    a bundle of letters (`-xI`)."""
    for text in texts:
        stem = text.partition("=")[0]
        if stem in options:
            return True
        if stem.startswith("--"):
            if len(stem) > 2 and any(option.startswith(stem) for option in options):
                return True
        elif stem.startswith("-") and any(len(option) == 2 and option[1] in text[1:] for option in options):
            return True
    return False
