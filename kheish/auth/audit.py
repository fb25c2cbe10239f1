"""The audit: every external action and every change of permissions, hash-chained, with a signed head.

Audit entries are ordinary events, in the same group as the events that they record: no audit, no action. The chain is
made where lines are made (`state.state`). This module makes the content of entries, signs the newest link, and verifies
the whole chain. The check needs nothing but the files (and so works on a clone).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from kheish.domain.events.auth import AuditRecorded
from kheish.errors import FileRefused, KeyUnusable
from kheish.state.encoding import GENESIS, Recorded, link
from kheish.state.event import Draft
from kheish.store import door, files
from kheish.store.secrets import config_folder

JOURNAL = "journals/audit"
HEAD = f"{JOURNAL}/head.json"
_KEY_BYTES = 64 * 1024
_SIGNED = ("seq", "n", "hash", "at")


@dataclass(frozen=True, slots=True)
class Finding:
    """The first error. `seq` is its entry, if it concerns one."""

    code: str
    message: str
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check; `signed` is the highest entry with a valid signature."""

    entries: int
    head: str
    signed: int
    key: str | None
    finding: Finding | None
    witnessed: int | None = None  # the highest entry that a witness has seen; None if none was compared

    def view(self) -> dict[str, Any]:
        """Return the report as the API and the CLI show it."""
        wrong = self.finding and {"code": self.finding.code, "message": self.finding.message, "seq": self.finding.seq}
        return {
            "ok": self.finding is None,
            "entries": self.entries,
            "head": self.head,
            "signed": self.signed,
            "key": self.key,
            "finding": wrong,
            "witnessed": self.witnessed,
        }


# --- signing ----------------------------------------------------------------------------------------------------------


def key_path(environ: Mapping[str, str]) -> Path:
    """Return `KHEISH_AUDIT_KEY_FILE`, else `kheish/audit.key` in the user's config folder: outside of every state
    root."""
    named = environ.get("KHEISH_AUDIT_KEY_FILE")
    return Path(named).expanduser() if named else config_folder(environ) / "audit.key"


class Signer:
    """An Ed25519 key that signs heads (RFC 8032)."""

    def __init__(self, private: Any) -> None:
        self._private = private
        raw = private.public_key().public_bytes_raw()
        self.public = base64.b64encode(raw).decode()

    def head(self, newest: Recorded) -> tuple[str, bytes]:
        """Return the file that vouches for the chain up to an entry: its path and its bytes."""
        entry = newest.entry
        head = {"seq": entry.seq, "n": entry.n, "hash": link(newest.line), "at": entry.at}
        signature = base64.b64encode(self._private.sign(_message(head))).decode()
        whole = {**head, "key": self.public, "signature": signature}
        return HEAD, orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n"


