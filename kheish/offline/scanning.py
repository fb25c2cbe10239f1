"""`kheish doctor --scan-history`: where values of secrets stand in files and git objects, those stored later too."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from kheish.auth import redaction
from kheish.errors import FileRefused, KheishError
from kheish.offline.doctor.machine import Finding
from kheish.store import door, names, secrets
from kheish.store.git import command as git, root_format

_MOST = 200  # places that are reported one by one
_HELD = 1024 * 1024  # bytes of a file that are looked at at once


def scan(root: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each place that has a known value, and one with what was looked for. Raises KheishError."""
    root_format.open_root(root)
    values, closed = _known(root, environ)
    for slot, reason in closed.items():
        remedy = "Run this on a machine that has its identity."
        yield Finding("error", f"the secret {slot!r} cannot be searched for: {reason}", remedy)
    scrubber = redaction.scrubber(values)
    places = [*_in_files(root, scrubber), *_in_objects(root, scrubber)]
    for what in places[:_MOST]:
        yield Finding("error", what)
    looked = f"searched for {', '.join(sorted(values))} in all files and git objects"
    if not places:
        yield Finding("ok", f"{looked}: not found")
        return
    shown = f" (the first {_MOST} are listed)" if len(places) > _MOST else ""
    yield Finding(
        "error",
        f"{looked}: found in {len(places)} places{shown}",
        "Rotate those slots (kheish secrets rotate), and revoke the old values at their providers: every clone and "
        "push of the repository has them. For the local token: kheish stop, remove .kheish/token, and start the daemon "
        "again.",
    )


def _known(root: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values by name, and the slots that cannot be opened, with the reason."""
    found = {"the local token": door.read_own(root / ".kheish" / "token")[0].decode(errors="replace").strip()}
    closed: dict[str, str] = {}
    for slot, raw in secrets.read_all(root).items():
        try:
            found[slot] = secrets.decrypt(raw, secrets.read_identity(secrets.identity_path(environ)))
        except KheishError as error:
            closed[slot] = error.detail
    return {name: value for name, value in found.items() if len(value) >= redaction.MIN_LENGTH}, closed


def _in_files(root: Path, scrubber: redaction.Scrubber) -> Iterator[str]:
    """Search files of the state root, its log and its jobs. git's objects are packed: `_in_objects` unpacks them."""
    for top in sorted(root.iterdir()):
        below = door.walk(root, names.text(top.name)) if top.is_dir() and not top.is_symlink() else ()
        for name in (names.text(top.name), *(path for path, _ in below)):
            if name.startswith(".git/objects/") or name == ".kheish/token":
                continue
            if found := _names(root, name, scrubber):
                yield f"{name}: has {', '.join(found)}"


def _names(root: Path, path: str, scrubber: redaction.Scrubber) -> list[str]:
    """Return the names of the secrets that a plain file holds."""
    found: dict[str, None] = {}
    # It may have gone meanwhile, as files of a daemon that runs do.
    with contextlib.suppress(OSError, FileRefused), door.opened(root, path) as descriptor:
        tail, at = b"", 0
        while True:  # until a seek beyond the last data fails: of a sparse file, the holes are not read
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            chunk = (tail if start == at else b"") + os.read(descriptor, _HELD)
            at = os.lseek(descriptor, 0, os.SEEK_CUR)
            found |= dict.fromkeys(scrubber.names(chunk))
            tail = chunk[-scrubber.longest :]
    return list(found)


def _in_objects(root: Path, scrubber: redaction.Scrubber) -> Iterator[str]:
    """Yield the matches in all objects of git, including unreachable ones."""
    with git.popen(root, ("cat-file", "--batch-all-objects", "--unordered", "--batch")) as process:
        assert process.stdout is not None
        while head := process.stdout.readline():
            oid, kind, size = head.decode().split()
            content = process.stdout.read(int(size) + 1)
            if found := scrubber.names(content):
                yield f"{_place(root, oid, kind)}: has {', '.join(found)}"


def _place(root: Path, oid: str, kind: str) -> str:
    """Return the first commit with an object, and the path there."""
    if kind != "blob":
        return f"{kind} {oid[:12]}"
    words = ["log", "--all", "--reflog", "--reverse", "--format=%h", "--name-only", "--no-ext-diff", "-z"]
    done = git.run(root, [*words, f"--find-object={oid}"])
    parts = [names.text(part.strip()) for part in done.stdout.split(b"\0") if part.strip()]
    if done.returncode or len(parts) < 2:
        return f"object {oid[:12]}, in no commit"
    return f"commit {parts[0]}, {parts[1]}"
