"""Files that a later version would read are named; those of a skill beside its SKILL.md are its own."""

from __future__ import annotations

import pytest

from kheish.authoring import sources


@pytest.mark.parametrize(
    ("path", "is_named"),
    [
        ("skills/y/SKILL.md", False),
        ("outputs/nightly.yaml", False),
        ("workers/big.yaml", True),
        ("workers/big.json", True),
        ("elsewhere/y.md", False),
    ],
)
def test_a_file_for_a_later_version(path: str, is_named: bool) -> None:
    assert sources.is_for_later(path) is is_named


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
