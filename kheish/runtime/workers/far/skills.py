"""The worker's copies of the daemon's skills, by their content: what its commands see of a skill is what was read."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kheish import ids
from kheish.beneath import Door
from kheish.errors import Invalid
from kheish.runtime.skills.copies import BYTES, Copies
from kheish.runtime.workers.far import parts
from kheish.store.files import remove_tree

#: the folder of a daemon's skills on a worker
FOLDER = "skills"
_ARRIVING = "skills-arriving"
_MOST = 2 * BYTES
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def mounted(root: Path, home: str, given: Any) -> dict[str, Path]:
    """Return the folders of skills by name. `given`: pairs of name and digest. Raises Invalid."""
    store = Copies(root / home / FOLDER)
    found = {}
    for name, digest in given:
        if not ids.is_slug(str(name)):
            raise Invalid(f"{str(name)[:60]!r} is no name of a skill.")
        found[str(name)] = store.place(_checked(digest))
    return found


def act(root: Path, home: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one step of the sending of skills. Blocks on disk. Raises Invalid."""
    store = Copies(root / home / FOLDER)
    if args["step"] == "missing":
        store.prune()
        return {"missing": [one for one in args["digests"] if not store.is_there(_checked(one))]}
    digest, arriving = _checked(args["digest"]), root / home / _ARRIVING
    arriving.mkdir(0o700, parents=True, exist_ok=True)
    archive = arriving / f"{digest}.tar"
    if args["step"] == "put":
        data = b64decode(str(args["bytes"]), validate=True)
        too_large = f"The skill is too large: more than {_MOST} bytes."
        parts.put(archive, int(args["offset"]), data, most=_MOST, too_large=too_large)
        return {}
    if args["step"] == "made":
        _unpack(store, archive, digest)
        return {}
    raise Invalid(f"There is no step {args['step']!r}.")


def _unpack(store: Copies, archive: Path, digest: str) -> None:
    """Make the copy of a skill that has arrived, once its content is what its digest says."""
    scratch = Path(tempfile.mkdtemp(prefix="skill-", dir=archive.parent))
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                path = PurePosixPath(member.name)
                content = packed.extractfile(member) if member.isfile() else None
                if content is None or path.is_absolute() or ".." in path.parts:
                    raise Invalid(f"The skill has {member.name[:60]!r}, which is no plain file.")
                target = scratch / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
        if store.make(Door(scratch)).digest != digest:
            raise Invalid(f"The skill {digest} did not arrive whole.")
    finally:
        remove_tree(scratch)
        archive.unlink(missing_ok=True)


def _checked(digest: Any) -> str:
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise Invalid(f"{str(digest)[:60]!r} is no digest of a skill.")
    return digest
