"""Files of a skill beside its SKILL.md are its own; those that look like skills are read."""

from __future__ import annotations

import pytest

from kheish.authoring import sources


@pytest.mark.parametrize(
    ("path", "is_read"),
    [
        ("skills/y.md", True),
        ("skills/y/SKILL.md", True),
        ("skills/y/skill.md", True),
        ("skills/y/notes.md", False),
        ("skills/y/deep/SKILL.md", True),
        ("skills/README.md", False),
        ("skills/.y.md", False),
    ],
)
def test_a_file_of_a_skill(path: str, is_read: bool) -> None:
    assert sources.concerns(path) is is_read
