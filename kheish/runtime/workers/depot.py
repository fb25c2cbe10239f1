"""A depot: a bare repository of Kheish's own beside a workspace, which carries the content between two machines.

Both sides have one. A snapshot is a commit of the folder's files through an index of the depot. A pack of what the
other side lacks crosses, and the files of a commit are written from there. The repository that the folder itself may be
is never used, so that none of its hooks, filters, attributes and settings has any effect: the depot's own attributes
switch all conversion off, and its own configuration names no program.

From the other side come a pack and the id of a tree, nothing else: the commit is made here. *Rejected:* `git push` over
ssh, which a cluster lacks, and which trusts the other side's refs; bundles, which bring refs and commits along.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kheish import ids
from kheish.errors import Invalid, KheishError
from kheish.store.git import command
from kheish.store.git.command import ALONE, EMAIL, NAME

Confine = Callable[[Sequence[str | Path]], Sequence[str | Path]]

#: bytes of a pack, and of all files that a result changes
MOST_PACK = 1024 * 1024 * 1024
MOST_CHANGED = 2 * MOST_PACK
#: refs of the results of runs, and how many of the latest stay
RESULTS, MOST_RESULTS = "refs/kheish/results/", 20
#: bytes of a changed file, and changed files of a result
MOST_FILE, MOST_FILES = 256 * 1024 * 1024, 200_000
_SECONDS = 600.0
_ID = re.compile(r"[0-9a-f]{40}\Z")
#: no conversion of any kind, whatever the attributes in the folder are: this file has the last word
_ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding -export-subst -export-ignore\n"
_SETTINGS = {
    "core.autocrlf": "false", "core.safecrlf": "false", "core.symlinks": "true", "core.fileMode": "true",
    "core.attributesFile": os.devnull, "core.hooksPath": os.devnull, "core.fsmonitor": "false",
    "core.logAllRefUpdates": "false", "core.bigFileThreshold": "16m", "core.protectHFS": "true",
    "core.protectNTFS": "true", "core.compression": "1", "gc.auto": "0", "maintenance.auto": "false",
    "advice.addEmbeddedRepo": "false", "pack.threads": "2",
}  # fmt: skip
#: both sides make the same commit of the same tree and base, so that its id proves that they agree
_DATE = "2000-01-01T00:00:00 +0000"
_WHO = {
    "GIT_AUTHOR_NAME": NAME, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_COMMITTER_NAME": NAME, "GIT_COMMITTER_EMAIL": EMAIL,
    "GIT_AUTHOR_DATE": _DATE, "GIT_COMMITTER_DATE": _DATE, "GIT_ALLOC_LIMIT": "1g",
}  # fmt: skip

FILE, PROGRAM, LINK, REPOSITORY = "100644", "100755", "120000", "160000"
_NONE = "000000"


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two commits: a path, and mode and blob on both sides; None where there is no file."""

    path: str
    old_mode: str | None
    old: str | None
    mode: str | None
    blob: str | None