def signer(path: Path) -> Signer:
    """Return the key of a file, which is created (mode 0600) if it is missing. Blocks. Raises KeyUnusable."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        raw, mode = door.read_own(path, most=_KEY_BYTES)
    except FileNotFoundError:
        private = Ed25519PrivateKey.generate()
        text = base64.b64encode(private.private_bytes_raw()) + b"\n"
        try:
            files.atomic_write(path, text, fsync=True, mode=0o600)
        except OSError as error:
            raise KeyUnusable(f"The audit key {path} cannot be created: {error.strerror}.") from error
        return Signer(private)
    except OSError as error:
        raise KeyUnusable(f"The audit key {path} cannot be read: {error.strerror}.") from error
    except FileRefused as refused:
        raise KeyUnusable(f"The audit key {path} {refused.reason}.") from refused
    if mode & 0o077:
        raise KeyUnusable(f"The audit key {path} can be read by other users: chmod 600 {path}")
    try:
        return Signer(Ed25519PrivateKey.from_private_bytes(base64.b64decode(raw, validate=False)))
    except ValueError as error:
        raise KeyUnusable(f"The audit key {path} is not an Ed25519 key: {error}.") from error


def _message(head: Mapping[str, Any]) -> bytes:
    return b"kheish-audit-1\n" + orjson.dumps({name: head[name] for name in _SIGNED})


def _is_signed(head: Mapping[str, Any], key: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
        public.verify(base64.b64decode(head["signature"]), _message(head))
    except (InvalidSignature, KeyError, ValueError, TypeError):
        return False
    return True


# --- checking ---------------------------------------------------------------------------------------------------------


def verify(root: Path, *, key: str | None = None, witness: bytes | None = None) -> Report:
    """Verify the chain from its first link to its last, and the head's signature. Blocks on disk.

    `key` is the public key that must have signed (base64). Without it, the key that the head names is trusted.
    `witness` is the head's file as it was pushed elsewhere: every entry that it vouches for must exist here, unchanged.
    """
    seq, last, links = 0, GENESIS, dict[int, str]()
    head, seen = _head(root), _parsed(witness) if witness is not None else None
    wanted = {one.get("seq") for one in (head, seen) if one is not None}
    for path, number, line in _lines(root):
        where = f"{path}:{number}"
        try:
            entry = orjson.loads(line)
            claimed, follows = entry["data"]["prev"], entry["seq"]
        except (ValueError, KeyError, TypeError):
            return _broken(seq, last, "not_an_entry", f"{where} is not an entry of the audit.", seq + 1)
        if follows != seq + 1:
            return _broken(seq, last, "gap", f"{where} is entry {follows}, where {seq + 1} follows.", seq + 1)
        if claimed != last:
            about = f"Entry {seq} is not what was written" if seq else "The first entry has another before it"
            return _broken(seq, last, "broken_link", f"{about}: the link of {where} does not match.", seq or 1)
        seq, last = follows, link(line)
        if seq in wanted:
            links[seq] = last
    if seq == 0 and head is None and seen is None:
        return Report(seq, last, 0, None, _removed(root))
    report = _signed(head, key, seq, last, links)
    if seen is None or report.finding is not None:
        return report
    finding = _against(seen, report.key, seq, links)
    witnessed = None if finding else int(seen["seq"])
    return replace(report, finding=finding, signed=0 if finding else report.signed, witnessed=witnessed)


def _removed(root: Path) -> Finding | None:
    """Return a finding if all audit files are missing. They leave no chain to check, but git has their history."""
    from kheish.store.git import history
    from kheish.store.git.repo import Repo

    known = history.log(Repo(root), limit=1, paths=(JOURNAL,))
    if not known:
        return None
    return Finding(
        "removed", f"{JOURNAL} is gone, but git has it: git log --stat {known[0]['commit'][:12]} -- {JOURNAL}"
    )


def _signed(head: Mapping[str, Any] | None, key: str | None, seq: int, last: str, links: Mapping[int, str]) -> Report:
    if head is None:
        return Report(seq, last, 0, None, Finding("unsigned", f"{HEAD} is missing, so nothing vouches for the end."))
    said, at = str(head.get("key")), head.get("seq")
    finding = None
    if key is not None and said != key:
        finding = Finding("other_key", f"The head was signed with the key {said}, not with {key}.")
    elif not _is_signed(head, said):
        finding = Finding("bad_signature", f"The signature of {HEAD} does not match.")
    elif not isinstance(at, int) or at > seq:
        finding = Finding("cut", f"The head vouches for {at} entries, and there are {seq}: the end was cut off.", seq)
    elif links.get(at) != head.get("hash"):
        finding = Finding("other_chain", f"Entry {at} is not the one that was signed.", at)
    return Report(seq, last, at if finding is None and isinstance(at, int) else 0, said, finding)


def _against(seen: Mapping[str, Any], key: str | None, seq: int, links: Mapping[int, str]) -> Finding | None:
    """Return a finding if the chain lacks an entry that a witness has seen."""
    at = seen.get("seq")
    if seen.get("key") != key or not _is_signed(seen, str(key)):
        return Finding("bad_witness", f"The head that the witness has was not signed with the key {key}.")
    if not isinstance(at, int) or at > seq:
        return Finding("cut", f"The witness has {at} entries, and there are {seq}: the end was cut off.", seq)
    if links.get(at) != seen.get("hash"):
        return Finding("other_chain", f"Entry {at} is not the one that the witness has.", at)
    return None


def _broken(seq: int, last: str, code: str, message: str, at: int) -> Report:
    return Report(seq, last, 0, None, Finding(code, message, at))


def _head(root: Path) -> Mapping[str, Any] | None:
    try:
        return _parsed((root / HEAD).read_bytes())
    except FileNotFoundError:
        return None


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _lines(root: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in sorted((root / JOURNAL).glob("[0-9]*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            yield f"{JOURNAL}/{path.name}", number, line


# --- entries ----------------------------------------------------------------------------------------------------------


def auth_failed(address: str, path: str, why: str) -> AuditRecorded:
    """Return the entry for a caller without a valid token, or with a token that does not permit the operation."""
    return AuditRecorded(action="auth", outcome="refused", subject=address or "unknown", target=f"{path}: {why}")


def lease_refused(subject: str, why: str) -> AuditRecorded:
    """Return the entry for a subject without a credential: it is out of scope, revoked, or missing."""
    kind, _, id = subject.partition(":")
    session = id if kind == "session" else None
    return AuditRecorded(action="access", outcome="refused", subject=subject, target=f"lease: {why}", session=session)


def revealed(slot: str, by: str, at: str | None = None) -> Draft:
    """Return the draft for a secret's value that was shown to a user on this machine. `at` is its time if no daemon ran
    then."""
    told = f"{slot}: revealed" + (f" {at}, while no daemon ran" if at else "")
    return AuditRecorded(action="secret", outcome="done", subject=by, target=told).on(by=by)
