"""The shape of the code: what separates model codebases from the rest is the tail, so the tail is held here."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "kheish").rglob("*.py"))
MODULE_LINES = 400
FUNCTION_LINES = 60
CLASS_METHODS = 15
#: classes whose methods are one data model's or one protocol's; each with the reason
EXCEPTIONS: dict[str, str] = {"State": "the one write, durability and reading: layout.md names it the one state"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "its first line says what it is for"
    assert text.count("\n") <= MODULE_LINES
    long = [f"{node.name}: {node.end_lineno - node.lineno + 1}" for node in functions(tree)
            if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES]  # fmt: skip
    assert not long, f"longer than {FUNCTION_LINES} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name not in EXCEPTIONS:
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            named = [item.name for item in methods if not item.name.startswith("_")]
            assert len(named) <= CLASS_METHODS, f"{node.name} has {len(named)} public methods"


def test_no_helpers_no_managers() -> None:
    # `Services` is what the API is handed, and does nothing itself.
    words = re.compile(r"class (?!Services\b)\w*(Manager|Service|Helper|Util)s?\b|/(utils?|helpers?)\.py$", re.M)
    found = [str(path) for path in MODULES if words.search(path.read_text()) or words.search(str(path))]
    assert not found


def test_nothing_of_this_machine_is_in_the_tree() -> None:
    skipped = {".venv", ".git", ".mypy_cache", "node_modules", ".pytest_cache", ".hypothesis"}
    home = str(Path.home()) + "/"
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = set(folders) - skipped
        texts = [
            Path(folder, name) for name in names if name.endswith((".py", ".md", ".toml", ".txt", ".yaml", ".yml"))
        ]
        found += [path for path in texts if home in path.read_text(errors="replace")]
    assert not found


def test_payloads_have_one_door() -> None:
    """Where a payload lies is said in `store/spills.py` alone, and `domain/payloads.py` reads it, which has what waits
    for the log in memory. A journal's own readers come after the log: the scribe, and a fork."""
    readers = {"domain/payloads.py", "domain/forks.py", "store/scribe.py"}
    for path in MODULES:
        name, text = path.relative_to(ROOT / "kheish").as_posix(), path.read_text()
        if "spill" not in text:  # whatever is looked for has the word
            continue
        nodes = list(ast.walk(ast.parse(text)))
        reads = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
        assert name in readers or not reads & {"spills.read", "spills.beginning"}, name
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        built = [text for text in texts if re.fullmatch(r"(.*/)?spill(/.*)?", text)]
        assert name in ("store/spills.py", "cli/rendering.py") or not built, f"{name} names a payload by itself"


def test_one_verb_ends_a_run() -> None:
    """The last event of a run is made by the callers of `runs.end` alone, so that what an end causes hangs there."""
    last = re.compile(r"(\w+\.)?Run(Completed|Failed|Cancelled|Interrupted)")
    made = {
        (path.relative_to(ROOT / "kheish").as_posix(), getattr(part, "name", ""))
        for path in MODULES
        for part in ast.parse(path.read_text()).body
        for node in ast.walk(part)
        if isinstance(node, ast.Call) and last.fullmatch(ast.unparse(node.func))
    }
    assert made == {("domain/runs.py", verb) for verb in ("complete", "fail", "stop", "cancel", "interrupt")}


def test_what_is_loaded_is_pinned_and_keys_are_looked_up() -> None:
    """A session that is merely loaded may be evicted at the next await; a key that was not looked up runs twice."""
    only = {"load_owner": "domain/pins.py", "Key": "domain/keys.py"}
    for path in MODULES:
        name = path.relative_to(ROOT / "kheish").as_posix()
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        for call in (ast.unparse(func) for func in calls):
            assert only.get(call.rpartition(".")[2], name) == name, f"{name} calls {call}"
            assert not call.endswith("state.load") or name == "domain/pins.py", f"{name} calls {call}: use state.using"