class Depot:
    """A depot in a folder of its own. Every method blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ensure(self, excluded: bytes = b"") -> None:
        """Make the depot if it is missing. `excluded`: patterns of files that are left out, besides .gitignore."""
        if not (self.path / "HEAD").is_file():
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(self.path), bare=False)
        info = self.path / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(_ATTRIBUTES)
        (info / "exclude").write_bytes(excluded)
        for name in ("incoming", "outgoing"):
            (self.path / name).mkdir(exist_ok=True)

    # --- commits of a folder ------------------------------------------------------------------------------------------

    def snapshot(self, folder: Path, base: str | None, confine: Confine = list) -> str:
        """Return the commit of the folder's files; `base` itself if it has the same. Raises KheishError."""
        (self.path / "folder-index.lock").unlink(missing_ok=True)  # of a killed process; one works here at a time
        self._git("add", "--all", "--", ".", folder=folder, confine=confine)
        tree = self._git("write-tree", folder=folder).decode().strip()
        return self.commit(tree, base)

    def commit(self, tree: str, base: str | None) -> str:
        """Return the commit of a tree after `base`; `base` itself if it has that tree."""
        if base is not None and self._tree(base) == tree:
            return base
        parents = ("-p", base) if base is not None else ()
        return self._git("commit-tree", tree, *parents, "-m", "Workspace").decode().strip()

    def tree_of(self, commit: str) -> str:
        """Return the tree of a commit. Raises KheishError."""
        return self._tree(_checked(commit))

    def _tree(self, commit: str) -> str:
        return self._git("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").decode().strip()

    def has(self, commit: str) -> bool:
        """Return whether a commit is here."""
        try:
            self._tree(_checked(commit))
        except KheishError:
            return False
        return True

    def keep(self, name: str, commit: str) -> None:
        """Set a ref, so that the commit stays."""
        self._git("update-ref", f"refs/kheish/{name}", _checked(commit))

    def kept(self, name: str) -> str | None:
        """Return the commit of a ref."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", f"refs/kheish/{name}^{{commit}}").decode().strip()
        except KheishError:
            return None

    def keep_result(self, run_id: str, commit: str) -> str:
        """Keep the result of a run for users, beside those of the latest runs, and return its ref."""
        kept = self._git("for-each-ref", "--format=%(refname)", "--sort=refname", RESULTS).decode().split()
        for ref in kept[: max(0, len(kept) - MOST_RESULTS + 1)]:
            self._git("update-ref", "-d", ref)
        self.keep(f"results/{run_id}", commit)
        return f"{RESULTS}{run_id}"

    # --- packs --------------------------------------------------------------------------------------------------------

    def pack(self, commit: str, known: str | None) -> Path:
        """Write a pack of all that a commit has and `known` lacks, and return its path; the caller removes it."""
        wanted = f"{_checked(commit)}\n" + (f"^{_checked(known)}\n" if known is not None else "")
        name = self.path / "outgoing" / ids.new("pack")
        plain = ("--no-reuse-delta", "--window=0")  # to look for deltas takes longer than to send the files
        found = self._git("pack-objects", "--revs", "--quiet", *plain, str(name), given=wanted.encode())
        made = name.with_name(f"{name.name}-{found.decode().strip()}.pack")
        made.with_suffix(".idx").unlink(missing_ok=True)
        made.with_suffix(".rev").unlink(missing_ok=True)
        return made

    def incoming(self) -> Path:
        """Return a path for a pack that arrives."""
        return self.path / "incoming" / f"pack-{os.urandom(20).hex()}.pack"

    def take(self, pack: Path) -> None:
        """Take in a pack from `incoming`. It is checked first, and removed if it is damaged or too large.

        Raises KheishError.
        """
        try:
            self._git("index-pack", "--strict", f"--max-input-size={MOST_PACK}", str(pack))
            for suffix in (".idx", ".pack"):  # git looks for an .idx, and takes objects from a whole .pack only
                source = pack.with_suffix(suffix)
                source.rename(self.path / "objects" / "pack" / source.name) if suffix == ".pack" else None
            index = pack.with_suffix(".idx")
            index.rename(self.path / "objects" / "pack" / index.name)
        finally:
            for suffix in (".pack", ".idx", ".rev"):
                pack.with_suffix(suffix).unlink(missing_ok=True)

    # --- files of a commit --------------------------------------------------------------------------------------------

    def checkout(self, commit: str, folder: Path) -> None:
        """Write the files of a commit into a folder; files that the index does not know stay. For the worker's side,
        whose folder is its own."""
        (self.path / "folder-index.lock").unlink(missing_ok=True)
        folder.mkdir(0o700, parents=True, exist_ok=True)
        self._git("add", "--all", "--", ".", folder=folder)  # what an ended run left is known, and goes
        self._git("read-tree", "--reset", "-u", _checked(commit), folder=folder)

    def changes(self, base: str, commit: str) -> list[Change]:
        """Return the differences of two commits. Raises Invalid for what is no path of a workspace, and if there is too
        much."""
        raw = self._git(
            "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", _checked(base), _checked(commit)
        )
        fields = raw.split(b"\0")
        changes = [_change(fields[at], fields[at + 1]) for at in range(0, len(fields) - 1, 2)]
        if len(changes) > MOST_FILES:
            raise Invalid(f"The result changes {len(changes)} files; at most {MOST_FILES} are taken.")
        self._check_sizes([one.blob for one in changes if one.blob is not None and one.mode != REPOSITORY])
        return changes

    def _check_sizes(self, blobs: Sequence[str]) -> None:
        total = 0
        for blob, kind, size in self.sizes(blobs):
            if kind != "blob":
                raise Invalid(f"The result names {blob}, which is {kind}.")
            total += size
            if size > MOST_FILE or total > MOST_CHANGED:
                raise Invalid(f"The result is too large: a file of {size} bytes, {total} in all.")

    def sizes(self, blobs: Sequence[str]) -> Iterator[tuple[str, str, int]]:
        """Yield id, kind and size of objects; `missing` is a kind."""
        given = "".join(f"{blob}\n" for blob in blobs).encode()
        for line in self._git("cat-file", "--batch-check", given=given).decode().splitlines():
            words = line.split()
            yield words[0], words[1], int(words[2]) if len(words) > 2 else 0

    def blobs(self, wanted: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of blobs. The caller asks for as much as fits into memory."""
        raw = self._git("cat-file", "--batch", given="".join(f"{blob}\n" for blob in wanted).encode())
        found, at = dict[str, bytes](), 0
        while at < len(raw):
            end = raw.index(b"\n", at)
            blob, _, size = raw[at:end].decode().split()
            found[blob] = raw[end + 1 : end + 1 + int(size)]
            at = end + int(size) + 2
        return found

    def _git(
        self,
        *words: str,
        bare: bool = True,
        folder: Path | None = None,
        given: bytes | None = None,
        confine: Confine = list,
    ) -> bytes:
        """Run git on the depot. Raises KheishError with git's own words."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        more = {**ALONE, **_WHO, "GIT_LITERAL_PATHSPECS": "1", "GIT_ATTR_NOSYSTEM": "1"}
        if bare:
            more |= {"GIT_DIR": str(self.path)}
        if folder is not None:
            more |= {"GIT_WORK_TREE": str(folder), "GIT_INDEX_FILE": str(self.path / "folder-index")}
        done = command.run(
            folder or self.path, [*settings, *words], timeout=_SECONDS, more=more, given=given, confine=confine
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())[-500:]
            raise KheishError(f"git {words[0]} failed for the workspace: {said or done.returncode}")
        return done.stdout


def _checked(commit: str) -> str:
    """Return an id of git's. Raises Invalid for anything else: an id of the other side could be an option."""
    if not _ID.match(commit):
        raise Invalid(f"{commit[:60]!r} is no commit.")
    return commit


def _change(meta: bytes, raw_path: bytes) -> Change:
    old_mode, mode, old, new, _ = meta.removeprefix(b":").decode().split()
    path = os.fsdecode(raw_path)
    check_path(path)
    for one in (old_mode, mode):
        if one not in (_NONE, FILE, PROGRAM, LINK, REPOSITORY):
            raise Invalid(f"The result has a file of the mode {one}, which no workspace has.")
    is_old, is_new = old_mode != _NONE, mode != _NONE
    return Change(path, old_mode if is_old else None, old if is_old else None, mode if is_new else None,
                  new if is_new else None)  # fmt: skip


#: characters that some file systems ignore in names
_IGNORED = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def check_path(path: str) -> None:
    """Raise Invalid for a path that leaves the workspace, or that means .git to some file system."""
    for part in path.split("/"):
        plain = _IGNORED.sub("", part).rstrip(" .").casefold()
        stem = plain.partition(":")[0]
        if part in ("", ".", "..") or "\0" in part or stem in (".git", "git~1", ".kheish"):
            raise Invalid(f"The result has the path {path[:200]!r}, which no workspace may get.")
