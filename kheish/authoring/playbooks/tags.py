"""Tags of Playbook versions against the ledger: new tags are adopted, changed tags are marked.

A tag object's id covers everything: the commit, its tree, the message. So a check compares ids only, and reads the new
tags; a version's content is compared with the ledger's digest at each read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from kheish import ids
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.playbooks.files import KIND, MANIFEST
from kheish.authoring.playbooks.refused import RefusedTags
from kheish.authoring.problems import Problems
from kheish.domain import events
from kheish.domain.events.playbooks import RELEASES
from kheish.domain.playbooks import digest as playbook_digest, versions as playbooks
from kheish.domain.playbooks.versions import TAG_PREFIX, Released, Version
from kheish.errors import Invalid, KheishError, NotFound, VersionTampered
from kheish.state import pins
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.pipes import Child, unpack

log = logging.getLogger(__name__)

_READ = 128  # versions whose manifest is kept in memory
_ALL = 1_000_000
_MOST_NEW = 2000  # tags that one check adopts: anyone with push access may create any number of them
_OURS = frozenset({"daemon", "file", "person"})


class PlaybookTags:
    """The adopted and tampered tags. `turn` is held while a tag is created or compared with the ledger."""

    def __init__(self, state: State, problems: Problems, git: Child) -> None:
        self._state = state
        self._problems = problems
        self._git = git
        self._known: dict[str, str] = {}  # tag → object, as the ledger has it and git had it at the last check
        self._refused: dict[str, str] = {}  # tags that are no versions, so that each is reported once
        self._reasons = RefusedTags(state.root)  # the same with the reasons, kept over restarts: none is read twice
        self._read: OrderedDict[str, Released] = OrderedDict()
        self.turn = asyncio.Lock()

    async def start(self) -> None:
        """Compare all tags with the ledger once, before Flows can start."""
        page = await asyncio.to_thread(self._state.index.things, "version", limit=_ALL)
        for doc in page.items:
            if doc["tampered"] is None:
                self._known[doc["tag"]] = doc["tag_id"]
            else:
                self._known[doc["tag"]] = ""  # it is checked again
                self._tell(doc["tag"], doc["tampered"])
        for tag, (tag_id, why) in (await asyncio.to_thread(self._reasons.read)).items():
            if tag not in self._known:
                self._refuse(tag, tag_id, why)
        await self.look()

    def know(self, tag: str, tag_id: str) -> None:
        """Record a tag that the daemon has created."""
        self._known[tag] = tag_id

    async def look(self) -> None:
        """Adopt the changes since the last check. Raises StoreFailed, ChildGone."""
        async with self.turn:
            tags = await self._git.request("tags", prefix=TAG_PREFIX, known={**self._known, **self._refused})
            new = list(tags["new"])
            for tag in (*new[:_MOST_NEW], *tags["gone"]):
                await self.take_up(tag)
            self._problems.clear("too_many_tags")
            if len(new) > _MOST_NEW:
                text = f"There are {len(new)} unread tags below {TAG_PREFIX}; remove those that are not versions."
                self._problems.add("too_many_tags", "", text, severity="warning")
            await asyncio.to_thread(self._reasons.write)
            await self._state.durable()

    async def take_up(self, tag: str) -> None:
        """Compare one tag with the ledger. The caller holds `turn`."""
        described = await self._git.request("tag", name=tag)
        id, _, version = tag.removeprefix(TAG_PREFIX).rpartition("/")
        async with pins.owner(self._state, RELEASES, id) if ids.is_slug(id) else nullcontext():
            await self._take_up(tag, id, version, described)

    async def _take_up(self, tag: str, id: str, version: str, described: Mapping[str, Any] | None) -> None:
        one = self._ledger(id, version)
        if one is not None:
            await self._compare(one, described)
            return
        self._problems.clear("not_a_version", _path(tag))
        self._refused.pop(tag, None)
        self._reasons.forget(tag)
        why = await self._adopt(id, version, described) if described is not None else None
        if described is not None and why is not None:
            self._refuse(tag, described["tag_id"], why)

    def _refuse(self, tag: str, tag_id: str, why: str) -> None:
        self._refused[tag] = tag_id
        self._reasons.note(tag, tag_id, why)
        self._problems.add("not_a_version", _path(tag), f"The tag {tag} is not a version: {why}", severity="warning")

    def _ledger(self, id: str, version: str) -> Version | None:
        if not ids.is_slug(id) or not playbooks.is_version(version):
            return None
        return playbooks.versions(self._state, id).get(version)

    async def _adopt(self, id: str, version: str, described: Mapping[str, Any]) -> str | None:
        """Adopt a tag as a version, or return why it is none."""
        if not ids.is_slug(id) or not playbooks.is_version(version):
            return f"its name is not {TAG_PREFIX}<playbook>/<semantic version>. Remove or rename it."
        if described["commit"] is None:
            return f"it is not annotated. Recreate it: git tag -f -a {TAG_PREFIX}{id}/{version} COMMIT"
        try:
            folder = await self._folder(described["commit"], id)
            parsed = await parsing.run(playbook_files.parse, playbook_files.text_of(folder), KIND.path(id))
        except NotFound:
            return f"its commit has no {KIND.path(id)}."
        except Invalid as error:
            return f"its content is too large. {error.detail}"
        if errors := [one for one in parsed.problems if one.severity == "error"]:
            first = errors[0]
            return f"its {KIND.path(id)}:{first.line}:{first.column} is not valid: {first.message}"
        assert parsed.data is not None and parsed.value is not None
        tag = playbooks.tag_of(id, version)
        made = events.PlaybookPublished(
            playbook_id=id, version=version, title=parsed.value.title,
            digest=playbook_digest.digest(parsed.data, folder["files"]), tag=tag, tag_id=described["tag_id"],
            commit=described["commit"], notes=_notes(described["message"]), via="git",
        )  # fmt: skip
        playbooks.publish(self._state, made, by=_tagger(described["by"]))
        self._known[tag] = described["tag_id"]
        log.info("adopted: %s@%s, tagged by %s", id, version, described["by"])
        return None

    async def _compare(self, one: Version, described: Mapping[str, Any] | None) -> None:
        """Compare a version of the ledger with its tag."""
        reason = None
        if described is None:
            reason = (
                f"its tag was removed. Put it back: git update-ref refs/tags/{one.tag} {one.tag_id} "
                f"(or fetch it from a backup)."
            )
        elif described["tag_id"] != one.tag_id:
            where = f"at commit {described['commit'][:12]}" if described["commit"] else "not annotated"
            reason = (
                f"its tag was moved: it is {where} now, and was published at {one.commit[:12]}. Put it back: "
                f"git update-ref refs/tags/{one.tag} {one.tag_id}"
            )
        else:
            try:
                self._read[one.tag_id] = await self._content(one)
            except (NotFound, Invalid, ValueError) as error:
                reason = _unreadable(error)
        self._known[one.tag] = described["tag_id"] if described else ""
        if described is None:
            del self._known[one.tag]
        self._mark(one, reason)

    def _mark(self, one: Version, reason: str | None) -> None:
        """Record the problem of a version's tag in the ledger, if it is new."""
        name = {"playbook_id": one.playbook_id, "version": one.version}
        if reason is not None:
            self._read.pop(one.tag_id, None)
            self._tell(one.tag, reason)
            if one.tampered != reason:
                log.warning("%s@%s is tampered: %s", one.playbook_id, one.version, reason)
                self._state.append(events.PlaybookTampered(**name, reason=reason).on())
        elif one.tampered is not None:
            self._state.append(events.PlaybookIntact(**name).on())
            self._problems.clear("version_tampered", _path(one.tag))

    def _tell(self, tag: str, reason: str) -> None:
        version = tag.removeprefix(TAG_PREFIX).replace("/", "@")
        message = f"{version} is tampered, and cannot be started: {reason}"
        self._problems.add("version_tampered", _path(tag), message)

    # --- content ------------------------------------------------------------------------------------------------------

    async def read(self, one: Version) -> Released:
        """Return a version's content. Raises VersionTampered."""
        async with pins.owner(self._state, RELEASES, one.playbook_id):
            return await self._read_checked(one)

    async def _read_checked(self, one: Version) -> Released:
        current = await self._git.request("tag_object", name=one.tag)
        if current != one.tag_id or one.tampered is not None:
            async with self.turn:
                await self.take_up(one.tag)
                await self._state.durable()
            one = playbooks.get(self._state, one.playbook_id, one.version)
            if one.tampered is not None:
                raise VersionTampered(f"{one.playbook_id}@{one.version} is tampered: {one.tampered}")
        if (released := self._read.get(one.tag_id)) is None:
            try:
                released = await self._content(one)
            except (NotFound, Invalid, ValueError) as error:
                self._mark(one, _unreadable(error))
                await self._state.durable()
                raise VersionTampered(f"{one.playbook_id}@{one.version}: {_unreadable(error)}") from error
        self._read[one.tag_id] = released
        self._read.move_to_end(one.tag_id)
        while len(self._read) > _READ:
            self._read.popitem(last=False)
        return Released(
            version=one, manifest=released.manifest, data=released.data, raw=released.raw, files=released.files
        )

    async def file(self, one: Version, path: str) -> bytes:
        """Return a file beside the manifest, as of the version. Raises NotFound."""
        content = await self._git.request("read", rev=one.commit, path=f"{KIND.name}/{one.playbook_id}/{path}")
        return content["text"].encode() if "text" in content else unpack(content["content"])

    async def _folder(self, commit: str, id: str) -> dict[str, Any]:
        folder: dict[str, Any] = await self._git.request("folder", rev=commit, path=f"{KIND.name}/{id}", file=MANIFEST)
        return folder

    async def _content(self, one: Version) -> Released:
        """Return the manifest from the tag's tree, if it is the published content. Raises NotFound, ValueError."""
        folder = await self._folder(one.commit, one.playbook_id)
        raw = playbook_files.text_of(folder)
        parsed = await parsing.run(playbook_files.parse, raw, KIND.path(one.playbook_id))
        if parsed.data is None:
            raise ValueError("its manifest cannot be read")
        if (digest := playbook_digest.digest(parsed.data, folder["files"])) != one.digest:
            raise ValueError(f"its content has the digest {digest[:12]}, and {one.digest[:12]} was published")
        if parsed.value is None:
            first = next(problem for problem in parsed.problems if problem.severity == "error")
            raise ValueError(f"its manifest is not valid for this Kheish: line {first.line}: {first.message}")
        return Released(version=one, manifest=parsed.value, data=parsed.data, raw=raw, files=folder["files"])


def _unreadable(error: KheishError | ValueError) -> str:
    return f"the content of its tag is not what was published: {error}"


def _tagger(name: str) -> str:
    """Return the tagger's name, marked as unverified.

    Anyone can write it, so it must differ from names of callers and the daemon.
    """
    return name if name and name.isprintable() and ":" not in name and name not in _OURS else "git"


def _path(tag: str) -> str:
    """Return the path under which a problem of a tag is reported."""
    return f".git/refs/tags/{tag}"


def _notes(message: str) -> str | None:
    """Return a tag's message below its first line (all of it, if it has only one)."""
    title, _, rest = message.strip().partition("\n")
    return rest.strip() or title or None
