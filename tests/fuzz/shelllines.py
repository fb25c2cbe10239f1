"""Random command lines: all that bash has, and plain lines with one thing in them that is not plain."""

from __future__ import annotations

from random import Random

PROGRAMS = (
    "git", "ls", "cat", "printf", "test", "[", "grep", "find", "sort", "touch", "rm", "tee", "xargs", "env", "true",
    "false", "pwd", "kill", "sh", "bash", "echo", "cd",
)  # fmt: skip
NAMES = (
    "git status", "git log", "git push", "ls", "cat", "printf", "test", "[", "grep x", "find", "sort", "touch",
    "echo", "cd", "pwd", ":", "true", "git", "rm", "exit",
)  # fmt: skip
BUILTINS = (
    "eval", "exec", "command", "builtin", "source", ".", "export", "read", "set", "unset", "alias", "trap", "declare",
    "let", "shift", "type", "wait", "enable", "printf -v", "mapfile", "hash", "time", "!", "coproc", "unalias",
    "shopt",
)  # fmt: skip
PLAIN = (
    "a", "b.py", "-v", "-n", "--", "docs/a", "x", "-la", "--include=*.py", "*.py", "src/*", "[ab]", "a?", "HEAD~1",
    "stash@{0}", "é", "1", "PATH", "touch", "pwned", "=", "a=b", "-", "--x=y", "~", "~/x", "@", "%", "^", ":", ",",
    "+x", "]", "}",
)  # fmt: skip
QUOTED = (
    "'a b'", "\"a b\"", "'$x'", "\"$HOME\"", "$HOME", "\"$?\"", "''", "\"\"", "'touch'", "a\\ b", "\\touch", "\\$x",
    "\"\\$x\"", "'a\nb'", "\"it's\"", "'\"'", "a'b'\"c\"", "'*'", "\\*", "\"`\\`touch y\\``\"", "$'a\\tb'",
    "$'\\x74ouch'", "$\"a\"", "\"$'a'\"", "'\\'", "\"\\\\\"", "a$", "\"a$\"",
)  # fmt: skip
EXPANSIONS = (
    "$x", "${x}", "${x:-a}", "${x:-$(touch y)}", "${!x}", "${x@P}", "$1", "$@", "$$", "$!", "$#", "$-", "$_",
    "$(touch y)", "`touch y`", "$((1+1))", "$((a[$(touch y)]))", "$[1]", "<(touch y)", ">(touch y)", "{a,b}",
    "{touch,y}", "{1..3}", "~root", "a=~/x", "${x[$(touch y)]}", "$(echo -v)", "-[v]", "-*", "@(a|b)", "!(a)", "**",
    "${x//a/b}", "$(<a)", "`echo \\`touch y\\``", "\"$(touch 'y\")')\"", "$(case x in x) touch y;; esac)",
    "$(touch y # )\n)",
)  # fmt: skip
REDIRECTS = (
    "> docs/o", ">> docs/a", "2>&1", ">/dev/null", "2>/dev/null", "< a", "&> docs/o", ">&2", "> docs/l", "> g/config",
    ">docs/s/y", "> src/z", "> pwned", "<> a", ">| docs/o", "3> docs/o", ">&2$$$!x", "&>a$?$!#b", "> $x", "> *",
    "<<< x", "<<< $(touch y)", "2>&-", ">&-", "<&0", ">& docs/o", "{fd}> docs/o", "1>&2", "&>> docs/o",
    "> 'docs/b c'", "> docs/../src/z", "< <(touch y)", "2>", ">", "> \\\ndocs/o",
)  # fmt: skip
HEREDOCS = (
    "<<X\n$x\n`touch y`\nX\n", "<<X\n$(touch y)\nX\n", "<<'X'\ntouch y\nX\ntouch y\n", "<<X\n",
    "<<-X\n\ttouch y\n\tX\n", "<<X\n`touch y`", "<<\\X\n$(touch y)\nX\n", "<<X Y\ntouch y\nX\n",
    "<<\"X\"\nX\n touch y\n", "<<X;touch y\nX\n", "<<X\nX\\\n\nX\n",
)  # fmt: skip
OPERATORS = (
    " | ", " && ", " || ", "; ", "\n", " & ", " |& ", ";;", "\n\n", ";\n", " &&\n", "|", ";", " # x\n", "\\\n",
    " \\\n ", "\r\n", " ;& ", "&!", "\n#touch y\n",
)  # fmt: skip
ODD = (
    "\t", "\r", "\x0b", "\x0c", "\xa0", "\u2028", "\u3000", "\x01", "\x7f", "\x1b", "\\\n", "\\", "'", "\"", "`", "$",
    "(", ")", "{", "}", "[", "]", "<", ">", "|", "&", ";", "#", "!", "~", "=", "*", "?", " ", "\n", "=~", "$'", "$\"",
    "$(", "${", "((", "))", "[[", "]]", "<<", "<(", "\u202e", "\ufeff", "é", "\\'", "\\\"", "2>", "&>", "^", "%", "@",
    "\x80", "\x85", "\xad",
)  # fmt: skip
COMPOUNDS = (
    "if {0}; then {1}; fi", "for x in {2}; do {0}; done", "for \\\nPATH in {2}; do {0}; done",
    "while {0}; do {1}; break; done", "case {2} in a) {0};; *) {1};; esac", "f() {{ {0}; }}; {1}",
    "function echo {{ {0}; }}; {1}", "({0})", "{{ {0}; }}", "! {0}", "time {0}", "coproc {0}",
    "[[ {2} =~ {2} ]] && {0}", "(( x )) || {0}", "until {0}; do {1}; break; done",
    "select x in {2}; do {0}; break; done", "x={2} {0}", "x=({2}); {0}", "alias ls='{1}'\n{0}",
    "shopt -s expand_aliases\nalias ls=touch\n{0}", "[ {2} ] && {0}", "{0} & {1}",
    "for ((i=0;i<1;i++)); do {0}; done", "git status =~\n{0}", "{{{0},{1}}}", "x+={2}; {0}", "PATH=. {0}",
    "declare {2}; {0}", "trap '{1}' EXIT; {0}",
)  # fmt: skip


