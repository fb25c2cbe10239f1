"""The lenient reader of SKILL.md, in the styles of public skills."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kheish.domain.skills import allowed, reading, skill as skills, text
from kheish.domain.skills.skill import Skill

PATH = "skills/pdf/SKILL.md"


def read(raw: str | bytes) -> tuple[Skill | None, list[str]]:
    parsed = reading.parse(raw.encode() if isinstance(raw, str) else raw, PATH)
    return parsed.value, [problem.code for problem in parsed.problems]


STYLES: tuple[tuple[str, str | bytes, dict[str, Any], list[str]], ...] = (
    ("plain", "---\nname: pdf\ndescription: Fill forms.\n---\n# PDF\n", {"description": "Fill forms."}, []),
    (
        "quoted and licensed",
        '---\nname: pdf\ndescription: "Use: when needed"\nlicense: Proprietary. LICENSE.txt has complete terms\n---\nb',
        {"description": "Use: when needed", "license": "Proprietary. LICENSE.txt has complete terms"},
        [],
    ),
    (
        "an unquoted colon",
        "---\nname: pdf\ndescription: Use this when: (1) forms, (2) tables\nlicense: MIT\n---\nb",
        {"description": "Use this when: (1) forms, (2) tables", "license": "MIT"},
        ["repaired"],
    ),
    (
        "an unquoted colon over two lines",
        "---\nname: pdf\ndescription: Toolkit for\n  forms: and tables\nallowed-tools:\n  - Read\n---\nb",
        {"description": "Toolkit for forms: and tables", "allowed_tools": ["Read"]},
        ["repaired"],
    ),
    (
        "folded text, CRLF and a byte order mark",
        b"\xef\xbb\xbf---\r\nname: pdf\r\ndescription: >-\r\n  Two\r\n  lines\r\n---\r\nBody\r\n",
        {"description": "Two lines", "body": "Body"},
        [],
    ),
    (
        "tools with commas",
        "---\nname: pdf\ndescription: d\nallowed-tools: Read, Bash(git add:*), Bash(npm run test -- --x *)\n---\nb",
        {"allowed_tools": ["Read", "Bash(git add:*)", "Bash(npm run test -- --x *)"]},
        [],
    ),
    ("tools with spaces", "---\nname: pdf\ndescription: d\nallowed-tools: Read Grep  Glob\n---\nb",
     {"allowed_tools": ["Read", "Grep", "Glob"]}, []),
    ("tools in brackets", "---\nname: pdf\ndescription: d\nallowed-tools: [Read, 'Bash(ls *)']\n---\nb",
     {"allowed_tools": ["Read", "Bash(ls *)"]}, []),
    ("another spelling", "---\nname: pdf\ndescription: d\nallowed_tools: Read\nuser_invocable: off\n---\nb",
     {"allowed_tools": ["Read"], "user_invocable": False}, []),
    *((f"truth as {word}", f"---\nname: pdf\ndescription: d\ndisable-model-invocation: {word}\n---\nb",
       {"disable_model_invocation": is_true}, [])
      for word, is_true in (("true", True), ("yes", True), ("On", True), ("1", True), ("no", False), ("0", False))),
    ("no truth", "---\nname: pdf\ndescription: d\nuser-invocable: maybe\n---\nb", {"user_invocable": True},
     ["bad_value"]),
    ("numbers as text", "---\nname: pdf\ndescription: 3.10\nversion: 1.10\nmetadata: {v: 1}\n---\nb",
     {"description": "3.10", "metadata": {"v": 1}}, []),
    ("paths with braces", "---\nname: pdf\ndescription: d\npaths: 'src/**/*.{ts,tsx}, docs/*'\n---\nb",
     {"paths": ["src/**/*.{ts,tsx}", "docs/*"]}, []),
    ("named arguments", "---\nname: pdf\ndescription: d\narguments: issue branch\n---\nb",
     {"arguments": ["issue", "branch"]}, []),
    ("hooks", "---\nname: pdf\ndescription: d\nhooks:\n  PreToolUse: []\n---\nb", {}, ["hooks_ignored"]),
    ("a typo", "---\nname: pdf\ndescription: d\nallowed-tool: Read\n---\nb", {"allowed_tools": []}, ["unknown_key"]),
    ("no name", "---\ndescription: d\n---\nb", {"name": None}, ["missing"]),
    ("another name", "---\nname: PDF Tools\ndescription: d\n---\nb", {"name": "PDF Tools"}, ["bad_name"]),
    ("a model without a fork", "---\nname: pdf\ndescription: d\nmodel: opus\n---\nb", {"model": "opus"}, ["no_effect"]),
    ("never closed", "---\nname: pdf\ndescription: d\n\nThe text.", {"body": "The text."}, ["syntax"]),
    ("a tab", "---\nname: pdf\ndescription: d\nmetadata:\n\ta: b\n---\nb", {"description": "d"},
     ["bad_value", "repaired"]),
    ("a broken list", "---\nname: pdf\ndescription: d\nallowed-tools: [Read\n---\nb", {"description": "d"},
     ["repaired"]),
    ("odd bytes", b"---\nname: pdf\ndescription: d \xff\n---\nb\x00", {"description": "d \ufffd", "body": "b"},
     ["control_character", "not_utf8"]),
    ("a blank line first", "\n---\nname: pdf\ndescription: d\n---\nb", {"description": "d"}, []),
    ("a long description", f"---\nname: pdf\ndescription: {'x' * 1068}\n---\nb", {"description": "x" * 1068},
     ["too_long"]),
    ("a long text", f"---\nname: pdf\ndescription: d\n---\n{'word ' * 5000}", {}, ["body_long"]),
    ("no text", "---\nname: pdf\ndescription: d\n---\n", {"body": ""}, ["empty"]),
)  # fmt: skip


@pytest.mark.parametrize(("raw", "fields", "codes"), [row[1:] for row in STYLES], ids=[row[0] for row in STYLES])
def test_a_skill_is_read_as_its_author_meant_it(raw: str | bytes, fields: dict[str, Any], codes: list[str]) -> None:
    skill, found = read(raw)
    assert skill is not None and sorted(found) == codes
    assert {name: getattr(skill, name) for name in fields} == fields


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "# Only text",
        "---\nname: pdf\n---\nb",
        "---\n- a\n---\n",
        "---\ndescription:\n---\nb",
        "---\n---\n",
        b"\xff",
    ],
)
def test_only_a_skill_without_a_description_is_refused(raw: str | bytes) -> None:
    skill, codes = read(raw)
    assert skill is None and "missing" in codes


@pytest.mark.parametrize(
    "raw",
    [
        b"---\ndescription: d\na: &a [1,1]\n" + b"".join(b"k%d: [*a,*a,*a]\n" % n for n in range(9)) + b"---\n",
        b"---\ndescription: d\nx: " + b"[" * 5000 + b"\n---\nb",
        b"---\n" + b"k: v\n" * 20_000 + b"---\n",
        b"---\ndescription: " + b": " * 30_000 + b"\n---\nb",
        b"---\ndescription: d\n---\n" + b"(" * 4_000_000,
        b"-" * 1_000_000,
    ],
    ids=["aliases", "depth", "keys", "colons", "text", "dashes"],
)
def test_a_hostile_file_costs_little(raw: bytes) -> None:
    began = time.process_time()
    reading.parse(raw, PATH)
    assert time.process_time() - began < 5.0


def test_what_yaml_escapes_bring_in_is_removed_with_a_warning() -> None:
    front = 'description: "A\\e[31m \\u202Etext\\U000E0041"\nargument-hint: "x\\u200B"\nwhen_to_use: "\\u2066y"'
    skill, codes = read(f'---\nname: pdf\n{front}\nallowed-tools: ["Re\\u200Bad"]\n---\nb\u202eody \u0645\u200c\u0645')
    assert skill is not None and codes == ["control_character"] * 5
    assert (skill.description, skill.argument_hint, skill.when_to_use) == ("A[31m text", "x", "y")
    assert (skill.allowed_tools, skill.body) == (["Read"], "body \u0645\u200c\u0645")
    nothing, codes = read('---\nname: pdf\ndescription: "\\u200B"\n---\nb')
    assert nothing is None and "missing" in codes


@pytest.mark.parametrize(
    "hint", ["[message]", "[file, mode]", "{message}", "[a, [b, c]]", "<path>", "[]"], ids=lambda hint: hint
)
def test_a_hint_in_brackets_is_read_as_typed(hint: str) -> None:
    skill, codes = read(f"---\nname: pdf\ndescription: d\nargument-hint: {hint}\n---\nb")
    assert skill is not None and (skill.argument_hint, codes) == (hint, [])


def test_a_long_text_is_cut_at_64_kib() -> None:
    skill, codes = read(f"---\nname: pdf\ndescription: d\n---\n{'é' * 40_000}")
    assert skill is not None and len(skill.body.encode()) <= 64 * 1024 and codes == ["too_large"]


def test_the_catalog_shows_at_most_1536_characters_in_one_line() -> None:
    skill, _ = read(f"---\nname: pdf\ndescription: |\n  a\n  b\nwhen_to_use: {'x' * 2000}\n---\nb")
    assert skill is not None
    shown = skills.shown(skill)
    assert shown.startswith("a b xxx") and len(shown) == 1536 and shown.endswith("…")


@pytest.mark.parametrize(
    ("body", "arguments", "expected"),
    [
        ("Fix $ARGUMENTS now", "a 'b c'", "Fix a 'b c' now"),
        ("$0, $1 and $ARGUMENTS[1]", "a 'b c'", "a, b c and b c"),
        ("$issue on $branch, $other", "12 main", "12 on main, $other"),
        ("It costs $5 or $10.", "a", "It costs $5 or $10."),
        ("$0", "$1 ${KHEISH_SKILL_DIR}", "$1"),
        ("${KHEISH_SKILL_DIR}/a ${CLAUDE_SKILL_DIR}/b", "", "/skills/pdf/a /skills/pdf/b"),
        ("$0", "an 'open quote", "an"),
        ("!`rm -rf $0`", "x", "!`rm -rf x`"),
    ],
)
def test_arguments_and_the_folder_are_put_in_once(body: str, arguments: str, expected: str) -> None:
    filled, _ = text.fill(body, folder="/skills/pdf", arguments=arguments, names=["issue", "branch"])
    assert filled == expected


def test_public_calls_become_rules() -> None:
    calls = ["Bash(git *)", "Bash(npm test:*)", "Read(src/**)", "WebFetch(domain:x.org)", "mcp__a__b", "Bash({"]
    made = [(rule.tool, rule.match) for rule in allowed.rules(calls, "allow") if rule.tool != "shell_task_start"]
    assert made == [
        ("bash", "git *"),
        ("bash", "npm test"),
        ("bash", "npm test *"),
        ("read_file", "src/**"),
        ("list_files", "src/**"),
        ("web_fetch", "x.org"),
        ("mcp__a__b", None),
        ("bash", "{"),
    ]
    assert allowed.tools(["Write", "Bash(git *)", "Edit(*)"]) == ("write_file", "edit_file", "apply_patch")


@pytest.mark.parametrize(("folder", "name"), [("pdf", "pdf"), ("PDF_Tools v2", "pdf-tools-v2"), ("...", ""), ("é", "")])
def test_a_folder_gives_a_legal_name(folder: str, name: str) -> None:
    assert skills.normalized(folder) == name
