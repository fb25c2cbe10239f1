"""Files that a later version would read are named; those of a skill beside its SKILL.md belong to it."""

from __future__ import annotations

import pytest

from kheish.authoring import sources


@pytest.mark.parametrize(
    ("path", "is_named"),
    [
        ("skills/y.md", True),
        ("skills/y/SKILL.md", True),
        ("skills/y/notes.md", False),
        ("skills/README.md", False),
        ("skills/.y.md", False),
        ("channels/nightly.yaml", True),
        ("mcp/github.json", True),
        ("elsewhere/y.md", False),
    ],
)
def test_a_file_for_a_later_version(path: str, is_named: bool) -> None:
    assert sources.is_for_later(path) is is_named