def line(rng: Random) -> str:
    """Return a command line: of all of bash, plain, or plain with changes."""
    kind = rng.random()
    text = _any(rng, 0) if kind < 0.3 else _plain(rng)
    if 0.2 < kind < 0.8:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            text = _changed(rng, text)
    return text


def _plain(rng: Random) -> str:
    text = _plain_command(rng)
    while rng.random() < 0.35:
        text += rng.choice((" | ", " && ", " || ", "; ", "\n", ";", "\n\n# x\n", " \\\n ; ")) + _plain_command(rng)
    return text


def _plain_command(rng: Random) -> str:
    words = [rng.choice(NAMES)]
    while rng.random() < 0.6:
        words.append(rng.choice(PLAIN if rng.random() < 0.6 else QUOTED[:21]))
    if rng.random() < 0.3:
        words.insert(rng.randint(1, len(words)), rng.choice(REDIRECTS[:12]))
    return rng.choice((" ", " ", "  ", "\t")).join(words)


def _any(rng: Random, depth: int) -> str:
    if depth < 2 and rng.random() < 0.35:
        return rng.choice(COMPOUNDS).format(_any(rng, depth + 1), _any(rng, depth + 1), _word(rng))
    words = [rng.choice(NAMES if rng.random() < 0.8 else BUILTINS)]
    while rng.random() < 0.6:
        words.append(_word(rng))
    if rng.random() < 0.4:
        words.insert(rng.randint(0, len(words)), rng.choice(REDIRECTS))
    text = " ".join(words)
    if rng.random() < 0.15:
        text += rng.choice(HEREDOCS)
    if rng.random() < 0.4:
        text += rng.choice(OPERATORS) + _any(rng, depth + 1)
    return text


def _word(rng: Random) -> str:
    text = rng.choice(rng.choice((PLAIN, QUOTED, EXPANSIONS)))
    while rng.random() < 0.25:
        text += rng.choice(rng.choice((PLAIN, QUOTED, EXPANSIONS, ODD)))
    return text


def _changed(rng: Random, text: str) -> str:
    at = rng.randint(0, len(text))
    end = min(len(text), at + rng.randint(1, 4))
    match rng.randint(0, 7):
        case 0:
            return text[:at] + text[end:]
        case 1:
            return text[:at] + text[at:end] * 2 + text[end:]
        case 2 | 3 | 4:
            return text[:at] + rng.choice(ODD) + text[at:]
        case 5:
            return text[:at] + rng.choice(rng.choice((EXPANSIONS, REDIRECTS, HEREDOCS, OPERATORS))) + text[at:]
        case 6:
            return text[:at] + rng.choice(ODD) + text[end:]
        case _:
            return text + rng.choice((*OPERATORS, *HEREDOCS)) + rng.choice(("touch y", "ls", ""))
