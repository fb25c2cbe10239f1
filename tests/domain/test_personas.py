"""Personas: front matter and text, and a snapshot that later edits do not reach."""

from __future__ import annotations

from kheish.domain.personas import Persona, snapshot
from kheish.store.edits.definitions import parse_markdown

FILE = b"""---
display_name: Reviewer
capability_scope: {deny: [bash]}
default_skills: [review]
metadata: {team: 1.10}
---

You review changes.
"""


def test_a_persona_is_read_and_bound() -> None:
    parsed = parse_markdown(Persona, FILE, "personas/reviewer.md")
    bound = snapshot("reviewer", parsed.require(), parsed.digest, "2026-11-22T12:00:00.000000Z", blob="b1")
    assert bound == {
        "persona_id": "reviewer",
        "display_name": "Reviewer",
        "digest": parsed.digest,
        "blob": "b1",
        "bound_at": "2026-11-22T12:00:00.000000Z",
        "capability_scope": {"allow": None, "deny": ["bash"]},
        "default_skills": ["review"],
        "skills": None,
        "quotas": {},
        "memory": "propose",
        "metadata": {"team": 1.1},
        "body": "You review changes.",
    }


def test_text_alone_is_a_persona() -> None:
    parsed = parse_markdown(Persona, b"Be brief.\n", "personas/brief.md")
    bound = snapshot("brief", parsed.require(), parsed.digest, "2026-11-22T12:00:00.000000Z")
    assert (bound["display_name"], bound["body"], bound["capability_scope"]) == ("brief", "Be brief.", None)


def test_a_persona_without_text_or_with_a_wrong_key_is_refused() -> None:
    parsed = parse_markdown(Persona, b"---\ndisplay: X\n---\n", "personas/x.md")
    found = [(problem.line, problem.column, problem.code, problem.suggestion) for problem in parsed.problems]
    assert found == [(2, 1, "unknown_key", "display_name"), (4, 1, "bad_value", None)]


def test_a_snapshot_does_not_share_with_the_definition() -> None:
    persona = parse_markdown(Persona, FILE, "x.md").require()
    bound = snapshot("x", persona, "d", "2026-11-22T12:00:00.000000Z")
    bound["metadata"]["team"] = bound["default_skills"].append("more")
    assert persona.metadata == {"team": 1.1} and persona.default_skills == ["review"]
