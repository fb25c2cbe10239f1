"""The audit's chain: every way to touch it is found, with the first link that does not fit."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest

from kheish.auth import audit
from kheish.domain import events
from kheish.errors import KeyUnusable
from kheish.state import encoding
from kheish.state.encoding import Recorded
from kheish.store import files


def write(root: Path, count: int = 5, what: str = "page") -> list[Recorded]:
    """A chain of some entries in two segments, with a signed head."""
    links: dict[str, str] = {}
    lines = []
    for seq in range(1, count + 1):
        event = events.AuditRecorded(action="http", outcome="done", subject="agent:a", target=f"{what} {seq}")
        draft = encoding.linked(event.on(), links.get(audit.JOURNAL))
        lines.append(encoding.encode(draft, seq + 100, seq, "2026-01-01T00:00:00.000000Z", audit.JOURNAL, lambda x: x))
        encoding.follow(lines[-1], links)
    store(root, [item.line for item in lines])
    path, head = audit.signer(root / "keys/audit.key").head(lines[-1])
    (root / path).write_bytes(head)
    return lines


def store(root: Path, lines: list[bytes]) -> None:
    folder = root / audit.JOURNAL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "000001.jsonl").write_bytes(b"".join(line + b"\n" for line in lines[:3]))
    (folder / "000002.jsonl").write_bytes(b"".join(line + b"\n" for line in lines[3:]))


def test_an_untouched_chain_holds_and_is_vouched_for_to_its_end(tmp_path: Path) -> None:
    write(tmp_path)
    key = audit.signer(tmp_path / "keys/audit.key").public

    report = audit.verify(tmp_path, key=key)

    assert (report.finding, report.entries, report.signed, report.key) == (None, 5, 5, key)


@pytest.mark.parametrize(
    ("name", "code", "seq"),
    [("changed", "broken_link", 2), ("removed", "gap", 2), ("swapped", "gap", 1), ("forged", "broken_link", 4),
     ("cut", "cut", 3), ("garbage", "not_an_entry", 4), ("first", "gap", 1)],
)  # fmt: skip
def test_what_was_touched_is_found(tmp_path: Path, name: str, code: str, seq: int) -> None:
    lines = [item.line for item in write(tmp_path)]
    match name:
        case "changed":
            lines[1] = lines[1].replace(b"page 2", b"page 9")
        case "removed":
            del lines[1]
        case "swapped":
            lines[0], lines[1] = lines[1], lines[0]
        case "forged":
            lines[3] = lines[3].replace(b"agent:a", b"agent:b")
        case "cut":
            del lines[3:]
        case "garbage":
            lines[3] = b'{"seq": 4'
        case "first":
            del lines[0]
    store(tmp_path, lines)

    found = audit.verify(tmp_path).finding

    assert found is not None
    assert (found.code, found.seq) == (code, seq)


def test_a_whole_new_chain_is_told_by_its_key_and_by_the_head(tmp_path: Path) -> None:
    write(tmp_path)
    key = audit.signer(tmp_path / "keys/audit.key").public
    head = (tmp_path / audit.HEAD).read_bytes()
    (tmp_path / "keys/audit.key").unlink()
    write(tmp_path, count=6)  # by somebody with a key of their own

    other = audit.verify(tmp_path, key=key).finding
    (tmp_path / audit.HEAD).write_bytes(head)

    assert other is not None and other.code == "other_key"
    assert audit.verify(tmp_path).finding is None  # the same five entries, and one more


def test_what_a_witness_has_seen_must_be_there(tmp_path: Path) -> None:
    write(tmp_path)
    key, head = tmp_path / "keys/audit.key", (tmp_path / audit.HEAD).read_bytes()
    raw = key.read_bytes()

    def found(count: int, kept: bytes | None, what: str = "page") -> str | None:
        key.unlink()
        if kept is not None:
            files.atomic_write(key, kept, fsync=False, mode=0o600)
        write(tmp_path, count, what)
        assert audit.verify(tmp_path).finding is None, "alone it is sound"
        against = audit.verify(tmp_path, witness=head)
        assert (against.signed == 0) == (against.finding is not None)
        assert against.witnessed == (5 if against.finding is None else None)
        return against.finding and against.finding.code

    assert found(6, raw) is None
    assert found(4, raw) == "cut"
    assert found(6, raw, "other") == "other_chain"
    assert found(6, None) == "bad_witness"
    assert audit.verify(tmp_path, witness=b"no head").finding is not None


@pytest.mark.parametrize("field", ["seq", "hash", "signature"])
def test_a_head_that_was_touched_vouches_for_nothing(tmp_path: Path, field: str) -> None:
    write(tmp_path)
    head = orjson.loads((tmp_path / audit.HEAD).read_bytes())
    head[field] = {"seq": 4, "hash": "f" * 64, "signature": base64.b64encode(b"x" * 64).decode()}[field]
    (tmp_path / audit.HEAD).write_bytes(orjson.dumps(head))

    report = audit.verify(tmp_path)

    assert report.finding is not None and report.finding.code == "bad_signature"
    assert report.signed == 0


def test_a_key_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    audit.signer(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod"):
        audit.signer(path)
    path.chmod(0o600)
    path.write_text("hello")
    with pytest.raises(KeyUnusable, match="not an Ed25519 key"):
        audit.signer(path)
