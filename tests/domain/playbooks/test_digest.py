"""The digest is over what a manifest says and over the files beside it, not over how it is written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from kheish.authoring.playbooks import files as playbook_files
from kheish.domain.playbooks import digest as playbook_digest

PLAIN = {"title": "Ärger", "objective": "o", "phases": [{"id": "b", "retries": 1}], "metadata": {"x": 1.0, "a": None}}


def test_it_is_what_the_specification_says() -> None:
    canonical = json.dumps(PLAIN, sort_keys=True, separators=(",", ":"), ensure_ascii=False).replace("1.0", "1")
    files = {"b/notes.md": "2" * 64, "a.sh": "1" * 64}
    expected = canonical.encode() + b"a.sh\0" + b"1" * 64 + b"\n" + b"b/notes.md\0" + b"2" * 64 + b"\n"
    assert playbook_digest.digest(PLAIN, files) == hashlib.sha256(expected).hexdigest()


def test_comments_order_and_what_editors_leave_do_not_change_it(tmp_path: Path) -> None:
    manifest = tmp_path / "playbook.yaml"
    manifest.write_text("title: T\nobjective: o\nphases: [{id: a}]\n")
    (tmp_path / "run.sh").write_text("make\n")
    before = playbook_files.digest_of_file(manifest)
    manifest.write_text("# a comment\nphases:\n  - id: 'a'\nobjective: o   # why\ntitle: T\n")
    (tmp_path / ".playbook.yaml.swp").write_text("x")
    (tmp_path / "run.sh~").write_text("x")
    assert playbook_files.digest_of_file(manifest) == before
    (tmp_path / "run.sh").write_text("make all\n")
    assert playbook_files.digest_of_file(manifest) != before


@pytest.mark.parametrize("change", [{"title": "t"}, {"metadata": {"x": 1.5, "a": None}}, {"drive": "phases"}])
def test_every_field_counts_also_a_default_that_is_written_out(change: dict[str, object]) -> None:
    assert playbook_digest.digest({**PLAIN, **change}, {}) != playbook_digest.digest(PLAIN, {})


def test_a_number_without_a_canonical_form_is_told_with_its_file() -> None:
    text = "title: T\nobjective: o\nphases: [{id: a}]\nmetadata: {big: 123456789012345678901234567890}\n"
    assert "no digest" in " ".join(one.message for one in playbook_files.parse(text.encode(), "x").problems)
