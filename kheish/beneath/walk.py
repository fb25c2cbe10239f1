"""The walk from a path to an open folder and a name in it, name by name: no `..`, no link and no race leads out of the
workspace."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from kheish.beneath import kernel, names
from kheish.beneath.door import Door, Root, opened
from kheish.errors import NotBeneath, NotThere

_MAX_LINKS = 40
_MAX_NAMES = 1000  # of a single path; the names of links in it count as well
FOLDER = os.O_RDONLY | os.O_DIRECTORY


class Intent(StrEnum):
    """The purpose of a path: CREATE makes missing folders; EDIT and CREATE keep out of `.git` and `.kheish`."""

    READ = "read"
    EDIT = "edit"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Place:
    """The target of a path: an open folder, the name in it ("." for the folder itself), and the path from the workspace
    in shown form.

    `name` was not a link when it was checked. Every use of it passes O_NOFOLLOW or works on the name itself.
    """

    folder: int
    name: str
    path: str
    root: Root


@contextmanager
def place(where: Door | Root, path: str, intent: Intent = Intent.READ) -> Iterator[Place]:
    """Resolve a path, as a model writes it, beneath a workspace. Links that stay inside are followed. But a judged path
    leads only to the place that the rules judged. Raises NotBeneath, NotThere."""
    with told(path), opened(where) as root, _walking(root, path, intent) as walk:
        name = walk.to_the_end()
        yield Place(walk.folder, name, names.shown("/".join(walk.steps(name)) or "."), root)


def resolved(where: Door | Root, path: str) -> str:
    """Return the target of a path, with links resolved, in shown form: the path that permission rules judge.

    Missing parts are taken as written. Raises NotBeneath.
    """
    with told(path), opened(where) as root, _walking(root, path, Intent.READ) as walk:
        try:
            steps = walk.steps(walk.to_the_end())
        except FileNotFoundError as error:
            rest = [os.fsdecode(error.filename), *walk.todo]
            if ".." in rest:
                raise NotBeneath(f"{path}: goes through a folder that does not exist.") from None
            steps = [*walk.steps("."), *rest]
    return names.shown("/".join(steps)) or "."


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn errors of the file system into messages."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotThere(f"{path}: does not exist.") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise NotBeneath(f"{path}: {reason[:1].lower()}{reason[1:]}.") from error


def parts(door: Door, path: str) -> list[str]:
    """Return the names from the workspace to a path, as written. Raises NotBeneath."""
    try:
        path = names.meant(path)
    except ValueError as error:
        raise NotBeneath(f"{path!r}: {error}.") from None
    if path == "~" or path.startswith("~/"):
        raise outside(path)
    if path.startswith("/"):
        inside = _inside(door, path)
        if inside is None:
            raise outside(path)
        path = inside
    path_names = [part for part in path.split("/") if part not in ("", ".")]
    if len(path_names) > _MAX_NAMES:
        raise NotBeneath(f"{path[:100]}…: has more than {_MAX_NAMES} names.")
    return path_names


def outside(path: str) -> NotBeneath:
    """Return the error for a path that leads out of the workspace."""
    return NotBeneath(
        f"{path}: outside the workspace, where file tools do not go; use a path relative to the workspace.",
        reason="outside",
    )


def _inside(door: Door, absolute: str) -> str | None:
    """Return the part of an absolute path below the workspace; None if it lies elsewhere."""
    root = str(door.path).rstrip("/")
    return absolute[len(root) :] if absolute == root or absolute.startswith(root + "/") else None


@contextmanager
def _walking(root: Root, path: str, intent: Intent) -> Iterator[_Walk]:
    judged = root.door.judged
    leads = path if judged is None else judged.get(path, path)
    walk = _Walk(root, path, intent, deque(parts(root.door, leads)), follows=judged is None)
    try:
        yield walk
    finally:
        walk.close()


@dataclass(slots=True)
class _Walk:
    """The state of a walk: the open folders, and the remaining names."""

    root: Root
    path: str
    intent: Intent
    todo: deque[str]
    follows: bool
    stack: list[tuple[int, str]] = field(default_factory=list)
    links: int = 0

    @property
    def folder(self) -> int:
        return self.stack[-1][0] if self.stack else self.root.descriptor

    def steps(self, name: str) -> list[str]:
        """Return the names passed so far, and `name` unless it is the last folder itself."""
        return [step for _, step in self.stack] + ([name] if name != "." else [])

    def close(self) -> None:
        while self.stack:
            os.close(self.stack.pop()[0])

    def to_the_end(self) -> str:
        """Open the folders of the path, and return its last name ("." for a folder on the stack)."""
        while self.todo:
            part = self.todo.popleft()
            if self.intent is not Intent.READ and names.is_kept(part):
                raise NotBeneath(f"{self.path}: {names.kept_words(part)}.", reason="git")
            if part == "..":
                if not self.stack:
                    raise outside(self.path)
                os.close(self.stack.pop()[0])
                continue
            if not self.todo:
                target = link(self.folder, part)
                if target is None:
                    return part
            else:
                target = self._enter(part)
                if target is None:
                    continue
            self._follow(target)
        return "."

    def _enter(self, part: str) -> str | None:
        """Open a folder onto the stack; if it is a link, open nothing and return its target."""
        for attempt in (1, 2):
            try:
                descriptor = kernel.open_name(self.folder, part, FOLDER)
            except FileNotFoundError:
                if attempt == 2 or self.intent is not Intent.CREATE:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), part) from None
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=self.folder)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                target = link(self.folder, part)
                if target is None:
                    raise NotBeneath(f"{self.path}: {names.shown(part)} is not a folder.") from None
                return target
            else:
                self.stack.append((descriptor, part))
                self.root.check_folder(descriptor, self.path)
                return None
        return None

    def _follow(self, target: str) -> None:
        """Insert the names of a link before the remaining names."""
        if not self.follows:
            raise NotBeneath(
                f"{self.path}: goes through a link that leads out of the workspace, or was created after the call was "
                "judged.",
                reason="link",
            )
        self.links += 1
        if self.links > _MAX_LINKS or len(self.todo) > _MAX_NAMES:
            raise NotBeneath(f"{self.path}: too many links, or links that go in a circle.", reason="loop")
        if target.startswith("/"):
            inside = _inside(self.root.door, target)
            if inside is None:
                raise NotBeneath(
                    f"{self.path}: goes through a link that leads out of the workspace; this is not allowed.",
                    reason="outside",
                )
            self.close()
            target = inside
        self.todo.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))


def link(folder: int, name: str) -> str | None:
    """Return the target of the link `name`; None if it is not a link, or is missing."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise
