"""What a change concerns: checking only that comes to what checking everything comes to, and costs what changed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kheish.authoring import checking
from kheish.authoring.checking import Outcome
from kheish.authoring.editor import Editor
from kheish.domain.definitions import Definition
from kheish.store.edits import definitions as reading, problems as words
from kheish.store.edits.watcher import Watcher
from tests.daemon.people import ECHO, Desk, desk

BOOK = """title: T
objective: o
runtime: {{route: {route}}}
roles:
  lead: {{purpose: leads, persona: {persona}}}
phases: [{{id: a}}]
"""
FILES: Mapping[str, tuple[str, ...]] = {
    "kheish.yaml": ("default_route: r1\n", "default_route: r2\n", "limits: {turns: 3}\n", "default_route: [\n"),
    **{
        f"routes/r{n}.yaml": (
            ECHO,
            f"{ECHO}fallbacks: [r{n % 3 + 1}]\n",
            f"{ECHO}fallbacks: [r9, r1]\n",
            "driver: scripted\nscript: s.yaml\n",
            "driver: scripted\nscript: ../x.yaml\n",
            "driver: none\nfallbacks: [r1]\n",
            "turns: [{text: x}]\n",
        )
        for n in (1, 2, 3)
    },
    "routes/s.yaml": (
        "echo: true\n",
        "turns: [{text: x}]\n",
        "turns: 3\n",
        ECHO,
        "driver: scripted\nscript: r1.yaml\n",
    ),
    **{f"personas/p{n}.md": ("---\ndisplay_name: P\n---\nBe.\n", "Be brief.\n", "---\nx: [\n---\n") for n in (1, 2)},
    "personas/P1.md": ("Shout.\n",),
    "personas/p1.yml": ("x\n",),
    **{
        f"playbooks/b{n}/playbook.yaml": (
            BOOK.format(route="r1", persona="p1"),
            BOOK.format(route="r2/m", persona="p2"),
            BOOK.format(route="s", persona="p3"),
            f"{BOOK.format(route='r1', persona='p1')}titel: x\n",
        )
        for n in (1, 2)
    },
    "outputs/hm.yaml": ("kind: file\nto: x.txt\n", "kind: file\nto: y.txt\n"),
    "connectors/hm.yaml": ("kind: http\nsession: {new: {}}\n", "kind: http\nsession: {fixed: s}\n"),
    "playbooks/b1/notes.md": ("one\n", "two\n"),
    "playbooks/b1/playbook.yml": ("title: T\n",),
    "playbooks/b3.yaml": ("title: T\n",),
}


def shown(one: Definition) -> tuple[Any, ...]:
    return one.kind, one.id, one.path, one.digest, one.raw, one.used


def compare(d: Desk, full: Outcome) -> None:
    in_force = d.state.definitions
    assert {one.path: shown(one) for one in in_force.all()} == {path: shown(one) for path, one in full.world.items()}
    by_id = {path: {one.problem_id: one for one in found}.values() for path, found in full.problems.items() if found}
    told = {path: sorted(str(words.view(one)) for one in found) for path, found in by_id.items()}
    now: dict[str, list[str]] = {}
    for one in d.problems.list():
        now.setdefault(str(one["path"]), []).append(str({key: one[key] for key in one if key != "since"}))
    assert {path: sorted(found) for path, found in now.items()} == told
    assert in_force.observed == full.observed
    users: dict[str, set[str]] = {}
    for one in full.world.values():
        for _, target in one.references():
            users.setdefault(target, set()).add(one.path)
    assert {path: in_force.bindings(path) for path in FILES} == {path: sorted(users.get(path, ())) for path in FILES}


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(2, 12))])
async def test_checking_what_is_concerned_is_checking_everything(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with desk(tmp_path, {}) as d:
        before: dict[str, Definition] = {}
        for _ in range(40):
            edit: dict[str, str | None] = {}
            for path in chance.sample(sorted(FILES), chance.choice((1, 1, 2, 4))):
                is_there = (d.root / path).exists()
                text = None if is_there and chance.random() < 0.3 else chance.choice(FILES[path])
                edit[path] = text
            await d.edit(edit)
            full = checking.check(dict(d.adopting.sources), before)
            compare(d, full)
            before = full.world


async def many(d: Desk, count: int) -> None:
    await d.edit({f"personas/x{n}.md": f"---\ndisplay_name: X{n}\n---\nBe {n}.\n" for n in range(count)})


@pytest.mark.parametrize("count", [10, 200])
async def test_a_save_costs_what_changed(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path, {"routes/a.yaml": ECHO, "kheish.yaml": "default_route: a\n"}) as d:
        await many(d, count)
        parsed: list[str] = []
        read, read_text = reading.parse, reading.parse_markdown
        monkeypatch.setattr(reading, "parse", lambda model, raw, path: parsed.append(path) or read(model, raw, path))
        monkeypatch.setattr(
            reading, "parse_markdown", lambda model, raw, path: parsed.append(path) or read_text(model, raw, path)
        )
        checked: list[int] = []
        check = checking.check

        def counted(*given: Any, **named: Any) -> Outcome:
            outcome = check(*given, **named)
            checked.append(len(given[0]))
            return outcome

        monkeypatch.setattr(checking, "check", counted)
        await d.edit({"personas/x3.md": "Be another.\n"})
        edit = Editor(
            d.state, d.adopting, Watcher(d.root, ("personas",), (), lambda paths: None, asyncio.get_running_loop())
        )
        await edit.put("personas", "x4", b"Be put.\n", "application/yaml", if_match=None, by="x")
        await edit.put("personas", "x5", b'{"body": "Be JSON."}', "application/json", if_match=None, by="x")
        assert parsed == ["personas/x3.md", "personas/x4.md", "personas/x5.md"]
        assert max(checked) == 1 and len(checked) == 4
        assert d.state.definitions.get("personas", "x5").value.body == "Be JSON."
        await edit.delete("personas", "x6", if_match=None, by="x")
        await edit.put("routes", "b", ECHO.encode(), "application/yaml", if_match=None, by="x")
        assert parsed[3:] == ["routes/b.yaml", "kheish.yaml"] and max(checked) <= 3
